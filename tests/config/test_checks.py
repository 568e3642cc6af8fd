from __future__ import annotations

import re
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.config import identity, parse_config
from spark_pseudolabel.config.checks import feigned
from spark_pseudolabel.errors import ConfigError
from tests.config.files import minimal

TEMPERATURE = {"calibration": "temperature"}


BALANCED = {"estimator": "LogisticRegression", "params": {"class_weight": "balanced"}}


FEIGNED = [
    ("LogisticRegression", {"class_weight": {0: 1.0, 1: 2.0}}, "class_weight"),
    ("GaussianNB", {"priors": [0.5, 0.5]}, "priors"),
    ("XGBClassifier", {"scale_pos_weight": 9.0}, "scale_pos_weight"),
    ("LGBMClassifier", {"is_unbalance": True}, "is_unbalance"),
    ("LGBMClassifier", {"is_unbalance": False, "scale_pos_weight": 1.0}, None),
]


UNLEARNED: list[dict[str, Any]] = [
    {"selection": {"policy": "auto"}},
    {"selection": {"policy": "certified"}},
    {"selection": {"policy": "threshold"}, "teacher": {"student": False}},
]


def rule(name: str, label: object, when: str) -> dict[str, object]:
    return {"name": name, "label": label, "when": when}


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
        ({"calibration": "platt"}, "calibration: must be one of 'auto', 'none'"),
    ],
)
def test_calibration_without_scores_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse_config(minimal(**{**TEMPERATURE, **sections}))
    assert len(caught.value.problems) == 1


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


