"""A model whose scores are given, and which knows by heart what it has learned.

With it a certificate is measured alone: fits take no time, scores are as good as they say, and a
row of which a model has seen a copy, or a mate of its group, is reported at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows

SCORE, PLACE = "score", "place"
"""Columns: the probability of the second class, and what a row is recognized by."""


class Memory(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Says what it has seen of a place, and else the score that is in the row."""

    def fit(self, X: pd.DataFrame, y: NDArray[np.int32]) -> Memory:
        """Learn the labels by heart; of several at one place the last one."""
        self.classes_ = np.array([0, 1])
        self.known_ = pd.Series(np.asarray(y), index=X[PLACE].to_numpy())
        self.known_ = self.known_[~self.known_.index.duplicated(keep="last")]
        return self

    def predict_proba(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return probabilities of shape (n, 2)."""
        seen = self.known_.reindex(X[PLACE].to_numpy()).to_numpy(dtype=float)
        second = np.where(np.isnan(seen), X[SCORE].to_numpy(), seen)
        return np.stack([1 - second, second], axis=1)


class MemoryTeacher(Teacher):
    """What makes a :class:`Memory`."""

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> BaseEstimator:
        """Fit one on a training frame."""
        return Memory().fit(rows.X, rows.codes)
