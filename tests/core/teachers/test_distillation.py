from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import CLASS_SCORES, CODE
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.cross_fitting import cross_fit, fold_of, subset
from spark_pseudolabel.core.teachers.distillation import cross_fit_student, fit_student
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.estimators import takes_sample_weight
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import (
    Weighting,
    joined_rows,
    soft_lines,
    training_rows,
)
from spark_pseudolabel.registry import REGISTRY

FEATURES = (Feature("a", "numeric", "double"),)
MIXED = (*FEATURES, Feature("b", "category", "string"))
LABELED = TrainingRows(pd.DataFrame({"a": [0.0, 1.0]}), np.array([0, 1], dtype=np.int32), None, 0)
POOL = pd.DataFrame({"a": [2.0, 3.0]})
P = np.array([[0.25, 0.75], [0.995, 0.005]])
HALVES = np.array([0.5, 0.5])


def drawn(n: int, seed: int) -> TrainingRows:
    chance = np.random.default_rng(seed)
    codes = (np.arange(n) % 2).astype(np.int32)
    return TrainingRows(pd.DataFrame({"a": chance.normal(size=n) + codes}), codes, None, 0)


def test_soft_labels_are_a_line_per_class_that_matters() -> None:
    rows = joined_rows(LABELED, POOL, P, HALVES)
    assert rows.X["a"].tolist() == [0.0, 1.0, 2.0, 2.0, 3.0]
    assert rows.codes.tolist() == [0, 1, 0, 1, 0]
    assert rows.weights is not None
    assert rows.weights.tolist() == [1.0, 1.0, 0.125, 0.375, 0.5]
    assert rows.n_pseudo == 2


@pytest.mark.parametrize("n_classes", [2, 3, 30, 200, 5000])
def test_soft_label_keeps_what_many_improbable_classes_have_together(n_classes: int) -> None:
    chance = np.random.default_rng(0)
    for P in (
        np.full((4, n_classes), 1 / n_classes),
        chance.dirichlet(np.full(n_classes, 0.2), 40),
        chance.dirichlet(np.ones(n_classes), 40).round(6),
    ):
        row, code, share = soft_lines(P)
        kept = np.zeros_like(P)
        kept[row, code] = P[row, code]
        assert (P.sum(axis=1) - kept.sum(axis=1)).max() <= 0.01 + 1e-9
        assert np.allclose(np.bincount(row, weights=share), 1)
        assert (kept.argmax(axis=1) == P.argmax(axis=1)).all()  # of equal ones the first
        # Nothing more probable than a class that has a line has none.
        least = np.where(kept > 0, kept, 1.0).min(axis=1)
        assert (np.where(kept > 0, 0.0, P).max(axis=1) <= least).all()


@pytest.mark.parametrize("n_classes", [2, 150])
def test_student_that_is_kept_learns_as_the_one_that_is_measured(n_classes: int) -> None:
    P = np.random.default_rng(0).dirichlet(np.full(n_classes, 0.3), 20)
    weights = np.linspace(0.1, 1.0, 20)
    X = pd.DataFrame({"a": np.arange(20) + 2.0})
    measured = joined_rows(LABELED, X, P, weights)
    labeled, pseudo = (
        pa.table({"id": range(at, at + len(frame)), "a": frame["a"], CODE: pa.array(codes)})
        for at, frame, codes in (
            (0, LABELED.X, LABELED.codes),
            (2, X, P.argmax(axis=1).astype(np.int32)),
        )
    )
    pseudo = pseudo.append_column(CLASS_SCORES, pa.array(list(P)))
    kept = training_rows(labeled, pseudo, FEATURES, ("id",), Weighting("soft"), weights)
    assert (kept.codes == measured.codes).all()
    assert (kept.X["a"].to_numpy() == measured.X["a"].to_numpy()).all()
    assert kept.weights is not None
    assert measured.weights is not None
    assert kept.weights == pytest.approx(measured.weights)


