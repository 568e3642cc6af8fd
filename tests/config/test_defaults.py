from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.config import identity, parse_config
from spark_pseudolabel.errors import ConfigError
from tests.config.files import MINIMAL, loaded, minimal, told

WRITTEN_OUT = {
    "teacher": {"student": False, "graph": {"graph": "anchors"}},
    "selection": {
        "policy": "certified",
        "precision": "best",
        "min_coverage": 0.2,
        "required": False,
    },
}


def test_mode_sklearn_implies_its_settings() -> None:
    config = parse_config(minimal(mode="sklearn"))
    assert config.selection.threshold == 0.75
    assert config.validation.fraction == 0
    assert config.training.max_rows is None
    assert (
        parse_config(minimal(mode="sklearn", selection={"threshold": 0.6})).selection.threshold
        == 0.6
    )


@pytest.mark.parametrize(
    ("sections", "method"),
    [
        ({}, "none"),
        ({"teacher": {}}, "none"),
        ({"teacher": {"graph": "anchors"}}, "none"),
        ({"teacher": {"graph": "neighbors"}}, "auto"),
        ({"teacher": {"graph": "neighbors", "around": "committee"}}, "none"),
        ({"teacher": {"graph": "neighbors"}, "calibration": "auto"}, "auto"),
        ({"teacher": {"graph": "neighbors"}, "calibration": "none"}, "none"),
        ({"teacher": {"graph": "neighbors"}, "calibration": "sigmoid"}, "sigmoid"),
    ],
)
def test_scores_of_a_graph_are_calibrated_unless_it_is_said(
    sections: dict[str, Any], method: str
) -> None:
    assert parse_config(minimal(**sections)).calibration == method


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
        "selection.threshold: is no key of policy 'auto', which has certainty, min_coverage, "
        "policy, precision, require, stable_under."
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


def test_auto_is_written_out_around_what_is_said() -> None:
    auto = parse_config(minimal(selection={"policy": "auto"}))
    assert identity(auto) == identity(parse_config(minimal(**WRITTEN_OUT)))
    assert auto.why_selection is not None
    assert auto.why_selection.startswith("auto: ")
    assert auto.student is None
    assert "HistGradientBoostingClassifier" in auto.estimators
    assert auto.teacher is not None
    assert auto.teacher.parameters["graph.anchors"] == 1000
    without = parse_config(minimal(selection={"policy": "auto"}, teacher={"graph": None}))
    assert without.teacher is not None
    assert without.teacher.parameters == {}
    assert "graph" not in identity(without)["teacher"]  # as it was before there were any
    own = {
        "teacher": {"committee": [{"estimator": "GaussianNB"}]},
        "training": {"max_rows": 300},
        "model": {"estimator": "LogisticRegression"},
    }
    kept = parse_config(minimal(selection={"policy": "auto"}, **own))
    assert kept.teacher is not None
    assert [member.estimator for member in kept.teacher.committee] == ["GaussianNB"]
    assert kept.teacher.parameters == {}  # whoever names members has named them all
    assert (kept.training.rows, kept.training.max_rows) == ("all", 300)
    assert kept.training.labels == "soft"
    assert kept.student is not None
    assert kept.student.estimator == "LogisticRegression"


def test_committee_of_ones_own_needs_no_student_with_auto() -> None:
    members = [{"estimator": "GaussianNB"}]
    alone = parse_config(minimal(selection={"policy": "auto"}, teacher={"committee": members}))
    assert alone.student is None
    assert alone.estimators == ["GaussianNB"]
    taught = parse_config(minimal(selection={"policy": "auto"}, teacher={"student": True}))
    assert taught.student is not None
    assert taught.training.rows == "all"


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


def test_training_is_the_students_where_there_is_one() -> None:
    student = {"estimator": "GaussianNB"}
    for sections in (
        {"selection": {"policy": "auto"}, "model": student},
        {"selection": {"policy": "certified"}, "model": {"student": student}},
        {"selection": {"policy": "certified"}, "teacher": {}},
    ):
        given = minimal(**sections, training={"max_rows": 100})
        assert parse_config(given).training.max_rows == 100


def test_precision_that_is_not_given_is_the_best_for_a_fifth_of_the_pool(tmp_path: Path) -> None:
    best = loaded(MINIMAL, tmp_path).selection
    assert (best.precision, best.min_coverage, best.enough) == ("best", 0.2, 0.2)
    for said in ("selection.certainty=0.9", "selection.min_coverage=0.5"):
        assert loaded(MINIMAL, tmp_path, (said,)).selection.precision == "best"
    more = loaded(MINIMAL, tmp_path, ("selection.min_coverage=0.5",)).selection
    assert (more.min_coverage, more.enough) == (0.5, 0.5)
    asked = parse_config(minimal(selection={"policy": "certified", "precision": "best"}))
    assert asked.selection.min_coverage == 0.2
    assert asked.selection.required


def test_number_that_is_given_stays_what_earlier_versions_wrote(tmp_path: Path) -> None:
    given = loaded(MINIMAL, tmp_path, ("selection.precision=0.95",))
    assert given.selection.precision == 0.95
    assert "min_coverage" not in identity(given)["selection"]
    certified = parse_config(minimal(selection={"policy": "certified"}))
    assert certified.selection.precision == 0.95
    assert "min_coverage" not in identity(certified)["selection"]
    enough = parse_config(minimal(selection={"policy": "auto", "precision": 0.9}))
    assert enough.selection.enough == 0.2


@pytest.mark.parametrize("wrong", ["bset", "1.0", "true"])
def test_precision_is_a_number_or_the_best(wrong: str, tmp_path: Path) -> None:
    said = told(MINIMAL, tmp_path, (f"selection.precision={wrong}",))
    (problem,) = said
    assert problem.startswith("selection.precision: must be a number in (0, 1) or best. Got ") or (
        "best" in problem and "(0, 1)" in problem
    )
    assert told(MINIMAL, tmp_path, ("selection.min_coverage=0",)) == [
        "selection.min_coverage: must be in (0, 1] or null. Got 0."
    ]
