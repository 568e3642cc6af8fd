import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.config import Config, config_schema, identity, load_config, parse_config
from spark_pseudolabel.config.checks import feigned
from spark_pseudolabel.config.example import EXAMPLE
from spark_pseudolabel.errors import ConfigError
from spark_pseudolabel.registry import REGISTRY

MINIMAL = """\
labeled: {path: labeled.parquet, label: income}
unlabeled: {path: pool}
output: {path: out}
"""


def told(text: str, tmp_path: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    """Return what is told about a configuration, without the file's directory."""
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems]


def loaded(text: str, tmp_path: Path, overrides: tuple[str, ...] = ()) -> Config:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return load_config(file, overrides)


def minimal(**sections: Any) -> dict[str, Any]:
    return {
        "labeled": {"path": "labeled.parquet", "label": "income"},
        "unlabeled": {"path": "pool"},
        "output": {"path": "out"},
        **sections,
    }


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


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("selection: {threshold: 1.5}", "selection.threshold: must be in [0, 1). Got 1.5."),
        ("selection: {threshold: 1.0}", "selection.threshold: must be in [0, 1). Got 1.0."),
        ("selection: {threshold: .nan}", "selection.threshold: must be in [0, 1). Got nan."),
        (
            "selection: {threshold: '0.9'}",
            "selection.threshold: must be a number in [0, 1). Got '0.9'.",
        ),
        ("validation: {fraction: 1}", "validation.fraction: must be in [0, 1). Got 1."),
        (
            "rounds: {max: -1}",
            "rounds.max: must be a whole number of at least 0 or null. Got -1.",
        ),
        ("rounds: {relabel: 1}", "rounds.relabel: must be true or false. Got 1."),
        (
            "training: {max_rows: true}",
            "training.max_rows: must be a whole number of at least 1 or null. Got true.",
        ),
        (
            "training: {pseudo_weight: 0}",
            "training.pseudo_weight: must be a number above 0 or one of 'confidence', 'softmatch'. "
            "Got 0.",
        ),
        (
            "training: {max_pseudo_weight: 0}",
            "training.max_pseudo_weight: must be a number above 0 or null. Got 0.",
        ),
        (
            "training: {rows: some}",
            "training.rows: must be one of 'accepted', 'all' or a mapping with keys such as top, "
            "threshold. Got 'some'.",
        ),
        ("training: {rows: {top: 2}}", "training.rows.top: must be in (0, 1] or null. Got 2."),
        (
            "training: {rows: {tpo: 0.5}}",
            "training.rows.tpo: unknown key, did you mean 'top'?",
        ),
        (
            "training: {rows: {top: 0.5, threshold: 0.5}}",
            "training.rows: must have exactly one of top, threshold.",
        ),
        (
            "training: {rows: {top: 0.5}}",
            "training.rows: 'all', top and threshold need policy 'auto' with a model, a teacher,",
        ),
        (
            "training: {labels: softt}",
            "training.labels: must be one of 'hard', 'soft'. Got 'softt', did you mean 'soft'?",
        ),
        (
            "selection: {policy: treshold}",
            (
                "selection.policy: must be one of 'auto', 'certified', 'crest', 'flexmatch', "
                "'freematch', 'k_best', 'one_shot', 'percentile', 'quotas', 'threshold', "
                "'top_k_per_class'. Got 'treshold', did you mean 'threshold'?"
            ),
        ),
        (
            "selection: {policy: top_k_per_class}",
            "selection.k: required key is missing: a whole number of at least 1.",
        ),
        (
            "selection: {policy: threshold, k: 3}",
            "selection.k: is no key of policy 'threshold', which has policy, threshold.",
        ),
        ("features: {exclude: age}", "features.exclude: must be a list of text. Got 'age'."),
        (
            "features: {include: []}",
            "features.include: must be a list of at least one text or null",
        ),
        (
            "features: {include: [a], exclude: [b]}",
            "features: must have include or exclude, not both. Leave one of them out.",
        ),
        ("teacher: {graph: {}}", "teacher.graph: unknown key. Known here: committee, student."),
        (
            "selection: {policy: auto}\nrounds: {max: 3}",
            "rounds.max: must be 1 with policies 'auto' and 'certified': model 1 labels the pool, "
            "once. Got 3. Leave it out.",
        ),
        (
            "teacher: {}\nrounds: {max: 3}",
            "rounds.max: must be 1 with a teacher: model 1 labels the pool, once. Got 3. Leave it "
            "out.",
        ),
        (
            "selection: {policy: certified}\nrounds: {relabel: true}",
            "rounds.relabel: must be false with policies 'auto' and 'certified': there is one "
            "round. Leave it out.",
        ),
        (
            "selection: {policy: certified, scores: held_out}\nvalidation: {fraction: 0}",
            "selection.scores: 'held_out' tests on validation rows, and there are none. Give "
            "validation a fraction or a table, or say out_of_fold.",
        ),
        (
            "validation: {group: g}\nlabeled: {path: a, label: y, group: h}",
            "validation.group: must be the column that labeled.group names, 'h', or be left out. "
            "Got 'g'.",
        ),
        (
            "teacher: {}\nmodel: {student: {estimator: GaussianNB}}",
            "model.student: must be left out with a teacher: model is the student. Name the "
            "student there.",
        ),
        (
            "training: {rows: all}",
            "training.rows: 'all', top and threshold need policy 'auto' with a model, a teacher, "
            "or policy 'certified' with model.student: a student that learns from what another "
            "model says of every row.",
        ),
        (
            "selection: {policy: quotas}\nrounds: {relabel: false}",
            "rounds.relabel: must be true with policy 'quotas', which decides every row anew. "
            "Leave it out.",
        ),
        ("id: income", "id: must be another column than labeled.label. Both are 'income'."),
        ("id: yes", "id: must be text or null. Got true."),
        ("test: {}", "test: must name its rows by exactly one of path, table, query. Got none"),
        (
            "test: {path: a, table: b}",
            "test: must name its rows by exactly one of path, table, query. Got path and table.",
        ),
        (
            "validation: {path: a, fraction: 0.1}",
            "validation: must be exactly one of fraction, path, table, query. Got path and frac",
        ),
        (
            "validation: {path: a, group: g}",
            "validation: group splits the labeled rows, so it needs fraction; leave group out.",
        ),
        (
            "{unlabeled: {path: b, drop_labeled: true}, id: null}",
            "unlabeled.drop_labeled: needs id",
        ),
        ("{rounds: {max: null, relabel: true}}", "rounds.max: must be a number"),
        (
            "{selection: {policy: percentile}, rounds: {relabel: false}}",
            "rounds.relabel: must be true with policy 'percentile'",
        ),
        (
            "{model: {estimator: KNeighborsClassifier}, training: {labels: soft}}",
            "training.labels: 'soft' needs an estimator that takes weights",
        ),
        (
            "{model: {student: {estimator: KNeighborsClassifier}}, "
            "training: {pseudo_weight: confidence}}",
            "training.pseudo_weight: must be 1.0 with KNeighborsClassifier",
        ),
        (
            "{model: {estimator: KNeighborsClassifier}, training: {max_pseudo_weight: 2}}",
            "training.max_pseudo_weight: must be null with KNeighborsClassifier",
        ),
        ("spark: {conf: {spark.x: [1]}}", "spark.conf.spark.x: must be text. Got [1]."),
        ("validation:", "validation: must be a mapping with keys such as path, table"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(section: str, message: str) -> None:
    import yaml

    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(**yaml.safe_load(section)))
    assert [p.message for p in caught.value.problems] == [caught.value.problems[0].message]
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'c.yaml:1 is empty. "spark-pseudolabel init" writes an example.'),
        ("# nothing\n", 'c.yaml:1 is empty. "spark-pseudolabel init" writes an example.'),
        ("- a\n", "c.yaml:1 must be a mapping of sections such as labeled, unlabeled, output."),
        ("a: [1\n", "c.yaml:2 is not YAML: "),
        ("a: 1\n---\nb: 2\n", "c.yaml:2 is not YAML: "),
        ("a: !!python/object/apply:os.getcwd []\n", "c.yaml:1 is not YAML: "),
        ("a: 2024-13-45\n", "c.yaml:1 is not YAML: "),
        ("[" * 3000, "c.yaml:1 is nested too deeply."),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, message: str, tmp_path: Path) -> None:
    problems = told(text, tmp_path)
    assert len(problems) == 1
    assert problems[0].startswith(message)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="must be a YAML file in UTF-8"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: ") as caught:
        load_config(tmp_path / name)
    assert caught.value.exit_code == 2


