"""The documents are exact: what the contract names is there, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from spark_pseudolabel.errors import ConfigError, InputError, Problem
from spark_pseudolabel.report.document import (
    DOCUMENTS,
    ErrorDocument,
    Report,
    document,
    label_key,
    schemas,
)
from tests.report.builders import empty_pool, make_report, make_round, without_measures

ROOT = Path(__file__).parents[2]

REPORTS = {
    "two classes": make_report(),
    "int labels": make_report([0, 1, 2]),
    "bool labels": make_report([False, True]),
    "no rounds": make_report(n_rounds=0),
    "empty pool": empty_pool(make_report()),
    "nothing measured": without_measures(make_report()),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_report_is_the_same_after_json(report: dict[str, Any]) -> None:
    made = document(Report, report)
    assert document(Report, json.loads(json.dumps(made))) == made


def test_a_report_has_every_field_of_the_contract() -> None:
    made = document(Report, make_report())
    assert set(made) == {
        "schema_version",
        "run_id",
        "termination_condition",
        "n_iter",
        "best_round",
        "classes",
        "numbers",
        "rounds",
        "seed",
        "final",
        "rows",
        "teacher",
        "prior",
        "certificate",
        "shift",
        "given_labels",
        "class_shares",
        "duplicates",
        "generations",
        "all_generations",
        "review",
        "audits",
        "certified",
        "warnings",
        "paths",
        "pinned",
        "config",
        "environment",
        "elapsed_s",
    }
    assert set(made["rounds"][0]) == {
        "round",
        "model",
        "candidates",
        "accepted",
        "rejected",
        "invalid",
        "abstained",
        "withheld",
        "unstable",
        "disagreement",
        "trained_on",
        "accepted_by_class",
        "threshold_by_class",
        "flips",
        "used",
        "validation",
        "seconds",
        "histogram",
        "reliability",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"surprise": 1},
        {"rows": make_report()["rows"] | {"surprise": 1}},
        {"rounds": [make_round(1, ["a", "b"], 100) | {"surprise": 1}]},
    ],
    ids=["top", "rows", "round"],
)
def test_unknown_fields_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        document(Report, make_report() | changed)


def test_warnings_may_say_more() -> None:
    warning = {"code": "tiny_class", "message": "Label more.", "class": "x", "n": 3}
    assert document(Report, make_report() | {"warnings": [warning]})["warnings"] == [warning]


@pytest.mark.parametrize("classes", [["0", "1"], [0, 1], [False, True]])
def test_classes_keep_their_type(classes: list[Any]) -> None:
    made = document(Report, make_report(classes))["classes"]
    assert [(type(label), label) for label in made] == [(type(label), label) for label in classes]


@pytest.mark.parametrize(("label", "key"), [("a b", "a b"), (7, "7"), (True, "true")])
def test_labels_as_keys_are_those_of_json(label: Any, key: str) -> None:
    assert label_key(label) == key
    assert json.loads(json.dumps({label: 0})) == {key: 0}
    rounds = [make_round(1, [label], 100)]
    made = document(Report, make_report() | {"rounds": rounds})["rounds"][0]
    assert set(made["accepted_by_class"]) == set(made["histogram"]["counts"]) == {key}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        document(Report, make_report() | {"elapsed_s": value})


@pytest.mark.parametrize(
    "error",
    [
        InputError("Pool lacks columns ['age'].", code="missing_column", where="data/pool"),
        ConfigError([Problem("selection.treshold", "unknown key", "income.yaml", 12)]),
    ],
)
def test_our_errors_fit_the_error_document(error: InputError | ConfigError) -> None:
    made = ErrorDocument.of(error)
    assert made.error.exit_code == error.exit_code
    assert ErrorDocument.model_validate(made.as_json()) == made


def test_the_published_schemas_are_current(tmp_path: Path) -> None:
    """If this fails: run scripts/schemas and commit what it wrote."""
    subprocess.run([sys.executable, ROOT / "scripts" / "schemas", tmp_path], check=True)
    made = {file.name: json.loads(file.read_text()) for file in tmp_path.glob("*.json")}
    kept = {file.name: json.loads(file.read_text()) for file in ROOT.glob("docs/schemas/*.json")}
    assert kept == made
    assert {f"{name}.json" for name in DOCUMENTS} | {"config.json"} == set(kept)


def test_every_field_of_every_schema_is_described() -> None:
    silent = [
        f"{name}: {owner}.{field}"
        for name, schema in schemas().items()
        for owner, part in [(name, schema), *schema.get("$defs", {}).items()]
        for field, facts in part["properties"].items()
        # Where a field and its model say the same, the field only refers to the model.
        if not facts.get("description") and "$ref" not in facts
    ]
    assert silent == []


def test_documents_and_text_load_no_plotting_and_no_templates() -> None:
    program = (
        "import sys, spark_pseudolabel.report.text as _;"
        "heavy = {'matplotlib', 'jinja2', 'pyspark', 'scipy'} & set(sys.modules);"
        "sys.exit(' '.join(heavy) or None)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")
