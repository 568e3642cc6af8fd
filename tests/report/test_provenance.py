"""What a run's settings are told as: those that somebody has chosen first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spark_pseudolabel.config import parse_config, public
from spark_pseudolabel.report.provenance import settings

LEAST: dict[str, Any] = {
    "labeled": {"path": "labeled.parquet", "label": "income"},
    "unlabeled": {"path": "pool"},
    "output": {"path": "out"},
}
NAMED = {"labeled.path", "labeled.label", "unlabeled.path", "output.path"}


def _chosen(**sections: Any) -> dict[str, str]:
    config = parse_config({**LEAST, **sections}, check_estimators=False)
    return dict(settings(public(config)).chosen)


@pytest.mark.parametrize(
    ("sections", "keys"),
    [
        ({}, set()),
        ({"random_state": 7, "id": "row"}, {"random_state", "id"}),
        ({"selection": {"policy": "auto"}}, set()),
        ({"selection": {"policy": "auto", "precision": 0.75}}, {"selection.precision"}),
        ({"rounds": {"max": 4}}, {"selection.policy", "selection.threshold", "rounds.max"}),
        (
            {"selection": {"policy": "k_best", "k": 5}, "rounds": {"relabel": False}},
            {"selection.policy", "selection.k"},
        ),
        (
            {"model": {"estimator": "GaussianNB"}, "mode": "sklearn", "id": "row"},
            {"mode", "model.estimator", "id", "selection.policy", "selection.threshold"},
        ),
    ],
)
def test_chosen_is_what_a_default_would_not_be(sections: dict[str, Any], keys: set[str]) -> None:
    assert set(_chosen(**sections)) == NAMED | keys


def test_no_setting_is_lost() -> None:
    config = public(parse_config(LEAST, check_estimators=False))
    found = settings(json.loads(json.dumps(config, sort_keys=True)))
    assert not {key for key, _ in found.chosen} & {key for key, _ in found.others}
    assert dict(found.others)["random_state"] == "0"
    assert len(found.chosen) == len(NAMED) < len(found.others)


def test_a_configuration_of_another_version_is_shown_whole() -> None:
    found = settings({"selection": {"policy": "unheard_of"}, "id": "row"})
    assert dict(found.chosen) == {"selection.policy": "unheard_of", "id": "row"}
