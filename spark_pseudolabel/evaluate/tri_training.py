"""Tri-training (Zhou and Li 2005): where two learners agree they teach the third."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.teachers.cross_fitting import probabilities
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import joined_rows

MAX_ROUNDS = 3


@dataclass(frozen=True)
class _Pupil:
    """One of three: its model, and the error and number of the rows it was taught last."""

    learner: Teacher
    model: BaseEstimator
    error: float = 0.5
    taught: int = 0


def tri_training(
    learners: Sequence[Teacher],
    labeled: TrainingRows,
    X: pd.DataFrame,
    classes: Sequence[int],
    seed: int,
) -> list[BaseEstimator]:
    """Fit three models, each also on the pool rows that the other two agree on.

    Parameters
    ----------
    learners
        Three; each starts on a bootstrap sample of its own.
    labeled, X
        Rows with labels, and the pool.
    classes
        The labels.
    seed
        Of the samples.

    Returns
    -------
    list of three fitted models
        Their mean decides.
    """
    chance = np.random.default_rng(seed)
    pupils = [
        _Pupil(learner, learner.fit(_bootstrap(labeled, chance), classes)) for learner in learners
    ]
    for _ in range(MAX_ROUNDS):
        own = [probabilities(pupil.model, labeled.X).argmax(axis=1) for pupil in pupils]
        pool = [probabilities(pupil.model, X).argmax(axis=1) for pupil in pupils]
        after = [
            _taught(pupil, _others(own, k), _others(pool, k), labeled, X, classes, chance)
            for k, pupil in enumerate(pupils)
        ]
        if all(new is old for new, old in zip(after, pupils, strict=True)):
            break
        pupils = after
    return [pupil.model for pupil in pupils]


_Pair = tuple[NDArray[np.intp], NDArray[np.intp]]


def _others(predicted: Sequence[NDArray[np.intp]], k: int) -> _Pair:
    first, second = (codes for i, codes in enumerate(predicted) if i != k)
    return first, second


def _taught(
    pupil: _Pupil,
    own: _Pair,
    pool: _Pair,
    labeled: TrainingRows,
    X: pd.DataFrame,
    classes: Sequence[int],
    chance: np.random.Generator,
) -> _Pupil:
    """Fit a pupil again where the paper's conditions say that the noise is worth it."""
    agreed = own[0] == own[1]
    error = float((own[0] != labeled.codes)[agreed].mean()) if agreed.any() else 1.0
    rows = np.flatnonzero(pool[0] == pool[1])
    n = _how_many(pupil, error, len(rows))
    if n == 0:
        return pupil
    rows = np.sort(chance.permutation(rows)[:n])
    P = np.eye(len(classes))[pool[0][rows]]
    lesson = joined_rows(labeled, X.iloc[rows], P, np.ones(n), soft=False)
    return replace(pupil, model=pupil.learner.fit(lesson, classes), error=error, taught=n)


def _how_many(pupil: _Pupil, error: float, n: int) -> int:
    """Return how many of `n` agreed rows to learn from: figure 1 of the paper."""
    if error >= pupil.error:
        return 0
    least = error / (pupil.error - error)
    before = pupil.taught or math.floor(least + 1)
    if before >= n:
        return 0
    if error * n < pupil.error * before:
        return n
    return math.ceil(pupil.error * before / error - 1) if before > least else 0


def _bootstrap(rows: TrainingRows, chance: np.random.Generator) -> TrainingRows:
    """Draw rows with replacement, class by class: every model is to know every class."""
    of_class = [np.flatnonzero(rows.codes == code) for code in np.unique(rows.codes)]
    drawn = np.concatenate([chance.choice(of, len(of)) for of in of_class])
    return replace(rows, X=rows.X.iloc[drawn].reset_index(drop=True), codes=rows.codes[drawn])
