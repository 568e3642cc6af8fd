"""Models that teach each other on rows without labels: what such teachers have in common.

A pool row that a model was taught with scores higher than one that it has never met. So labeled
rows that a model must not know are not left out when it is fitted: they lie among the rows without
a label, where the pool's are, and what is measured on them holds for these.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning

from spark_pseudolabel.core.teachers.committee import Committee
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, cross_fit, cross_fit_mean
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import soft_vote

POOL_ROWS = 5_000
"""Pool rows that models teach each other: each is fitted on them again in every round."""


@dataclass(frozen=True)
class Peers(Committee):
    """Estimators that vote, and before that teach each other.

    Parameters
    ----------
    members
        By name.
    seed
        Of all chance in it.
    pool
        Model input without labels; None: the pool is empty.
    """

    seed: int = 0
    pool: pd.DataFrame | None = None

    @property
    def needs_reference(self) -> bool:
        """It learns from pool rows, whatever its members need."""
        return True

    def shown(self, pool: pd.DataFrame) -> Self:
        """Take in rows of the pool, :data:`POOL_ROWS` at most."""
        return replace(self, pool=pool.head(POOL_ROWS))

    @abstractmethod
    def teach(
        self, rows: TrainingRows, pool: pd.DataFrame, classes: Sequence[Label]
    ) -> list[BaseEstimator]:
        """Return the fitted members after they have taught each other.

        Parameters
        ----------
        rows
            With labels.
        pool
            Rows without, perhaps none.
        classes
            The labels, ascending.
        """

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> VotingClassifier:
        """Fit the members; their mean decides."""
        with warnings.catch_warnings():
            # Members are bounded, and weighed by what they came to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            pool = rows.X.iloc[:0] if self.pool is None else self.pool
            fitted = self.teach(rows, pool, classes)
        return soft_vote(dict(zip(self.members, fitted, strict=True)), classes)

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Fit one model per fold, whose rows are to it what rows of the pool are."""
        numbered = replace(rows, X=rows.X.reset_index(drop=True))

        def fit(part: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
            hidden = numbered.X.drop(index=part.X.index)
            pool = hidden if self.pool is None else pd.concat([hidden, self.pool])
            return replace(self, pool=pool).fit(part, classes)

        return (cross_fit_mean if mean else cross_fit)(fit, numbered, folds, classes)