VIEWS: dict[str, Any] = {"views": [["a"], ["b", "c"]]}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"teacher": {"views": [["a"], ["a", "c"]]}}, "'a' stands twice"),
        ({"teacher": {"views": [["a"], []]}}, "must be two lists of columns"),
        ({"teacher": {"views": [["a"], ["b"], ["c"]]}}, "must be two lists of columns"),
        ({"teacher": VIEWS, "id": "b"}, "teacher.views: must not name 'b', which is the id"),
        ({"teacher": VIEWS, "features": {"exclude": ["c"]}}, "features.exclude leaves out 'c'"),
        ({"teacher": VIEWS, "features": {"include": ["a", "b"]}}, "include leaves out 'c'"),
        ({"teacher": {**VIEWS, "params": {"x": 1}}}, "params needs estimator"),
        ({"teacher": {"tri_training": {"estimator": "Gaussian"}}}, "Did you mean 'GaussianNB'?"),
        ({"selection": {"policy": "threshold", "require": "all"}}, "one model labels here"),
        (
            {"selection": {"require": "all"}, "teacher": {"committee": [{"estimator": "SVC"}]}},
            "selection.require: 'all' asks members of a model",
        ),
        (
            {"test": {"path": "t"}, "teacher": {"graph": "neighbors", "student": False}},
            "test: must be left out with teacher graph: neighbors and student: false",
        ),
        (
            {"selection": {"stable_under": {}}, "teacher": {"graph": "neighbors"}},
            "knows the rows that are there, not their copies",
        ),
        ({"selection": {"stable_under": {"swap": 0.0, "noise": 0.0}}}, "must be above 0"),
        (
            {"mode": "sklearn", "selection": {"policy": "threshold", "stable_under": {}}},
            "selection.stable_under: conflicts with mode: sklearn",
        ),
    ],
)
def test_teachers_and_rows_that_cannot_be_asked_are_refused(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_config(minimal(**sections))


def test_what_is_asked_of_rows_changes_no_policy() -> None:
    asked = {"stable_under": {"copies": 3}, "require": "majority"}
    config = parse_config(minimal(selection=asked))
    assert (config.selection.policy, config.selection.require) == ("certified", "majority")
    assert config.selection.stable_under is not None
    assert (config.selection.stable_under.copies, config.selection.stable_under.swap) == (3, 0.15)
    plain = parse_config(minimal(selection={"policy": "auto"}))
    assert config.selection.to_rule([1]) == plain.selection.to_rule([1])
    assert not asked.keys() & identity(plain)["selection"].keys()


RULES = {"rules": [rule("a", "x", "u > 1"), rule("b", "y", "u < 1")]}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"teacher": None}, "labeled: must name the labeled rows: null is for teacher: {rules"),
        ({"teacher": {"graph": "anchors"}}, "labeled: must name the labeled rows"),
        ({"selection": {"policy": "auto"}}, "selection.policy: must be one that takes no labeled"),
        ({"selection": {"policy": "certified"}}, "selection.policy: must be one that takes no"),
        ({"validation": {"fraction": 0.2}}, "validation: must be left out where labeled is null"),
        ({"validation": {"path": "v"}}, "validation: must be left out where labeled is null"),
        ({"shift": {"action": "warn"}}, "shift: must be left out where labeled is null"),
        ({"calibration": "sigmoid"}, "calibration: 'sigmoid' is fitted on out-of-fold scores"),
        ({"training": {"max_pseudo_weight": 1.0}}, "training.max_pseudo_weight: must be null"),
        ({"unlabeled": {"from": "labeled"}}, "unlabeled.from: must name a table"),
        ({"teacher": {"rules": [rule("a", 1, "u > 1")]}}, "label: must be text where labeled is"),
        ({"teacher": {"rules": [rule("a", "x", "u > 1")]}}, "teacher.rules: must name two labels"),
        ({"teacher": {"rules": []}}, "teacher: must hold a rule"),
        ({"teacher": {"rules": [rule("a", "x", "u"), rule("a", "y", "u")]}}, "'a' stands there"),
        ({"teacher": {"rules": [rule("a", "x", "rand() > 1")]}}, "teacher.rules.0.when: holds 'ra"),
        ({"teacher": {"rules": [{"name": "a", "label": "x"}]}}, "must have when, a condition"),
        ({"selection": {"stable_under": {}}}, "selection.stable_under: must be left out with"),
    ],
)
def test_what_takes_labels_is_refused_where_there_are_none(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_config(minimal(**{"labeled": None, "teacher": RULES, "id": "id", **sections}))


def test_rules_alone_select_by_threshold_and_teach_a_student() -> None:
    config = parse_config(minimal(labeled=None, teacher=RULES))
    assert (config.selection.policy, config.validation.fraction) == ("threshold", 0.0)
    assert "no labeled row" in (config.why_selection or "")
    assert (config.cross_fitted, config.measures_shift, config.label) == (False, False, "label")
    assert config.student is not None
    with_test = parse_config(
        minimal(labeled=None, teacher=RULES, test={"path": "t", "label": "true"})
    )
    assert with_test.label == "true"


def test_rules_beside_labels_are_cross_fitted_and_have_a_student_by_default() -> None:
    config = parse_config(minimal(teacher=RULES, model={}))
    assert (config.selection.policy, config.cross_fitted) == ("certified", True)
    assert config.student is not None
    with pytest.raises(ConfigError, match=r"test\.label: must be the column that labeled\.label"):
        parse_config(minimal(test={"path": "t", "label": "other"}))


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"unlabeled": {"from": "labeled"}}, "incremental"),
        ({"selection": {"policy": "k_best", "k": 5}}, "incremental.refit"),
        ({"teacher": {"graph": "neighbors", "student": False}}, "incremental.refit"),
    ],
)
def test_what_later_generations_could_not_do_is_told(sections: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(minimal(incremental=True, **sections))
    assert key in {problem.key for problem in refused.value.problems}
    if key == "incremental.refit":
        parse_config(minimal(incremental={"refit": {"every": 1}}, **sections))


@pytest.mark.parametrize("policy", ["auto", "threshold", "one_shot"])
def test_these_policies_decide_rows_that_come_later(policy: str) -> None:
    parse_config(minimal(incremental=True, selection={"policy": policy}))
