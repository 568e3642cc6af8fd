from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.config import load_config
from spark_pseudolabel.errors import ConfigError
from tests.config.files import MINIMAL, loaded, told


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
        "c.yaml:6 rounds.max: occurs twice, first on line 5. Leave one of them out."
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


@pytest.mark.parametrize("before", ["", "incremental: true\n", "incremental: false\n"])
def test_a_key_of_incremental_may_be_set_where_it_is_on_or_off(before: str, tmp_path: Path) -> None:
    config = loaded(MINIMAL + before, tmp_path, ("incremental.on_shift=continue",))
    assert config.incremental is not None
    assert (config.incremental.refit, config.incremental.on_shift) == ("never", "continue")
