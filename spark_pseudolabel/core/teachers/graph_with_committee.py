"""What teachers have in common that know rows by a graph, and have a committee score them, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.teachers.committee import Committee
from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, probabilities
from spark_pseudolabel.core.teachers.distant_graph import DistantGraph
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
from spark_pseudolabel.core.teachers.neighbors import (
    MAX_EDGES,
    NeighborTeacher,
)
from spark_pseudolabel.core.teachers.node_scores import NodeScores
from spark_pseudolabel.core.teachers.node_votes import GraphRows, votes_on
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.errors import InputError

MAX_SCORES = 500_000_000
"""Probabilities of all rows that the driver holds at a time, each in four bytes."""

_SETS = 7
"""Of these: by the model that is used, by those of five folds, and by the one that is made."""


@dataclass(frozen=True)
class GraphWithCommittee(NeighborTeacher):
    """A graph and a committee; its models know the rows of the graph alone.

    Parameters
    ----------
    committee
        Scores the rows by their features.
    rows
        Those of the graph by their features, once it is :meth:`joined`.
    """

    committee: Committee = field(kw_only=True)
    rows: GraphRows | None = field(default=None, kw_only=True)

    @property
    def takes_features(self) -> bool:
        """Whether labeled rows come to it with their features: for the committee."""
        return True

    @property
    def estimators(self) -> Sequence[BaseEstimator]:
        """Those of the committee."""
        return self.committee.estimators

    @property
    def member_names(self) -> Sequence[str]:
        """Those of the committee, and the graph."""
        return [*self.committee.member_names, "graph: neighbors"]

    def require_rows(self, n_rows: int, n_classes: int = 2) -> None:
        """Refuse what a graph of neighbors does, and more probabilities than fit."""
        super().require_rows(n_rows, n_classes)
        if not self.fits_driver(n_rows):
            raise InputError(
                "A committee with teacher graph: neighbors has the graph on the driver: at most "
                f"{MAX_EDGES // self.settings.k:,} rows with {self.settings.k} neighbors each. "
                f"There are {n_rows:,}. Lower teacher.k, or let teacher be graph: neighbors alone, "
                "which workers solve where it is larger.",
                code="graph_too_large",
                where="teacher.k",
            )
        if _SETS * n_rows * n_classes > MAX_SCORES:
            most = MAX_SCORES // (_SETS * n_classes)
            raise InputError(
                "A committee with teacher graph: neighbors has the probabilities of all rows on "
                f"the driver: of {n_classes} classes at most {most:,} rows. There are {n_rows:,}. "
                "Let teacher be {committee: [...], graph: {graph: anchors}}, which takes any "
                "number of rows, or graph: neighbors alone.",
                code="graph_too_large",
                where="teacher.graph",
            )

    def prepared(self, X: pd.DataFrame, fitted: dict[str, BaseEstimator] | None = None) -> Self:
        """Fit the committee's preprocessing."""
        return replace(self, committee=self.committee.prepared(X, fitted))

    def joined(
        self,
        graph: NeighborGraph | DistantGraph,
        tell: Tell | None = None,
        rows: GraphRows | None = None,
    ) -> Self:
        """Take in the graph, who is told of progress, and the rows by their features."""
        return replace(super().joined(graph, tell), rows=rows)

    @property
    def nodes(self) -> NeighborGraph:
        """The graph."""
        assert isinstance(self.graph, NeighborGraph)
        return self.graph

    def votes(
        self, models: Sequence[BaseEstimator], classes: Sequence[Label]
    ) -> NDArray[np.float32]:
        """Score all rows by models of features; (n_models, n_rows, n_classes), by their ids."""
        assert self.rows is not None
        return votes_on(self.rows, models, self.features, classes).of(self.nodes.ids)

    def model(self, P: NDArray[np.float32], classes: Sequence[Label]) -> NodeScores:
        """Return a model of the probabilities of all rows, in the order of their ids."""
        return NodeScores.of(self.nodes.ids, P, classes, takes_nan=self.settings.standardize)


def without_nodes(rows: TrainingRows) -> TrainingRows:
    """Return rows as models of features take them: without their node ids."""
    return replace(rows, X=rows.X.drop(columns=NODE))


def scored_by(fitted: CrossFit, rows: TrainingRows, models: Sequence[NodeScores]) -> CrossFit:
    """Let models of nodes take the places of those that they were made of.

    Parameters
    ----------
    fitted
        Cross-fitted models.
    rows
        What they were fitted on, with node ids.
    models
        The one that is used, and of each fold the one that has not seen it, if any is held out.
    """
    used, *unseen = models
    P = fitted.P.copy()
    for fold, model in enumerate(unseen):
        of_fold = fitted.folds == fold
        P[of_fold] = probabilities(model, rows.X.loc[of_fold, [NODE]])
    return replace(fitted, models=(used,) * len(fitted.models), P=P, unseen=tuple(unseen))
