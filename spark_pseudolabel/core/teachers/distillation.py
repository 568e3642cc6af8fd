"""Teacher and student: one model learns from labeled rows and from what a teacher says of others.

Most reliable where one cheap model has to be deployed. The rows that a filter would drop carry
information: a student learns from all rows, whatever is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    Fits,
    probabilities,
    rounded,
    subset,
)
from spark_pseudolabel.core.teachers.training import Label, TrainingRows, soft_lines
from spark_pseudolabel.core.trust.priors import correct, shares


def distilled_rows(
    labeled: TrainingRows,
    X: pd.DataFrame,
    P: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    soft: bool = True,
) -> TrainingRows:
    """Join labeled rows and rows that a teacher has labeled.

    Parameters
    ----------
    labeled
        Rows with given labels; they weigh 1 each unless they have weights.
    X
        DataFrame of shape (n, n_model_columns): rows of the pool.
    P
        ndarray of shape (n, n_classes): what the teacher says of them.
    weights
        ndarray of shape (n,).
    soft
        A line per class, weighted by its probability; or one line with the most probable class.
    """
    row, code, share = _lines(P, soft)
    own = np.ones(len(labeled.codes)) if labeled.weights is None else labeled.weights
    all_weights = np.concatenate([own, weights[row] * share])
    return TrainingRows(
        X=pd.concat([labeled.X, X.iloc[row]], ignore_index=True),
        codes=np.concatenate([labeled.codes, code.astype(np.int32)]),
        # Not every estimator takes weights, and equal ones say nothing.
        weights=None if (all_weights == 1).all() else all_weights,
        n_pseudo=len(X),
    )


def cross_fit_student(
    student: Fits,
    teacher: CrossFit,
    labeled: TrainingRows,
    X: pd.DataFrame,
    weights: NDArray[np.float64],
    classes: Sequence[Label],
    *,
    soft: bool = True,
    prior: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Score every labeled row with a student that has never seen its label, not even second-hand.

    The student of a fold learns from the other folds and from what the teacher of the same fold
    says of the pool rows. With a `prior`, the pool's class shares, its scores are corrected from
    those that it has learned from.

    Returns
    -------
    ndarray of shape (n_labeled, n_classes)
        Rounded probabilities; NaN for rows without a fold.
    """
    P = np.full_like(teacher.P, np.nan)
    for fold in range(len(teacher.models)):
        held_out = teacher.folds == fold
        others = subset(labeled, ~held_out)
        rows = distilled_rows(others, X, teacher.score(fold, X), weights, soft=soft)
        found = probabilities(student.fit(rows, classes), labeled.X[held_out])
        if prior is not None:
            learned = shares(rows.codes, len(classes), rows.weights)
            found = rounded(correct(found, learned, prior))
        P[held_out] = found
    return P


def fit_student(
    student: Fits,
    teacher: BaseEstimator,
    labeled: TrainingRows,
    X: pd.DataFrame,
    weights: NDArray[np.float64],
    classes: Sequence[Label],
    *,
    soft: bool = True,
) -> BaseEstimator:
    """Fit the student that is kept, on all labeled rows and the teacher's word on the others."""
    rows = distilled_rows(labeled, X, probabilities(teacher, X), weights, soft=soft)
    return student.fit(rows, classes)


def _lines(P: NDArray[np.float64], soft: bool) -> tuple[Any, Any, Any]:
    """Return row, class and share of each line of the training frame."""
    if not soft:
        return np.arange(len(P)), P.argmax(axis=1), np.ones(len(P))
    return soft_lines(P)
