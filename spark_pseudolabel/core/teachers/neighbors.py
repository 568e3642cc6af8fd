"""Labels spread over the graph of nearest neighbors of all rows, with and without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.anchors import no_usable_column
from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, cross_fit, cross_fit_mean
from spark_pseudolabel.core.teachers.distant_graph import DistantGraph, GraphSettings
from spark_pseudolabel.core.teachers.graph_solvers import Labels, Solver, make_solver
from spark_pseudolabel.core.teachers.graph_vectors import VectorMaker
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
from spark_pseudolabel.core.teachers.node_scores import NodeScores
from spark_pseudolabel.core.teachers.node_votes import GraphRows
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.errors import InputError

MAX_EDGES = 120_000_000
"""Neighbors of all rows together that the driver holds: some 6 GB while labels spread."""

MAX_ROWS = 2**31 - 1
"""Rows are numbered in 32 bits."""


@dataclass(frozen=True)
class NeighborTeacher(Teacher):
    """Spreads labels over a graph; its models know the rows of the graph alone.

    Parameters
    ----------
    settings
        How.
    features
        What distances are measured on.
    random_state
        Seed of the components of texts.
    vectors
        What makes vectors of rows, once it is :meth:`prepared`.
    graph
        All rows, once it is :meth:`joined`.
    tell
        Is told how far solving is.
    """

    settings: GraphSettings
    features: tuple[Feature, ...]
    random_state: int
    vectors: VectorMaker | None = None
    graph: NeighborGraph | DistantGraph | None = None
    tell: Tell = field(default=lambda products, change: None)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"The graph of {self.settings.k} nearest neighbors"

    @property
    def transductive(self) -> bool:
        """Whether its models know rows by their node ids alone."""
        return True

    @property
    def needs_reference(self) -> bool:
        """Whether it learns anything from rows without labels."""
        return True

    @property
    def preprocessing(self) -> Sequence[str]:
        """What happens to columns before distances are measured, one line each."""
        return () if self.settings.standardize else ("numbers: as they are",)

    @property
    def takes_features(self) -> bool:
        """Never: it knows rows by their node ids alone."""
        return False

    def require_rows(self, n_rows: int, n_classes: int = 2) -> None:
        """Refuse more neighbors than rows, more edges than fit, and no column to measure."""
        k = self.settings.k
        if k >= n_rows:
            raise InputError(
                f"teacher.k must be less than the number of rows, {n_rows:,} with those that have "
                f"a label. Got {k}.",
                code="too_few_rows",
                where="teacher.k",
            )
        if n_rows > MAX_ROWS:
            raise InputError(
                f"A graph of neighbors has at most {MAX_ROWS:,} rows. There are {n_rows:,}. Let "
                "teacher be graph: anchors, which takes any number of rows.",
                code="graph_too_large",
                where="teacher.graph",
            )
        if not self.settings.standardize and not any(f.numeric for f in self.features):
            raise InputError(
                "teacher.standardize: false measures distances of numbers, and no feature is one. "
                "Leave it out: categories and texts become numbers then.",
                code="no_numbers",
                where="teacher.standardize",
            )

    def placed(self, X: pd.DataFrame) -> Self:
        """Learn how rows become vectors.

        Raises
        ------
        InputError
            If no column has two values.
        """
        vectors = VectorMaker.fit(
            X,
            self.features,
            self.random_state,
            standardize=self.settings.standardize,
            known={},
        )
        if not vectors.tells_apart:
            raise no_usable_column("neighbors", self.features)
        return replace(self, vectors=vectors)

    def fits_driver(self, n_rows: int) -> bool:
        """Whether the graph of so many rows is small enough for the driver's memory."""
        return self.settings.k * n_rows <= MAX_EDGES

    def joined(
        self,
        graph: NeighborGraph | DistantGraph,
        tell: Tell | None = None,
        rows: GraphRows | None = None,
    ) -> Self:
        """Take in the graph, and who is told of progress."""
        return replace(self, graph=graph, tell=tell or self.tell)

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> NodeScores:
        """Spread labels.

        Parameters
        ----------
        rows
            The labeled rows, node ids in place of features.
        classes
            The labels, ascending.
        previous
            Not used.
        """
        return self._spread([rows], classes)[0]

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Spread the labels of other folds; see :meth:`.teacher.Teacher.cross_fit`.

        The same graph for all of them, and all of them in one go.
        """
        cross = cross_fit_mean if mean else cross_fit
        known: dict[bytes, BaseEstimator] = {}
        wanted: dict[bytes, TrainingRows] = {}

        def note(some: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
            wanted[_digest(some)] = some
            return _nothing(classes)

        def look_up(some: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
            return known[_digest(some)]

        cross(note, rows, folds, classes)
        known |= zip(wanted, self._spread(list(wanted.values()), classes), strict=True)
        return cross(look_up, rows, folds, classes)

    def _spread(self, sets: Sequence[TrainingRows], classes: Sequence[Label]) -> list[NodeScores]:
        assert self.graph is not None
        ids = self.graph.ids
        return [
            NodeScores.of(ids, P, classes, takes_nan=self.settings.standardize)
            for P in self._by_row(sets, len(classes))
        ]

    def _by_row(
        self, sets: Sequence[TrainingRows], n_classes: int
    ) -> Iterable[NDArray[np.float32]]:
        """Return the probabilities of all rows by each set of labels, in the order of the ids."""
        graph = self.graph
        assert graph is not None
        if not isinstance(graph, NeighborGraph):
            places = [Labels(_places(graph.ids, rows), rows.codes) for rows in sets]
            return graph.spread(places, n_classes, self.settings, self.tell)
        solver = self._solver(graph, n_classes)
        return (graph.by_id(P) for P in solver.solve([labels_on(graph, rows) for rows in sets]))

    def _solver(self, graph: NeighborGraph, n_classes: int) -> Solver:
        chosen = self.settings
        return make_solver(
            graph,
            n_classes,
            chosen.method,
            gaussian=chosen.weights == "gaussian",
            alpha=chosen.alpha,
            max_iter=chosen.max_iter,
            tol=chosen.tol,
            tell=self.tell,
        )


def _places(ids: NDArray[np.int64], rows: TrainingRows) -> NDArray[np.int32]:
    """Return where labeled rows are among all."""
    wanted = rows.X[NODE].to_numpy()
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    if (ids[places] != wanted).any():
        raise ValueError("every labeled row must be in the graph")
    found: NDArray[np.int32] = places.astype(np.int32)
    return found


def labels_on(graph: NeighborGraph, rows: TrainingRows) -> Labels:
    """Return the labels of rows as those of their nodes."""
    return Labels(graph.node_of[_places(graph.ids, rows)], rows.codes)


def _digest(rows: TrainingRows) -> bytes:
    ids: NDArray[np.int64] = rows.X[NODE].to_numpy()
    return ids.tobytes()


def _nothing(classes: Sequence[Label]) -> NodeScores:
    ids, P = np.zeros(1, dtype=np.int64), np.zeros((1, len(classes)), dtype=np.float32)
    return NodeScores.of(ids, P, classes, takes_nan=True)
