"""Numbers spread over a graph: those of labels stay, every other one is its neighbors' mean.

The harmonic function of Zhu, Ghahramani and Lafferty (2003), of which classes take a share each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from spark_pseudolabel.core.teachers.conjugate_gradients import CoarseCells, Tell, harmonic

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HarmonicNumbers:
    """Solves for the numbers of all nodes, by conjugate gradients on D - W.

    Parameters
    ----------
    W
        Symmetric weights of shape (n, n), with a diagonal of zeros.
    starts
        ndarray of shape (n_cells + 1,): where each cell of nodes begins.
    max_iter
        Most products of the matrix.
    tol
        The residual that is left, of that at the start.
    tell
        Is told about progress.
    """

    W: csr_array
    starts: NDArray[np.int64]
    max_iter: int
    tol: float
    tell: Tell

    def solve(self, nodes: NDArray[np.int32], y: Floats) -> tuple[Floats, Floats]:
        """Return the numbers of all nodes, and how far those of their neighbors are apart.

        Parameters
        ----------
        nodes
            ndarray of shape (n_labels,): where labels are; those of one node are averaged.
        y
            ndarray of shape (n_labels,): what they are.

        Returns
        -------
        tuple
            Two ndarrays of shape (n,): numbers, NaN where no label reaches, and deviations by the
            weights of neighbors.
        """
        n = len(self._degree)
        labels = np.bincount(nodes, minlength=n)
        given = np.bincount(nodes, y, minlength=n) / np.maximum(labels, 1)
        reached = np.isin(self._components, self._components[nodes])
        free = reached & (labels == 0)
        u = given
        if free.any():
            x = harmonic(self._cells, free, self.tol, self.max_iter, self.tell)(given)
            u = np.where(free, np.clip(x, y.min(), y.max()), given)
        weight = np.where(self._degree > 0, self._degree, 1.0)
        variance = (self.W @ u**2) / weight - ((self.W @ u) / weight) ** 2
        return np.where(reached, u, np.nan), np.sqrt(np.maximum(variance, 0.0))

    @cached_property
    def _degree(self) -> Floats:
        degree: Floats = np.asarray(self.W.sum(axis=1)).ravel()
        return degree

    @cached_property
    def _components(self) -> NDArray[np.int32]:
        _, of_node = connected_components(self.W, directed=False)
        components: NDArray[np.int32] = of_node
        return components

    @cached_property
    def _cells(self) -> CoarseCells:
        return CoarseCells(self.W, self._degree, self.starts)
