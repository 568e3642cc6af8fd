"""Co-training (Blum and Mitchell 1998): two models, each of columns of its own, label for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer

from spark_pseudolabel.core.teachers.cross_fitting import probabilities
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher
from spark_pseudolabel.core.teachers.peers import Peers
from spark_pseudolabel.core.teachers.preprocessing import joined, split
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.training_frame import joined_rows

MOST_ROUNDS = 10
"""Rounds in which both label as many rows as have labels: with the paper's 30 of 8 beside 12, 20
pseudo-labels for each label."""


@dataclass(frozen=True)
class CoTraining(Peers):
    """Two estimators, each of columns of its own."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return "Co-training"

    def teach(
        self, rows: TrainingRows, pool: pd.DataFrame, classes: Sequence[Label]
    ) -> list[BaseEstimator]:
        """Fit both on labeled rows, and again on what each of them is most sure of in the pool.

        In a round each takes, of every class that it predicts, as many rows as have that label, by
        its confidence. Rows that both take for another class wait. A label stands.
        """
        quota = np.bincount(rows.codes, minlength=len(classes))
        given = np.full(len(pool), -1, dtype=np.int32)
        models = [member.fit(rows, classes) for member in self.members.values()]
        for _ in range(MOST_ROUNDS):
            left = np.flatnonzero(given < 0)
            if not len(left):
                break
            first, second = (_most_confident(model, pool.iloc[left], quota) for model in models)
            agreed = np.where((first < 0) | (first == second), second, first)
            agreed[(first >= 0) & (second >= 0) & (first != second)] = -1
            if not (agreed >= 0).any():
                break
            given[left] = agreed
            taught = np.flatnonzero(given >= 0)
            weights = np.ones(len(taught))
            lesson = joined_rows(rows, pool.iloc[taught], given[taught], weights, soft=False)
            models = [member.fit(lesson, classes) for member in self.members.values()]
        return models


def _most_confident(
    model: BaseEstimator, X: pd.DataFrame, quota: NDArray[np.intp]
) -> NDArray[np.int32]:
    """Return the class of the rows that a model is most sure of, so many of each; else -1."""
    P = probabilities(model, X)
    code, confidence = P.argmax(axis=1), P.max(axis=1)
    chosen = np.full(len(X), -1, dtype=np.int32)
    for c, n in enumerate(quota):
        of_class = np.flatnonzero(code == c)
        best = of_class[np.argsort(-confidence[of_class], kind="stable")[:n]]
        chosen[best] = c
    return chosen


def seeing(member: EstimatorTeacher, columns: Sequence[str]) -> EstimatorTeacher:
    """Let a member see some columns alone, though it is given all of them.

    Parameters
    ----------
    member
        Made for these columns.
    columns
        Model columns.
    """
    own, last = split(member.estimator)
    if own is not None:  # names the columns that it prepares, and drops others
        return member
    alone = ColumnTransformer([("view", "passthrough", list(columns))])
    return replace(member, estimator=joined(alone, last))
