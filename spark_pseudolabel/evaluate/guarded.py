"""What a guard keeps: every model of a run, on the rows that the guard sees and on test rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.crossfit import CrossFit, cross_fit, fold_of, probabilities, subset
from spark_pseudolabel.core.distill import cross_fit_student, distilled_rows, fit_student
from spark_pseudolabel.core.learner import Learner
from spark_pseudolabel.core.metrics import p_of_true
from spark_pseudolabel.evaluate.shift import gate
from spark_pseudolabel.evaluate.task import SHIFTS, Task

Matrix = NDArray[np.float64]
THRESHOLD, ROUNDS, STUDENT_ROWS = 0.9, 3, 1500


def runs_of(learner: Learner, task: Task) -> dict[str, Any]:
    """Run a student and rounds by threshold, on the pool and on pools unlike the labeled rows.

    Returns
    -------
    dict
        By what was done to the pool: whether the gate fired, and the models of each run.
    """
    folds = fold_of(task.labeled.codes, task.hashes)
    teacher = cross_fit(learner, task.labeled, folds, task.data.classes)
    pools = {"none": task} | {name: change(task) for name, change in SHIFTS.items()}
    return {
        "n_test": len(task.test_codes),
        "pools": {
            name: {
                "shifted": gate(changed)["shifted"],
                "student": student_of(learner, teacher, changed),
                "rounds": rounds_of(learner, folds, changed),
            }
            for name, changed in pools.items()
        },
    }


def student_of(learner: Learner, teacher: CrossFit, task: Task) -> list[dict[str, Any]]:
    """Measure a cross-fitted teacher, and a student that learned from all it says of the pool."""
    classes, X = task.data.classes, task.pool.head(STUDENT_ROWS)
    seed, ones = teacher.mean_model(classes), np.ones(len(X))
    student = fit_student(learner, seed, task.labeled, X, ones, classes)
    honest = cross_fit_student(learner, teacher, task.labeled, X, ones, classes)
    known = teacher.held_out
    codes = task.labeled.codes[known]
    return [
        _measured(model, task, P[known], codes)
        for model, P in ((seed, teacher.P), (student, honest))
    ]


def rounds_of(learner: Learner, folds: NDArray[np.int32], task: Task) -> list[dict[str, Any]]:
    """Measure the models of rounds that add confident rows; the rows of fold 0 validate them."""
    own, classes = subset(task.labeled, folds != 0), task.data.classes
    held_out = subset(task.labeled, folds == 0)
    labels = np.full(len(task.pool), -1)
    models = [learner.fit(own, classes)]
    while len(models) <= ROUNDS:
        P = probabilities(models[-1], task.pool)
        new = (labels < 0) & (P.max(axis=1) > THRESHOLD)
        if not new.any():
            break
        labels[new] = P.argmax(axis=1)[new]
        accepted = labels >= 0
        hard = np.eye(len(classes))[labels[accepted]]
        X = task.pool[accepted]
        rows = distilled_rows(own, X, hard, np.ones(len(X)), soft=False)
        models.append(learner.fit(rows, classes))
    return [
        _measured(model, task, probabilities(model, held_out.X), held_out.codes) for model in models
    ]


def _measured(
    model: BaseEstimator, task: Task, P: Matrix, codes: NDArray[np.int32]
) -> dict[str, Any]:
    """Return the accuracy on test rows in percent, and what a guard sees, row by row."""
    right = probabilities(model, task.test).argmax(axis=1) == task.test_codes
    return {
        "accuracy": float(100 * right.mean()),
        "p_true": p_of_true(codes, P).round(6).tolist(),
        "right": (P.argmax(axis=1) == codes).astype(int).tolist(),
    }
