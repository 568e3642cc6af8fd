"""Numbers spread over the graph of nearest neighbors of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.teachers.harmonic_numbers import HarmonicNumbers
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
from spark_pseudolabel.core.teachers.neighbors import MAX_EDGES, NeighborTeacher
from spark_pseudolabel.core.teachers.node_numbers import NodeNumbers
from spark_pseudolabel.core.teachers.number_model import NumberModel
from spark_pseudolabel.core.teachers.numbers import (
    NumberCrossFit,
    NumberTeacher,
    graph_number_teacher,
)
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.errors import InputError

_RESIDUAL = 1e-3
"""The solution is that much nearer than ``tol``, as it is with classes."""


@dataclass(frozen=True)
class NeighborNumberTeacher(NeighborTeacher):
    """Spreads numbers over a graph; its models know the rows of the graph alone.

    Parameters
    ----------
    task
        What is asked of labels.
    """

    task: NumberTask = field(kw_only=True)

    def require_rows(self, n_rows: int, n_classes: int = 2) -> None:
        """Refuse more edges than the driver holds, too: numbers spread there."""
        super().require_rows(n_rows, n_classes)
        if not self.fits_driver(n_rows):
            raise InputError(
                f"With task: regression a graph of {self.settings.k} neighbors has at most "
                f"{MAX_EDGES // self.settings.k:,} rows, which the driver holds. There are "
                f"{n_rows:,}. Let teacher be graph: anchors, which takes any number of rows.",
                code="graph_too_large",
                where="teacher.graph",
            )

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> NumberModel:
        """Spread numbers; errors are those of models that have not seen a fold of them."""
        return self._numbers.fit(rows, classes)

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> NumberCrossFit:
        """Spread the numbers of other folds; see :meth:`.teacher.Teacher.cross_fit`."""
        return self._numbers.cross_fit(rows, folds, classes, mean=mean)

    @cached_property
    def _numbers(self) -> NumberTeacher:
        assert isinstance(self.graph, NeighborGraph)
        chosen = self.settings
        solver = HarmonicNumbers(
            self.graph.symmetric(chosen.weights == "gaussian"),
            self.graph.starts,
            chosen.max_iter,
            chosen.tol * _RESIDUAL,
            self.tell,
        )
        member = _Spreading(self.graph, solver, chosen.standardize)
        return graph_number_teacher(member, (), self.random_state, self.task)


@dataclass(frozen=True)
class _Spreading(Teacher):
    """Makes models of the numbers of a graph's nodes.

    Parameters
    ----------
    graph
        Of all rows.
    solver
        On its weights.
    takes_nan
        Whether rows with missing numbers are in it.
    """

    graph: NeighborGraph
    solver: HarmonicNumbers
    takes_nan: bool

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> NodeNumbers:
        """Spread the numbers of labeled rows, node ids in place of features."""
        assert rows.values is not None
        nodes = self.graph.nodes(rows.X[NODE].to_numpy())
        if (nodes < 0).any():
            raise ValueError("every labeled row must be in the graph")
        by_node = self.solver.solve(nodes, rows.values)
        values, spreads = (of_nodes[self.graph.node_of] for of_nodes in by_node)
        return NodeNumbers.of(self.graph.ids, values, spreads, takes_nan=self.takes_nan)