def test_hard_labels_are_one_line_each() -> None:
    rows = joined_rows(LABELED, POOL, P, HALVES, soft=False)
    assert rows.codes.tolist() == [0, 1, 1, 0]
    assert rows.weights is not None
    assert rows.weights.tolist() == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize("soft", [True, False])
def test_student_of_a_fold_knows_nothing_of_its_rows(soft: bool) -> None:
    labeled, pool, classes = drawn(40, 0), drawn(60, 1).X, (0, 1)
    learner = registered_estimator("GaussianNB", {}, FEATURES, 0)
    folds = fold_of(labeled.codes, np.arange(40, dtype=np.int64), 4)
    teacher = cross_fit(learner.fit, labeled, folds, classes)
    found = cross_fit_student(learner.fit, teacher, labeled, pool, np.ones(60), classes, soft=soft)
    held_out = folds == 2
    alone = fit_student(
        learner.fit,
        teacher.models[2],
        subset(labeled, ~held_out),
        pool,
        np.ones(60),
        classes,
        soft=soft,
    )
    assert np.allclose(found[held_out], alone.predict_proba(labeled.X[held_out]), atol=1e-6)
    assert np.isfinite(found).all()


FOREST = {"n_estimators": 5}
PARAMS: dict[str, dict[str, Any]] = {
    "SGDClassifier": {"loss": "log_loss"},
    "MLPClassifier": {"max_iter": 20, "hidden_layer_sizes": [8]},
    "HistGradientBoostingClassifier": {"max_iter": 5},
    **dict.fromkeys(("RandomForestClassifier", "ExtraTreesClassifier"), FOREST),
    **dict.fromkeys(("GradientBoostingClassifier", "AdaBoostClassifier"), FOREST),
    "BaggingClassifier": FOREST,
}
# Deprecated with probabilities; extras that may not be there.
ABSENT = ("SVC", "XGBClassifier", "LGBMClassifier")


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - set(ABSENT)))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_any_student_learns_from_a_committee_of_few_labels(name: str) -> None:
    codes, params = np.array([0] * 9 + [1], dtype=np.int32), PARAMS.get(name, {})
    labeled = TrainingRows(mixed(10, 0), codes, None, 0)
    folds = fold_of(codes, np.arange(10, dtype=np.int64))
    members = [("GaussianNB", {}), ("LogisticRegression", {})]
    teacher = cross_fit(registered_committee(members, MIXED, 0).fit, labeled, folds, ("no", "yes"))
    found = cross_fit_student(
        registered_estimator(name, params, MIXED, 0).fit,
        teacher,
        labeled,
        mixed(30, 1),
        np.ones(30),
        ("no", "yes"),
        soft=takes_sample_weight(name, params),
    )
    assert np.allclose(found[teacher.held_out].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(found[~teacher.held_out]).all()


def mixed(n: int, seed: int) -> pd.DataFrame:
    """Return numbers and categories, both with gaps."""
    chance = np.random.default_rng(seed)
    number = chance.normal(size=n) + np.arange(n) % 2
    word = pd.Series(chance.choice(["in", "out"], n), dtype=object)
    return pd.DataFrame(
        {
            "a": np.where(chance.random(n) < 0.1, np.nan, number),
            "b": word.where(chance.random(n) > 0.1, None),
        }
    )


def test_student_is_corrected_from_the_shares_that_it_has_learned_from() -> None:
    labeled, pool, classes = drawn(40, 0), drawn(60, 1).X, (0, 1)
    learner = registered_estimator("GaussianNB", {}, FEATURES, 0)
    folds = fold_of(labeled.codes, np.arange(40, dtype=np.int64), 4)
    teacher = cross_fit(learner.fit, labeled, folds, classes)

    def scores(prior: np.ndarray | None) -> np.ndarray:
        return cross_fit_student(
            learner.fit, teacher, labeled, pool, np.full(60, 1e-9), classes, prior=prior
        )

    assert np.allclose(scores(np.array([0.5, 0.5])), scores(None), atol=1e-5)
    assert scores(np.array([1.0, 0.0]))[:, 0].tolist() == [1.0] * 40
