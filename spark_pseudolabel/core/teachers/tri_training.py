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
from spark_pseudolabel.core.teachers.peers import Peers
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.training_frame import joined_rows

MOST_ROUNDS = 3
"""Lessons that each may get. An error has to become smaller each time, so that few do more."""


@dataclass(frozen=True)
class TriTraining(Peers):
    """Three estimators, each started on a bootstrap sample of the labeled rows."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return "Tri-training"

    def teach(
        self, rows: TrainingRows, pool: pd.DataFrame, classes: Sequence[Label]
    ) -> list[BaseEstimator]:
        """Fit three models, each also on the pool rows that the other two agree on."""
        chance = np.random.default_rng(self.seed)
        pupils = [
            _Pupil(learner, learner.fit(_bootstrap(rows, chance), classes))
            for learner in self.members.values()
        ]
        for _ in range(MOST_ROUNDS if len(pool) else 0):
            own = [_predicted(pupil.model, rows.X) for pupil in pupils]
            others = [_predicted(pupil.model, pool) for pupil in pupils]
            after = [
                _taught(pupil, _without(own, k), _without(others, k), rows, pool, classes, chance)
                for k, pupil in enumerate(pupils)
            ]
            if all(new is old for new, old in zip(after, pupils, strict=True)):
                break
            pupils = after
        return [pupil.model for pupil in pupils]


@dataclass(frozen=True)
class _Pupil:
    """One of three: its model, and the error and number of the rows it was taught last."""

    learner: Teacher
    model: BaseEstimator
    error: float = 0.5
    taught: int = 0


_Pair = tuple[NDArray[np.intp], NDArray[np.intp]]


def _predicted(model: BaseEstimator, X: pd.DataFrame) -> NDArray[np.intp]:
    codes: NDArray[np.intp] = probabilities(model, X).argmax(axis=1)
    return codes


def _without(predicted: Sequence[NDArray[np.intp]], k: int) -> _Pair:
    first, second = (codes for i, codes in enumerate(predicted) if i != k)
    return first, second


def _taught(
    pupil: _Pupil,
    own: _Pair,
    others: _Pair,
    labeled: TrainingRows,
    pool: pd.DataFrame,
    classes: Sequence[Label],
    chance: np.random.Generator,
) -> _Pupil:
    """Fit a pupil again where the paper's conditions say that the noise is worth it."""
    agreed = own[0] == own[1]
    error = float((own[0] != labeled.codes)[agreed].mean()) if agreed.any() else 1.0
    rows = np.flatnonzero(others[0] == others[1])
    n = _how_many(pupil, error, len(rows))
    if n == 0:
        return pupil
    rows = np.sort(chance.permutation(rows)[:n])
    lesson = joined_rows(labeled, pool.iloc[rows], others[0][rows], np.ones(n), soft=False)
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
    weights = None if rows.weights is None else rows.weights[drawn]
    X = rows.X.iloc[drawn].reset_index(drop=True)
    return replace(rows, X=X, codes=rows.codes[drawn], weights=weights)