def test_a_key_that_stands_twice_is_a_problem(tmp_path: Path) -> None:
    text = MINIMAL + "rounds:\n  max: 1\n  max: 2\n"
    assert told(text, tmp_path) == [
        "c.yaml:6 rounds.max: stands twice, first on line 5. Leave one of them out."
    ]


def test_missing_sections_are_told(tmp_path: Path) -> None:
    assert told("id: x\n", tmp_path) == [
        "c.yaml:1 labeled: required section is missing.",
        "c.yaml:1 unlabeled: required section is missing.",
        "c.yaml:1 output: required section is missing.",
    ]


def test_set_wins_over_the_file(tmp_path: Path) -> None:
    overrides = (
        "selection.threshold=0.7",
        "rounds.max=null",
        "model.params.max_iter=20",
        "spark.conf.spark.driver.memory=4g",
        "training.pseudo_weight=5e-1",
        "features.exclude=[a, b]",
    )
    config = loaded(MINIMAL, tmp_path, overrides)
    assert config.selection.threshold == 0.7
    assert config.rounds.max is None
    assert config.model.params == {"max_iter": 20}
    assert config.spark.conf == {"spark.driver.memory": "4g"}
    assert config.training.pseudo_weight == 0.5
    assert config.features.exclude == ("a", "b")


