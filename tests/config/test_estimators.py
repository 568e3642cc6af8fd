from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.config import load_config
from spark_pseudolabel.errors import ConfigError
from spark_pseudolabel.registry import REGISTRY
from tests.config.files import MINIMAL, told


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
