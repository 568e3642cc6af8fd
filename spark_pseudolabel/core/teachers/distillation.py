"""Teacher and student: a model learns from labeled rows and from a teacher's scores of others.

Most reliable where one cheap model has to be deployed. The rows that a filter would drop carry
information: a student learns from all rows, whatever is published.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    Fit,
    probabilities,
    rounded,
    subset,
)
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.training_frame import Keys, joined_rows
from spark_pseudolabel.core.trust.priors import correct, shares


def cross_fit_student(
    student: Fit,
    teacher: CrossFit,
    labeled: TrainingRows,
    X: pd.DataFrame,
    weights: NDArray[np.float64],
    classes: Sequence[Label],
    *,
    soft: bool = True,
    prior: NDArray[np.float64] | None = None,
    keys: tuple[Keys, Keys] | None = None,
    seen: pd.DataFrame | None = None,
) -> NDArray[np.float64]:
    """Score every labeled row with a student that has never seen its label, not even second-hand.

    The student of a fold learns from the other folds and from what the teacher of the same fold
    says about the pool rows. With a `prior`, the pool's class shares, its scores are corrected from
    those that it has learned from. `keys` as in :func:`joined_rows`; `seen` are the pool rows as
    the teacher takes them, where it does not take `X`.

    Returns
    -------
    ndarray of shape (n_labeled, n_classes)
        Rounded probabilities; NaN for rows without a fold.
    """
    P = np.full_like(teacher.P, np.nan)
    for fold in range(len(teacher.models)):
        held_out = teacher.folds == fold
        others = subset(labeled, ~held_out)
        own = None if keys is None else ([column[~held_out] for column in keys[0]], keys[1])
        labels = teacher.score(fold, X if seen is None else seen)
        rows = joined_rows(others, X, labels, weights, soft=soft, keys=own)
        scores = probabilities(student(rows, classes), labeled.X[held_out])
        if prior is not None:
            learned = shares(rows.codes, len(classes), rows.weights)
            scores = rounded(correct(scores, learned, prior))
        P[held_out] = scores
    return P


def fit_student(
    student: Fit,
    teacher: BaseEstimator,
    labeled: TrainingRows,
    X: pd.DataFrame,
    weights: NDArray[np.float64],
    classes: Sequence[Label],
    *,
    soft: bool = True,
) -> BaseEstimator:
    """Fit the student that is kept, on all labeled rows and the teacher's word on the others."""
    rows = joined_rows(labeled, X, probabilities(teacher, X), weights, soft=soft)
    return student(rows, classes)
