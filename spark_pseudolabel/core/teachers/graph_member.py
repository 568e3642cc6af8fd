"""A committee that has an anchor graph among its members, as long as that helps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.ensemble import VotingClassifier

from spark_pseudolabel.core.teachers.anchor_graph import AnchorGraph
from spark_pseudolabel.core.teachers.anchors import AnchorsTeacher
from spark_pseudolabel.core.teachers.committee import Committee
from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    MemberScore,
    Once,
    cross_fit,
    cross_fit_mean,
    numbered,
)
from spark_pseudolabel.core.teachers.gate import gated_weights
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.errors import InputError

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
    usable
        Whether anchors could be put among rows.
    """

    graph: AnchorsTeacher
    usable: bool = True

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
    def adapted(self) -> Mapping[str, int]:
        """The graph's settings that rows have changed."""
        adapted = self.graph.adapted if self.usable else {}
        return {f"{GRAPH}.{key}": value for key, value in adapted.items()}

    def placed(self, X: pd.DataFrame) -> Self:
        """Put anchors among rows, and connect these: a sample is enough for one of many members."""
        try:
            graph = self.graph.placed(X)
        except InputError:  # no column tells rows apart: it can't help
            return replace(self, usable=False)
        assert graph.columns is not None
        with hold_threads(1), config_context(transform_output="default"):
            connected = AnchorGraph.of(graph.columns.transform(X))
        return replace(self, graph=graph.informed(connected))

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> VotingClassifier:
        """Fit every member, and spread the labels; equal weights."""
        committee = super().fit(rows, classes)
        if not self.usable:
            return committee
        models = dict(zip(self.members, members_of(committee), strict=True))
        return soft_vote({**models, GRAPH: self.graph.fit(rows, classes)}, classes)

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Fit one model per fold; in each, the other folds say whether the graph has a vote.

        Where it has none in any of them, the models are committees without it.
        """
        cross = cross_fit_mean if mean else cross_fit
        rows, fit = numbered(rows), Once(self.fit)
        graph = MemberScore(0.0, 0.0, None)
        if self.usable:
            fitted = cross(fit, rows, folds, classes, gated_weights)
            if fitted.members and fitted.members[-1].weight:
                return fitted
            graph = fitted.members[-1] if fitted.members else graph

        def alone(some: TrainingRows, classes: Sequence[Label]) -> VotingClassifier:
            models = members_of(fit(some, classes))[: len(self.members)]
            return soft_vote(dict(zip(self.members, models, strict=True)), classes)

        fitted = cross(alone, rows, folds, classes)
        members = (*fitted.members, graph) if fitted.members else ()
        return replace(fitted, members=members, voters=len(self.members))