def test_set_of_another_policy_starts_the_section_afresh(tmp_path: Path) -> None:
    text = MINIMAL + "selection: {policy: threshold, threshold: 0.8}\n"
    config = loaded(text, tmp_path, ("selection.k=3", "selection.policy=k_best"))
    assert config.selection.model_dump() == {"policy": "k_best", "k": 3}


def test_set_of_another_kind_of_table_replaces_the_first(tmp_path: Path) -> None:
    overrides = ("unlabeled.table=db.pool", "validation.path=v", "id=row_id")
    config = loaded(MINIMAL + "validation: {fraction: 0.3}\n", tmp_path, overrides)
    assert config.unlabeled.sources == ["table"]
    assert (config.validation.sources, config.validation.fraction) == (["path"], 0.0)


def test_a_wrong_set_has_a_key_and_no_line(tmp_path: Path) -> None:
    overrides = ("selection.treshold=0.8", "rounds.max=x", "nothing", "rounds.max=[")
    assert told(MINIMAL, tmp_path, overrides) == [
        "nothing: --set must be key=value with a YAML value. Got 'nothing'.",
        "rounds.max: --set must be key=value with a YAML value. Got 'rounds.max=['.",
        "selection.treshold: unknown key, did you mean 'threshold'?",
        "rounds.max: must be a whole number of at least 0 or null. Got 'x'.",
    ]
    assert told(MINIMAL, tmp_path, ("selection.precison=0.9",)) == [
        "selection.precison: unknown key, did you mean 'precision'?"
    ]


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


def test_mode_sklearn_implies_its_settings() -> None:
    config = parse_config(minimal(mode="sklearn"))
    assert config.selection.threshold == 0.75
    assert config.validation.fraction == 0
    assert config.training.max_rows is None
    assert (
        parse_config(minimal(mode="sklearn", selection={"threshold": 0.6})).selection.threshold
        == 0.6
    )


