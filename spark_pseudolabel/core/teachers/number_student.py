"""Teacher and student of numbers: a student measured on rows it has never seen, not second-hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spark_pseudolabel.core.number_scores import SAID, say
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, Fit, subset
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.training_frame import Keys, joined_rows


def cross_fit_number_student(
    student: Fit,
    teacher: CrossFit,
    labeled: TrainingRows,
    X: pd.DataFrame,
    weights: NDArray[np.float64],
    classes: tuple[Label, ...],
    *,
    keys: tuple[Keys, Keys] | None = None,
    seen: pd.DataFrame | None = None,
) -> NDArray[np.float64]:
    """Say numbers of every labeled row with a student that has never seen its label.

    As :func:`~.distillation.cross_fit_student`: the student of a fold learns from the other folds
    and from the numbers that the teacher of the same fold says of the pool rows.

    Parameters
    ----------
    student
        Fits a model of numbers.
    teacher
        The models of the folds.
    labeled
        With numbers and folds.
    X
        DataFrame of shape (n, n_model_columns): rows of the pool.
    weights
        ndarray of shape (n,): what each weighs.
    classes
        The one there is.
    keys
        As in :func:`~.training_frame.joined_rows`.
    seen
        The pool rows as the teacher takes them, where it does not take `X`.

    Returns
    -------
    ndarray of shape (n_labeled, 4)
        Number, confidence and bounds; NaN for rows without a fold.
    """
    said = np.full((len(labeled.codes), SAID), np.nan)
    for fold, model in enumerate(teacher.unseen or teacher.models):
        held_out = teacher.folds == fold
        own = None if keys is None else ([column[~held_out] for column in keys[0]], keys[1])
        values = say(model, X if seen is None else seen)[:, 0]
        taught = np.isfinite(values)
        others = None if own is None else (own[0], [column[taught] for column in own[1]])
        rows = joined_rows(
            subset(labeled, ~held_out),
            X[taught],
            np.zeros(int(taught.sum()), dtype=np.int32),
            weights[taught],
            keys=others,
            values=values[taught],
        )
        said[held_out] = say(student(rows, classes), labeled.X[held_out])
    return said
