"""A committee that has an anchor graph among its members, as long as that helps it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning

from spark_pseudolabel.core.teachers.anchors import AnchorsTeacher
from spark_pseudolabel.core.teachers.committee import Committee
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, cross_fit, cross_fit_mean
from spark_pseudolabel.core.teachers.gate import gated_weights
from spark_pseudolabel.core.teachers.teacher import PoolPass
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import soft_vote

GRAPH = "graph"
"""What the graph is called among the members."""


@dataclass(frozen=True)
class CommitteeWithAnchors(Committee):
    """Estimators that vote, and an anchor graph, whose vote counts where the others gain from it.

    Parameters
    ----------
    members
        By name, without the graph.
    graph
        The member that they have beside them.
    """

    graph: AnchorsTeacher

    @property
    def name(self) -> str:
        """What messages call it."""
        return "A committee with an anchor graph"

    @property
    def estimators(self) -> Sequence[BaseEstimator]:
        """Those of all members, the graph's last."""
        return [*super().estimators, *self.graph.estimators]

    @property
    def voters(self) -> int:
        """Every member, and the graph."""
        return super().voters + 1

    @property
    def member_names(self) -> Sequence[str]:
        """Those of its estimators, and what the graph is."""
        return [*super().member_names, "graph: anchors"]

    @property
    def needs_reference(self) -> bool:
        """Always: anchors are put among rows with and without labels."""
        return True

    @property
    def takes_weights(self) -> bool:
        """Whether every member does; the graph does."""
        return super().takes_weights

    @property
    def adapted(self) -> Mapping[str, int]:
        """The graph's settings that rows have changed."""
        return {f"{GRAPH}.{key}": value for key, value in self.graph.adapted.items()}

    def placed(self, X: pd.DataFrame) -> Self:
        """Put anchors among rows."""
        return replace(self, graph=self.graph.placed(X))

    @property
    def pool_pass(self) -> PoolPass | None:
        """One scan in which the pool's rows are connected."""
        return self.graph.pool_pass

    def informed(self, seen: Any) -> Self:
        """Take in the graph."""
        return replace(self, graph=self.graph.informed(seen))

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> VotingClassifier:
        """Fit every member, and spread the labels; equal weights."""
        with warnings.catch_warnings():
            # As in a committee.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = {name: member.fit(rows, classes) for name, member in self.members.items()}
        return soft_vote({**fitted, GRAPH: self.graph.fit(rows, classes)}, classes)

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Fit one model per fold; in each, the other folds say whether the graph has a vote."""
        cross = cross_fit_mean if mean else cross_fit
        return cross(self.fit, rows, folds, classes, gated_weights)