def test_mode_sklearn_accepts_what_it_implies() -> None:
    parse_config(
        minimal(
            mode="sklearn",
            validation={"fraction": 0},
            training={"max_rows": None, "labels": "hard", "pseudo_weight": 1.0},
            model={"estimator": "RandomForestClassifier", "student": None},
            rounds={"max": 3, "relabel": False},
            selection={"policy": "k_best"},
            test={"path": "t"},
        )
    )


def test_mode_sklearn_conflicts_are_told_by_key() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(
            minimal(
                mode="sklearn",
                validation={"path": "v"},
                training={
                    "max_rows": 10,
                    "rows": {"top": 0.5},
                    "pseudo_weight": "confidence",
                    "max_pseudo_weight": 1,
                },
                model={"student": {"estimator": "RandomForestClassifier"}},
                rounds={"relabel": True},
                features={"text": ["a"]},
                selection={"policy": "one_shot"},
            )
        )
    assert sorted(p.key for p in caught.value.problems) == [
        "features.text",
        "model.student",
        "rounds.relabel",
        "selection.policy",
        "training.max_pseudo_weight",
        "training.max_rows",
        "training.pseudo_weight",
        "training.rows",
        "training.rows",
        "validation.path",
    ]


def test_identity_leaves_out_what_does_not_make_another_run() -> None:
    one = parse_config(minimal(rounds={"max": 3}))
    other = parse_config(
        minimal(rounds={"max": 9}, spark={"master": "local[1]"}, output={"path": "elsewhere"})
    )
    assert identity(one) == identity(other)
    assert json.loads(json.dumps(identity(one))) == identity(one)


@pytest.mark.parametrize(
    "section",
    [{"random_state": 1}, {"output": {"path": "out", "features": True}}, {"mode": "sklearn"}],
)
def test_identity_differs_where_the_labels_might(section: dict[str, Any]) -> None:
    assert identity(parse_config(minimal(**section))) != identity(parse_config(minimal()))


def test_a_configuration_does_not_change() -> None:
    config = parse_config(minimal())
    with pytest.raises(ValueError, match="frozen"):
        config.rounds.max = 3


def test_schema_knows_every_section() -> None:
    schema = config_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    json.dumps(schema)


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


WRITTEN_OUT = {
    "teacher": {"student": False},
    "selection": {"policy": "certified", "precision": 0.95, "required": False},
}


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"model": {"estimator": "GaussianNB"}},
        {"model": {"params": {"max_iter": 20}, "student": None}},
        {"model": {}, "rounds": {}, "training": {}},
        {"validation": {"fraction": 0.3, "group": None}},
        {"validation": {"path": "v"}, "test": {"path": "t"}},
        {"labeled": {"path": "a", "label": "y", "drawn": "per_class"}},
        {"unlabeled": {"path": "b", "prior": {"a": 0.5, "b": 0.5}}, "shift": {"action": "stop"}},
        {"unlabeled": {"from": "labeled"}, "id": "i", "features": {"text": ["note"]}},
        {"calibration": "temperature", "teacher": {"committee": [{"estimator": "GaussianNB"}]}},
    ],
)
def test_without_selection_it_is_auto(sections: dict[str, Any], tmp_path: Path) -> None:
    found = parse_config(minimal(**sections))
    assert found.certified is not None
    assert not found.certified.required
    assert identity(found) == identity(
        parse_config(minimal(**sections, selection={"policy": "auto"}))
    )
    assert found.why_selection is not None
    assert found.why_selection.startswith("auto, since there is no selection: ")
    assert (found.student is not None) == any(sections.get("model", {}).values())
    from_file = loaded(json.dumps(minimal(**sections)), tmp_path)
    assert identity(from_file) == identity(found)


