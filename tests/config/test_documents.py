from __future__ import annotations

import json
from typing import Any

import pytest

from spark_pseudolabel.config import Config, config_schema, identity, parse_config
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


def test_more_rounds_go_on_with_a_run_without_selection() -> None:
    runs = [parse_config(minimal(rounds={"max": most})) for most in (0, 1, 3)]
    assert identity(runs[0]) == identity(runs[1]) == identity(runs[2])
