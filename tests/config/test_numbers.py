"""What a configuration may say where labels are numbers, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.config import identity, parse_config
from spark_pseudolabel.config.tolerance import Tolerance, tolerance_of
from spark_pseudolabel.core.selection.policies import POLICIES
from spark_pseudolabel.core.teachers.kinds import KINDS
from spark_pseudolabel.core.teachers.kinds.anchors import AnchorsKind
from spark_pseudolabel.core.teachers.kinds.committee import CommitteeKind
from spark_pseudolabel.core.teachers.kinds.neighbors import NeighborsKind
from spark_pseudolabel.errors import ConfigError
from spark_pseudolabel.registry import DEFAULT_NUMBER_COMMITTEE
from tests.config.files import MINIMAL, loaded, minimal, told


def numbers(**sections: Any) -> dict[str, Any]:
    return minimal(id="row_id", **{"task": "regression", "tolerance": 5.0, **sections})


def problems(**sections: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(numbers(**sections))
    return {problem.key: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        (5, Tolerance(5.0, "label")),
        (0.25, Tolerance(0.25, "label")),
        ("5 %", Tolerance(0.05, "share")),
        ("2.5%", Tolerance(0.025, "share")),
        ("0.25 sd", Tolerance(0.25, "sd")),
        (" 1e-1sd ", Tolerance(0.1, "sd")),
    ],
)
def test_a_tolerance_is_a_number_a_share_or_standard_deviations(
    spelled: float | str, meant: Tolerance
) -> None:
    assert tolerance_of(spelled) == meant
    assert parse_config(numbers(tolerance=spelled)).tolerance == spelled


WRONG = [0, -1.0, float("inf"), float("nan"), "0 %", "-5 %", "5", "sd", "5 km", True, [5], ""]


@pytest.mark.parametrize("spelled", WRONG)
def test_any_other_tolerance_is_refused_by_what_it_may_be(spelled: object) -> None:
    assert "'5 %'" in problems(tolerance=spelled)["tolerance"]


@pytest.mark.parametrize("share", [0, 1, 1.5, "95 %"])
def test_an_interval_is_a_share(share: object) -> None:
    assert list(problems(interval=share)) == ["interval"]


def test_numbers_need_a_tolerance_and_classes_have_none(tmp_path: Path) -> None:
    assert "is needed" in problems(tolerance=None)["tolerance"]
    assert told(MINIMAL + "id: a\ntolerance: 5\ninterval: 0.9\n", tmp_path) == [
        "c.yaml:5 tolerance: is for task: regression, whose labels are numbers. Leave it out.",
        "c.yaml:6 interval: is for task: regression, whose labels are numbers. Leave it out.",
    ]
    assert told(MINIMAL + "task: regresion\n", tmp_path)[0].endswith("did you mean 'regression'?")


def test_a_tolerance_can_be_given_on_the_command_line(tmp_path: Path) -> None:
    text = MINIMAL + "id: a\n"
    config = loaded(text, tmp_path, ("task=regression", "tolerance=0.5 sd"))
    assert (config.tolerance, config.interval) == ("0.5 sd", 0.95)


@pytest.mark.parametrize("policy", [name for name, of in POLICIES.items() if of.by_class])
def test_policies_by_class_are_refused_by_name(policy: str) -> None:
    settings = {"top_k_per_class": {"k": 3}}.get(policy, {})
    message = problems(selection={"policy": policy, **settings})["selection.policy"]
    assert f"Got {policy!r}." in message
    assert "'threshold'" in message


def test_policies_by_class_are_these() -> None:
    by_class = {name for name, policy in POLICIES.items() if policy.by_class}
    assert by_class == {"top_k_per_class", "flexmatch", "freematch", "crest", "quotas"}


@pytest.mark.parametrize(
    ("key", "sections"),
    [
        ("mode", {"mode": "sklearn"}),
        ("selection.per", {"selection": {"policy": "certified", "precision": 0.9, "per": "class"}}),
        ("selection.stable_under", {"selection": {"stable_under": {}}}),
        ("selection.require", {"selection": {"require": "all"}}),
        ("unlabeled.prior", {"unlabeled": {"path": "pool", "prior": {"1": 1.0}}}),
        ("labeled.drawn", {"labeled": {"path": "l", "label": "y", "drawn": "per_class"}}),
        ("labeled.reviews", {"labeled": {"path": "l", "label": "y", "reviews": ["other"]}}),
        ("calibration", {"calibration": "isotonic"}),
        ("training.labels", {"model": {"estimator": "Ridge"}, "training": {"labels": "soft"}}),
        ("output.probabilities", {"output": {"path": "out", "probabilities": True}}),
    ],
)
def test_what_is_asked_of_classes_is_refused_by_name(key: str, sections: dict[str, Any]) -> None:
    assert key in problems(**sections)


def test_teachers_that_know_classes_only_are_refused_by_name() -> None:
    assert {kind for kind in KINDS if kind.of_numbers} == {
        AnchorsKind,
        CommitteeKind,
        NeighborsKind,
    }
    for teacher in (
        {"rules": [{"name": "a", "label": 1, "when": "x > 1"}]},
        {"tri_training": {}},
        {"views": [["a"], ["b"]]},
    ):
        (key,) = teacher
        assert "classes only" in problems(teacher=teacher)[f"teacher.{key}"]
    assert "classes only" in problems(teacher={"graph": {"graph": "anchors"}})["teacher.graph"]
    for method in ("spreading", "poisson"):
        named = {"graph": "neighbors", "method": method}
        assert f"Got {method!r}" in problems(teacher=named)["teacher.method"]
    around = {"graph": "neighbors", "around": "committee"}
    assert "classes" in problems(teacher=around)["teacher.around"]
    assert parse_config(numbers(teacher={"graph": "neighbors"})).calibration == "none"
    by_class = {"graph": "anchors", "class_mass": True}
    assert "no classes" in problems(teacher=by_class)["teacher.class_mass"]


def test_classifiers_are_refused_with_regressors() -> None:
    found = problems(model={"estimator": "LogisticRegression"})
    assert "Ridge" in found["model.estimator"]
    committee = {"committee": [{"estimator": "MLPClassifier"}]}
    assert "MLPRegressor" in problems(teacher=committee)["teacher.committee.0"]
    with pytest.raises(ConfigError, match="Ridge"):
        parse_config(minimal(id="a", model={"estimator": "Ridge"}))


def test_estimators_that_nobody_names_are_those_for_numbers() -> None:
    config = parse_config(numbers(selection={"policy": "threshold"}))
    assert config.estimators == ["HistGradientBoostingRegressor"]
    auto = parse_config(numbers())
    assert auto.teacher is not None
    assert [m.estimator for m in auto.teacher.members.values()] == [
        name for name, _ in DEFAULT_NUMBER_COMMITTEE
    ]
    assert auto.teacher.voters == len(DEFAULT_NUMBER_COMMITTEE)  # no graph among them
    assert auto.student is None
    taught = parse_config(numbers(model={"params": {"max_iter": 50}}))
    assert taught.student is not None
    assert taught.student.estimator == "HistGradientBoostingRegressor"
    assert taught.training.labels == "hard"


def test_a_run_on_classes_is_the_run_that_it_was() -> None:
    assert not {"task", "tolerance", "interval"} & set(identity(parse_config(minimal(id="a"))))
    of_numbers = identity(parse_config(numbers()))
    assert (of_numbers["tolerance"], of_numbers["interval"]) == (5.0, 0.95)
