from __future__ import annotations

from typing import Any

import pytest

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import ConfigError
from tests.config.files import minimal


@pytest.mark.parametrize(
    ("sections", "is_right"),
    [
        ({}, True),
        ({"unlabeled": {"path": "p", "format": "csv"}}, False),
        ({"unlabeled": {"table": "t"}}, False),
        ({"unlabeled": {"from": "labeled"}}, True),
        ({"labeled": {"query": "select 1", "label": "y"}}, False),
        ({"unlabeled": {"from": "dataframe"}}, False),
        ({"unlabeled": {"table": "t"}, "id": "row_id"}, True),
    ],
)
def test_only_parquet_by_path_does_without_id(sections: dict[str, Any], is_right: bool) -> None:
    if is_right:
        parse_config(minimal(**sections))
    else:
        with pytest.raises(ConfigError, match="id: must name the column with the rows' ids"):
            parse_config(minimal(**sections))


def test_options_are_spelled_as_spark_spells_them() -> None:
    options = {"header": True, "samplingRatio": 0.5, "sep": ";"}
    table = {"path": "p", "format": "csv", "options": options}
    config = parse_config(minimal(unlabeled=table, id="row_id"))
    assert config.unlabeled.options == {"header": "true", "samplingRatio": "0.5", "sep": ";"}


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"policy": "flexmatch", "threshold": 1.0}, "selection.threshold"),
        ({"policy": "freematch", "k": 3}, "selection.k"),
        ({"policy": "crest", "alpha": -1}, "selection.alpha"),
        ({"policy": "quotas", "by": "prior"}, "selection.by"),
        ({"policy": "quotas", "min_per_class": 5, "max_per_class": 4}, "selection: min_per_class"),
        ({"policy": "certified", "precision": 1.0}, "selection.precision"),
        ({"policy": "certified", "per": "row"}, "selection.per"),
    ],
)
def test_class_rules_and_certificates_check_their_settings(
    selection: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(selection=selection))
    assert str(caught.value).startswith(message)


def test_percentile_implies_relabel() -> None:
    assert parse_config(minimal(selection={"policy": "percentile"})).rounds.relabel is True


def test_a_configuration_does_not_change() -> None:
    config = parse_config(minimal())
    with pytest.raises(ValueError, match="frozen"):
        config.rounds.max = 3


def test_one_round_needs_no_saying() -> None:
    data = {
        "labeled": {"path": "a", "label": "y"},
        "unlabeled": {"path": "b", "prior": {1: 0.25, 2: 0.75}},
        "output": {"path": "out"},
        "selection": {"policy": "certified"},
    }
    config = parse_config(data)
    assert (config.rounds.max, config.validation.fraction) == (1, 0.0)
    assert config.unlabeled.prior == {"1": 0.25, "2": 0.75}
    assert config.cross_fitted
    assert config.student is None
    held_out = parse_config(data | {"selection": {"policy": "certified", "scores": "held_out"}})
    assert held_out.validation.fraction == 0.2
    taught = parse_config(data | {"teacher": {}})
    assert taught.student is not None
    assert taught.teacher is not None
    assert len(taught.teacher.committee) == 4
    with pytest.raises(ConfigError, match=r"shares that sum to 1\. Got 0\.9"):
        parse_config(data | {"unlabeled": {"path": "b", "prior": {"a": 0.9}}})
    corrected = parse_config(data | {"selection": {"policy": "threshold"}})
    assert corrected.unlabeled.prior == config.unlabeled.prior
    with pytest.raises(ConfigError, match=r"teacher\.committee\.0: unknown estimator 'Foo'"):
        parse_config(data | {"teacher": {"committee": [{"estimator": "Foo"}]}})
