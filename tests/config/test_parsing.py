from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spark_pseudolabel.config import load_config, parse_config
from spark_pseudolabel.config.example import EXAMPLE
from spark_pseudolabel.errors import ConfigError
from tests.config.files import MINIMAL, loaded, minimal, told


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    config = loaded(MINIMAL + "selection: {policy: threshold}\n", tmp_path)
    assert config.selection.threshold == 0.9
    assert config.validation.fraction == 0.2
    assert config.model.estimator == "HistGradientBoostingClassifier"
    assert (config.rounds.max, config.rounds.relabel) == (10, False)
    assert config.training.max_rows == 200_000
    assert config.why_selection is None
    assert (config.id, config.test, config.random_state) == (None, None, 0)
    assert config.labeled.drawn == "random"


def test_example_loads_as_it_is(tmp_path: Path) -> None:
    config = loaded(EXAMPLE, tmp_path)
    assert config.labeled.label == "digit"
    assert config.why_selection is not None
    assert config.why_selection.startswith("auto")
    rounds = loaded(EXAMPLE, tmp_path, ("rounds.max=3", "selection.threshold=0.8"))
    assert (rounds.selection.policy, rounds.rounds.max) == ("threshold", 3)


def test_every_problem_is_told_at_once_with_line_key_and_nearest_key(tmp_path: Path) -> None:
    text = """\
labeled: {path: labeled.parquet, lable: income}
unlabeled: {path: pool}
output: {path: out}
selection:
  treshold: 0.8
model: {params: {max_itr: 5}, student: {estimator: RandomForrest}}
modle: 1
threshold: 0.5
"""
    starts = [
        "c.yaml:1 labeled.label: required key is missing: text.",
        "c.yaml:1 labeled.lable: unknown key, did you mean 'label'?",
        "c.yaml:5 selection.treshold: unknown key, did you mean 'threshold'?",
        "c.yaml:6 model.params.max_itr: HistGradientBoostingClassifier has no parameter 'max_itr'.",
        "c.yaml:6 model.student.estimator: ",
        "c.yaml:7 modle: unknown key, did you mean 'model'?",
        "c.yaml:8 threshold: unknown key, did you mean 'selection.threshold'?",
    ]
    problems = told(text, tmp_path)
    assert len(problems) == len(starts)
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(start)


def test_missing_sections_are_told(tmp_path: Path) -> None:
    assert told("id: x\n", tmp_path) == [
        "c.yaml:1 labeled: required section is missing.",
        "c.yaml:1 unlabeled: required section is missing.",
        "c.yaml:1 output: required section is missing.",
    ]


def test_dataframes_are_for_python_only(tmp_path: Path) -> None:
    sections = minimal(labeled={"from": "dataframe", "label": "y"}, id="row_id")
    assert parse_config(sections).labeled.from_ == "dataframe"
    assert told(json.dumps(sections), tmp_path) == [
        "c.yaml:1 labeled.from: 'dataframe' is for the Python API. Name a path, table or query."
    ]


def test_python_values_need_not_be_yaml_values() -> None:
    sections = minimal(
        unlabeled={"path": Path("a") / "b"},
        selection={"policy": "k_best", "k": np.int64(3)},
        features={"exclude": ("a",)},
    )
    config = parse_config(sections)
    assert config.unlabeled.path == "a/b"
    assert config.selection.k == 3
    assert config.features.exclude == ("a",)


def test_importing_it_needs_neither_spark_nor_sklearn(tmp_path: Path) -> None:
    code = (
        "import sys, spark_pseudolabel.config as c; "
        f"c.parse_config({minimal(model={'estimator': 'HistGradientBoostingClassifier'})}); "
        "open('c.yaml', 'w').write('labeled: {path: a, label: y}\\nunlabeled: {path: b}\\n'"
        "'output: {path: o}\\nmodel: {estimator: RandomForestClassifier}\\n'); "
        "c.load_config('c.yaml', check_estimators=False); "
        f"c.parse_config({minimal()}); "
        "print(sorted({'pyspark', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{0: 0.5, 1: 0.5}", {"0": 0.5, "1": 0.5}),
        ("{no: 0.9, yes: 0.1}", {"no": 0.9, "yes": 0.1}),
        ("{true: 0.9, False: 0.1}", {"true": 0.9, "False": 0.1}),
        ("{01: 0.9, 1_0: 0.1}", {"01": 0.9, "1_0": 0.1}),
        ("{2024-01-01: 0.9, null: 0.1}", {"2024-01-01": 0.9, "null": 0.1}),
        ("{1.50: 1}", {"1.50": 1.0}),
    ],
)
def test_labels_that_are_keys_are_the_text_that_was_written(
    tmp_path: Path, text: str, expected: dict[str, float]
) -> None:
    path = tmp_path / "conf.yaml"
    path.write_text(
        "labeled: {path: a, label: y}\noutput: {path: out}\nselection: {policy: one_shot}\n"
        f"unlabeled: {{path: b, prior: {text}}}\n"
    )
    assert load_config(path).unlabeled.prior == expected
    path.write_text(path.read_text().replace(f", prior: {text}", ""))
    assert load_config(path, [f"unlabeled.prior={text}"]).unlabeled.prior == expected


def test_labels_in_python_are_what_they_are() -> None:
    def prior(keys: list[Any]) -> Any:
        given = dict.fromkeys(keys, 1 / len(keys))
        return parse_config(minimal(unlabeled={"path": "b", "prior": given})).unlabeled.prior

    assert prior([0, 1]) == {"0": 0.5, "1": 0.5}
    assert prior([True, False]) == {"true": 0.5, "false": 0.5}
    assert prior([np.int64(3)]) == {"3": 1.0}
    with pytest.raises(ConfigError, match=r"every label once\. Got 0, 0\."):
        prior([0, "0"])


def test_parameters_keyed_by_labels_keep_the_labels(tmp_path: Path) -> None:
    weights = {0: 1.0, 1: 2.0}
    params = {"class_weight": weights}
    model = {"estimator": "LogisticRegression", "params": params}
    assert parse_config(minimal(model=model)).model.params == params
    path = tmp_path / "conf.yaml"
    path.write_text(
        "labeled: {path: a, label: y}\nunlabeled: {path: b}\noutput: {path: out}\n"
        "model: {estimator: LogisticRegression, params: {class_weight: {no: 1.0, yes: 2.0}}}\n"
    )
    assert load_config(path).model.params == {"class_weight": {"no": 1.0, "yes": 2.0}}
    found = load_config(path, ["model.params.class_weight={0: 1.0, 1: 2.0}"])
    assert found.model.params == params