@pytest.mark.parametrize(
    ("sections", "about"),
    [
        ({"rounds": {"max": 3}}, "rounds"),
        ({"rounds": {"max": 1}}, "rounds"),
        ({"rounds": {"max": 0}}, "rounds"),
        ({"rounds": {"relabel": True}, "training": {"max_rows": 10}}, "rounds"),
        ({"training": {"pseudo_weight": "confidence"}}, "training"),
        ({"training": {"labels": "soft"}, "teacher": {}}, "training"),
        ({"model": {"student": {"estimator": "GaussianNB"}}}, "model.student"),
        ({"validation": {"group": "customer"}}, "validation.group"),
    ],
)
def test_what_is_about_self_training_means_a_threshold(
    sections: dict[str, Any], about: str
) -> None:
    found = parse_config(minimal(**sections))
    asked = parse_config(minimal(**sections, selection={"policy": "threshold", "threshold": 0.9}))
    assert identity(found) == identity(asked)
    assert found.why_selection is not None
    assert found.why_selection.startswith(f"threshold, since {about} is given and selection is not")
    assert asked.why_selection is None


def test_more_rounds_go_on_with_a_run_without_selection() -> None:
    runs = [parse_config(minimal(rounds={"max": most})) for most in (0, 1, 3)]
    assert identity(runs[0]) == identity(runs[1]) == identity(runs[2])


def test_set_of_a_threshold_needs_no_policy(tmp_path: Path) -> None:
    config = loaded(MINIMAL, tmp_path, ("selection.threshold=0.7",))
    assert config.selection.model_dump() == {"policy": "threshold", "threshold": 0.7}
    assert config.teacher is None


def test_set_of_a_precision_needs_no_policy(tmp_path: Path) -> None:
    config = loaded(MINIMAL, tmp_path, ("selection.precision=0.8",))
    assert identity(config) == identity(
        parse_config(minimal(selection={"policy": "auto", "precision": 0.8}))
    )
    both = ("selection.precision=0.8", "selection.threshold=0.8")
    assert told(MINIMAL, tmp_path, both) == [
        "selection.threshold: is no key of policy 'auto', which has certainty, policy, precision."
    ]


@pytest.mark.parametrize("wrong", [{"rounds": {"max": -1}}, {"selection": {"policy": "aut"}}])
def test_wrong_section_brings_no_problem_of_a_policy_nobody_chose(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(**wrong))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("name", "labels"), [("KNeighborsClassifier", "hard"), ("RandomForestClassifier", "soft")]
)
def test_student_of_auto_that_takes_no_weights_learns_hard_labels(name: str, labels: str) -> None:
    config = parse_config(minimal(model={"estimator": name}))
    assert config.training.labels == labels
    with pytest.raises(ConfigError, match=r"training\.labels: 'soft' needs an estimator"):
        parse_config(
            minimal(
                selection={"policy": "auto"},
                model={"estimator": "KNeighborsClassifier"},
                training={"labels": "soft"},
            )
        )


def test_estimators_known_to_take_weights_do() -> None:
    from spark_pseudolabel.core.teachers.estimators import check_name, takes_sample_weight

    there = [n for n, info in REGISTRY.items() if info.weighted and check_name(n) is None]
    assert "LogisticRegression" in there
    assert all(takes_sample_weight(name) for name in there)


def test_unchecked_estimators_change_nothing_of_what_is_run(tmp_path: Path) -> None:
    for name in ("KNeighborsClassifier", "MLPClassifier", "RandomForestClassifier"):
        file = tmp_path / "c.yaml"
        file.write_text(MINIMAL + f"model: {{estimator: {name}}}\n")
        assert load_config(file, check_estimators=False) == load_config(file)


def test_misspelled_estimators_are_told_with_all_other_problems(tmp_path: Path) -> None:
    text = (
        MINIMAL + "model: {estimator: RandomForest, student: {estimator: my.Tree}}\n"
        "teacher: {committee: [{estimator: GaussianNB}, {estimator: SVM}]}\nrounds: {max: 0}\n"
    )
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.yaml", check_estimators=False)
    problems = {problem.key: problem.message for problem in caught.value.problems}
    names = {"model.estimator", "model.student.estimator", "teacher.committee.1"}
    assert set(problems) >= {*names, "rounds.max"}
    assert "Did you mean 'RandomForestClassifier'?" in problems["model.estimator"]
    assert "--allow-import my" in problems["model.student.estimator"]
    assert told(text, tmp_path) == [
        str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems
    ]


