from __future__ import annotations

import json
from typing import Any

import pytest

from spark_pseudolabel.config import Config, config_schema, identity, parse_config
from spark_pseudolabel.errors import ConfigError
from tests.config.files import minimal


def test_identity_leaves_out_what_does_not_make_another_run() -> None:
    one = parse_config(minimal(rounds={"max": 3}))
    other = parse_config(
        minimal(
            rounds={"max": 9},
            spark={"master": "local[1]"},
            output={"path": "elsewhere"},
            incremental={"refit": "on_drift"},
        )
    )
    assert identity(one) == identity(other)
    assert json.loads(json.dumps(identity(one))) == identity(one)


@pytest.mark.parametrize(
    "section",
    [{"random_state": 1}, {"output": {"path": "out", "features": True}}, {"mode": "sklearn"}],
)
def test_identity_differs_where_the_labels_might(section: dict[str, Any]) -> None:
    assert identity(parse_config(minimal(**section))) != identity(parse_config(minimal()))


def test_schema_knows_every_section() -> None:
    schema = config_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    json.dumps(schema)


def test_schema_has_the_other_forms_that_a_file_may_have() -> None:
    schema, table, reviews = config_schema(), minimal()["labeled"], {"reviews": "out/income"}
    forms = {
        name: {form.get("type", form.get("$ref")) for form in schema["properties"][name]["anyOf"]}
        for name in ("labeled", "incremental")
    }
    assert forms == {
        "labeled": {"#/$defs/LabeledTable", "null", "array"},
        "incremental": {"#/$defs/Incremental", "null", "boolean"},
    }
    parse_config(minimal(id="id", labeled=[table, reviews, reviews]))
    parse_config(minimal(incremental=True))
    for wrong in ([reviews], [table, table], []):
        with pytest.raises(ConfigError, match="labeled"):
            parse_config(minimal(id="id", labeled=wrong))


def test_more_rounds_go_on_with_a_run_without_selection() -> None:
    runs = [parse_config(minimal(rounds={"max": most})) for most in (0, 1, 3)]
    assert identity(runs[0]) == identity(runs[1]) == identity(runs[2])
