"""A student of numbers is measured on rows whose numbers it has never seen, not second-hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.numbers import NUMBER, NumberTask, decimals_of
from spark_pseudolabel.core.teachers.number_student import cross_fit_number_student
from spark_pseudolabel.core.teachers.numbers import number_teacher
from spark_pseudolabel.core.teachers.training import TrainingRows

FEATURES = tuple(Feature(name, "numeric", "double") for name in ("a", "b"))
TASK = NumberTask(1.0, False, 0.95, False, decimals_of(2.0), 2.0)
N, POOL = 60, 40


def _said(y: np.ndarray, X: pd.DataFrame, folds: np.ndarray) -> np.ndarray:
    rows = TrainingRows(X[:N], np.zeros(N, dtype=np.int32), None, 0, y, folds)
    teacher = number_teacher([("Ridge", {})], FEATURES, 0, TASK)
    fitted = teacher.cross_fit(rows, folds, (NUMBER,), mean=True)
    student = number_teacher([("ExtraTreesRegressor", {"n_estimators": 10})], FEATURES, 0, TASK)
    weights = np.full(POOL, 0.5)
    return cross_fit_number_student(student.fit, fitted, rows, X[N:], weights, (NUMBER,))


def test_what_is_said_of_a_row_does_not_depend_on_its_own_number() -> None:
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(N + POOL, 2)), columns=["a", "b"])
    y = X["a"].to_numpy()[:N] * 2 + draw.normal(0, 0.3, N)
    folds = (np.arange(N) % 5).astype(np.int32)
    folds[7] = -1
    before = _said(y, X, folds)
    changed = y.copy()
    changed[12] = 1000.0
    after = _said(changed, X, folds)
    own = np.flatnonzero(folds == folds[12])
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[folds == 0, 0] != after[folds == 0, 0]).any()
    assert np.isnan(before[7]).all()
    assert np.abs(before[:, 0] - y)[folds >= 0].mean() < 1.0
    assert TASK.is_right(y, before[:, 0]).mean() > 0.6
