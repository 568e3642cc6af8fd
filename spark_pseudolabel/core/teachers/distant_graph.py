"""What is asked of a graph of neighbors that is not in this process, and how it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
from spark_pseudolabel.core.teachers.graph_solvers import Labels

Method = Literal["propagation", "spreading", "poisson"]
EdgeWeights = Literal["gaussian", "connectivity"]


@dataclass(frozen=True)
class GraphSettings:
    """How rows are joined, and how labels spread.

    Parameters
    ----------
    k
        Neighbors of each row.
    method, alpha, max_iter, tol, weights
        See :func:`~.graph_solvers.make_solver`.
    standardize
        See :meth:`~.graph_vectors.VectorMaker.fit`.
    """

    k: int = 10
    method: Method = "propagation"
    alpha: float = 0.99
    max_iter: int = 1000
    tol: float = 1e-3
    weights: EdgeWeights = "gaussian"
    standardize: bool = True


class DistantGraph(Protocol):
    """All rows, where labels spread elsewhere than in this process."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows, ascending."""

    def spread(
        self, sets: Sequence[Labels], n_classes: int, settings: GraphSettings, tell: Tell
    ) -> Sequence[NDArray[np.float32]]:
        """Spread some sets of labels.

        Parameters
        ----------
        sets
            Their `nodes` are places among the ids.
        n_classes, settings, tell
            As of a teacher.

        Returns
        -------
        sequence of ndarray
            Of each set the probabilities of all rows, in the order of the ids.
        """