def test_auto_is_written_out_around_what_is_said() -> None:
    auto = parse_config(minimal(selection={"policy": "auto"}))
    assert identity(auto) == identity(parse_config(minimal(**WRITTEN_OUT)))
    assert auto.why_selection is not None
    assert auto.why_selection.startswith("auto: ")
    assert auto.student is None
    assert "HistGradientBoostingClassifier" in auto.estimators
    own = {
        "teacher": {"committee": [{"estimator": "GaussianNB"}]},
        "training": {"max_rows": 300},
        "model": {"estimator": "LogisticRegression"},
    }
    kept = parse_config(minimal(selection={"policy": "auto"}, **own))
    assert kept.teacher is not None
    assert [member.estimator for member in kept.teacher.committee] == ["GaussianNB"]
    assert (kept.training.rows, kept.training.max_rows) == ("all", 300)
    assert kept.training.labels == "soft"
    assert kept.student is not None
    assert kept.student.estimator == "LogisticRegression"


TEMPERATURE = {"calibration": "temperature"}


@pytest.mark.parametrize(
    "sections",
    [
        {"selection": {"policy": "certified"}},
        {"selection": {"policy": "auto"}},
        {"teacher": {}},
        {"teacher": {}, "selection": {"policy": "certified", "scores": "held_out"}},
    ],
)
def test_calibration_takes_out_of_fold_scores(sections: dict[str, Any]) -> None:
    assert parse_config(minimal(**TEMPERATURE, **sections)).calibration == "temperature"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"rounds": {"max": 2}}, "'temperature' is fitted on out-of-fold scores, and there are"),
        ({"selection": {"policy": "threshold"}}, "out-of-fold scores, and there are none"),
        ({"selection": {"policy": "certified", "scores": "held_out"}}, "there are none"),
        ({"mode": "sklearn"}, "calibration: conflicts with mode: sklearn"),
        ({"calibration": "platt"}, "calibration: must be one of 'none', 'sigmoid'"),
    ],
)
def test_calibration_without_scores_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse_config(minimal(**{**TEMPERATURE, **sections}))
    assert len(caught.value.problems) == 1


BALANCED = {"estimator": "LogisticRegression", "params": {"class_weight": "balanced"}}


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"mode": "sklearn"}, "unlabeled.prior"),
        ({"model": BALANCED}, "model.params.class_weight"),
        ({"model": {"student": BALANCED}}, "model.student.params.class_weight"),
        ({"teacher": {"committee": [BALANCED]}}, "teacher.committee.0.params.class_weight"),
    ],
)
def test_prior_needs_models_of_the_rows_as_they_are(sections: dict[str, Any], key: str) -> None:
    prior = {"path": "pool", "prior": {"a": 0.5, "b": 0.5}}
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(unlabeled=prior, **sections))
    assert [problem.key for problem in caught.value.problems] == [key]


FEIGNED = [
    ("LogisticRegression", {"class_weight": {0: 1.0, 1: 2.0}}, "class_weight"),
    ("GaussianNB", {"priors": [0.5, 0.5]}, "priors"),
    ("XGBClassifier", {"scale_pos_weight": 9.0}, "scale_pos_weight"),
    ("LGBMClassifier", {"is_unbalance": True}, "is_unbalance"),
    ("LGBMClassifier", {"is_unbalance": False, "scale_pos_weight": 1.0}, None),
]


@pytest.mark.parametrize(("name", "params", "key"), FEIGNED)
def test_every_way_to_feign_class_shares_is_refused_with_a_prior(
    name: str, params: dict[str, Any], key: str | None
) -> None:
    assert feigned(params) == ([key] if key else [])


@pytest.mark.parametrize(
    ("estimator", "key"),
    [
        (LogisticRegression(), None),
        (LogisticRegression(class_weight="balanced"), "class_weight"),
        (
            make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")),
            "logisticregression__class_weight",
        ),
        (LinearDiscriminantAnalysis(priors=[0.5, 0.5]), "priors"),
    ],
)
def test_own_estimator_is_asked_whether_it_feigns_class_shares(
    estimator: BaseEstimator, key: str | None
) -> None:
    params = {name: repr(value) for name, value in estimator.get_params(deep=True).items()}
    data = minimal(
        unlabeled={"path": "pool", "prior": {"a": 0.5, "b": 0.5}},
        model={"estimator": "own", "params": params},
        selection={"policy": "threshold"},
    )
    if key is None:
        parse_config(data, estimator=estimator)
        return
    with pytest.raises(ConfigError) as caught:
        parse_config(data, estimator=estimator)
    assert [problem.key for problem in caught.value.problems] == [f"model.params.{key}"]


def test_committee_of_ones_own_needs_no_student_with_auto() -> None:
    members = [{"estimator": "GaussianNB"}]
    alone = parse_config(minimal(selection={"policy": "auto"}, teacher={"committee": members}))
    assert alone.student is None
    assert alone.estimators == ["GaussianNB"]
    taught = parse_config(minimal(selection={"policy": "auto"}, teacher={"student": True}))
    assert taught.student is not None
    assert taught.training.rows == "all"


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


def test_shift_is_looked_at_where_it_is_asked_for_or_labels_are_cross_fitted(
    tmp_path: Path,
) -> None:
    rounds = {"selection": {"policy": "threshold"}}
    assert not parse_config(minimal(**rounds)).measures_shift
    for scores in ("out_of_fold", "held_out"):
        certified = {"policy": "certified", "scores": scores}
        assert parse_config(minimal(selection=certified)).measures_shift
    assert parse_config(minimal(**rounds, shift={})).measures_shift
    for word in ("off", "'off'"):  # YAML reads the one as false
        config = loaded(
            f"{MINIMAL}shift: {{action: {word}}}\n", tmp_path, ("selection.policy=auto",)
        )
        assert not config.measures_shift
    assert parse_config(minimal(shift={"action": "withhold"})).withholds
    assert not parse_config(minimal(shift={"action": "stop"})).withholds
    (problem,) = told(f"{MINIMAL}shift: {{action: witthold}}\n", tmp_path)
    assert "did you mean 'withhold'?" in problem
    (problem,) = told(f"mode: sklearn\nid: i\n{MINIMAL}shift: {{action: stop}}\n", tmp_path)
    assert "shift.action: must be 'warn' or 'off' with mode: sklearn" in problem


UNLEARNED: list[dict[str, Any]] = [
    {"selection": {"policy": "auto"}},
    {"selection": {"policy": "certified"}},
    {"selection": {"policy": "threshold"}, "teacher": {"student": False}},
]


@pytest.mark.parametrize("sections", UNLEARNED)
@pytest.mark.parametrize(
    "training",
    [
        {"labels": "soft"},
        {"pseudo_weight": "confidence"},
        {"max_pseudo_weight": 1.0},
        {"max_rows": 100},
    ],
)
def test_how_a_student_learns_is_refused_where_there_is_none(
    sections: dict[str, Any], training: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(**sections, training=training))
    (key,) = training
    assert [problem.key for problem in caught.value.problems] == [f"training.{key}"]


def test_training_is_the_students_where_there_is_one() -> None:
    student = {"estimator": "GaussianNB"}
    for sections in (
        {"selection": {"policy": "auto"}, "model": student},
        {"selection": {"policy": "certified"}, "model": {"student": student}},
        {"selection": {"policy": "certified"}, "teacher": {}},
    ):
        given = minimal(**sections, training={"max_rows": 100})
        assert parse_config(given).training.max_rows == 100


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
