"""A graph of rows, each joined to its nearest neighbors, as sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

_ROWS = 2**16
"""Rows whose weights are made together: what that takes is not held for all of them at once."""


@dataclass(frozen=True)
class FoundNeighbors:
    """The neighbors of some rows, as a worker has found them.

    Parameters
    ----------
    nodes
        ndarray of shape (n,): the places of the rows among all node ids in ascending order.
    cells, places
        ndarrays of shape (n,): the cell of each, and its place there: rows of a cell are near each
        other, and those of a run in it even more.
    neighbors
        ndarray of shape (n, k): the places of their neighbors, the nearest first; -1 where there
        are less than k.
    squared
        ndarray of shape (n, k): squared distances, in any unit.
    copies, originals
        ndarrays of shape (n_copies,): the places of rows that are where another row is, and those
        of the latter. What holds for one holds for the other.
    """

    nodes: NDArray[np.int32]
    cells: NDArray[np.int32]
    places: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    squared: NDArray[np.float32]
    copies: NDArray[np.int32]
    originals: NDArray[np.int32]


@dataclass(frozen=True)
class NeighborGraph:
    """All rows and their neighbors, numbered so that rows near each other mostly follow each other.

    Rows of the same values are one node: more than k of them would have no neighbor but each other,
    and would be an island that no label reaches.

    Parameters
    ----------
    ids
        ndarray of shape (n_rows,): the ids of all rows, ascending.
    node_of
        ndarray of shape (n_rows,): the number of each of them in the other arrays.
    starts
        ndarray of shape (n_cells + 1,): where each cell begins.
    neighbors
        ndarray of shape (n, k): numbers of the neighbors, the nearest first; where there are less
        than k, the node itself.
    squared
        ndarray of shape (n, k): squared distances, in any unit; infinite where a node itself is in
        place of a neighbor.
    """

    ids: NDArray[np.int64]
    node_of: NDArray[np.int32]
    starts: NDArray[np.int64]
    neighbors: NDArray[np.int32]
    squared: NDArray[np.float32]

    @classmethod
    def of(cls, ids: NDArray[np.int64], found: Sequence[FoundNeighbors]) -> NeighborGraph:
        """Put the parts of a graph together, in any order.

        Raises
        ------
        ValueError
            If a row is missing, or is there twice.
        """
        n_rows = sum(len(part.nodes) + len(part.copies) for part in found)
        cells, places = np.full((2, len(ids)), -1, dtype=np.int32)
        original = np.full(len(ids), -1, dtype=np.int32)
        for part in found:
            cells[part.nodes], places[part.nodes] = part.cells, part.places
            original[part.nodes], original[part.copies] = part.nodes, part.originals
        if n_rows != len(ids) or (original < 0).any():
            raise ValueError(f"A graph of {len(ids):,} rows must have each of them once.")
        distinct = np.flatnonzero(cells >= 0)
        order = distinct[np.lexsort((places[distinct], cells[distinct]))]
        n = len(order)
        number = np.full(len(ids), -1, dtype=np.int32)
        number[order] = np.arange(n, dtype=np.int32)
        k = found[0].neighbors.shape[1]
        neighbors, squared = np.empty((n, k), dtype=np.int32), np.empty((n, k), dtype=np.float32)
        for part in found:
            rows, there = number[part.nodes], part.neighbors >= 0
            neighbors[rows] = np.where(there, number[part.neighbors], rows[:, np.newaxis])
            squared[rows] = np.where(there, part.squared, np.inf)
        starts = np.append(np.flatnonzero(np.diff(cells[order], prepend=-1)), n)
        return cls(ids, number[original], starts, neighbors, squared)

    @property
    def n_nodes(self) -> int:
        """How many rows of other values than all before them there are."""
        return len(self.neighbors)

    def nodes(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the numbers of rows; -1 of one that the graph does not have."""
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[places] == ids, self.node_of[places], -1).astype(np.int32)

    def by_id(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return values of shape (n, ...) of the nodes for each row, in the order of the ids."""
        ordered: NDArray[np.float32] = values[self.node_of]
        return ordered

    def symmetric(self, gaussian: bool) -> csr_array:
        """Return max(W, W^T), of shape (n, n) and with a diagonal of zeros.

        Parameters
        ----------
        gaussian
            w_ij = exp(-4 d_ij^2 / (s_i s_j)), where s_i is the distance of i to its last neighbor
            (Zelnik-Manor and Perona, Self-tuning spectral clustering, 2004), so that no unit has
            to be chosen. Else w_ij = 1.

        Notes
        -----
        Calder et al. (Poisson learning, 2020) scale by s_i alone. Then one row between two clusters
        is joined to both as strongly as rows inside are to each other, and a million rows of two
        moons have one.
        """
        there = np.isfinite(self.squared)
        weights = there.astype(np.float64)
        if gaussian:
            last = np.sqrt(np.where(there, self.squared, 0.0).max(axis=1).astype(np.float64))
            for start in range(0, len(last), _ROWS):
                rows = slice(start, start + _ROWS)
                scales = last[rows, np.newaxis] * last[self.neighbors[rows]]
                scales = np.maximum(scales, np.finfo(float).tiny)
                some = np.exp(-4.0 * self.squared[rows] / scales)
                weights[rows] = np.where(there[rows], some, 0.0)
        W = self._csr(self.neighbors, weights)
        return W.maximum(W.T.tocsr())

    def directed(self) -> csr_array:
        """Return which rows each row counts as its k neighbors, itself first; shape (n, n).

        So does ``kneighbors_graph`` of scikit-learn's label propagation.
        """
        n, k = self.neighbors.shape
        own = np.arange(n, dtype=np.int32)[:, np.newaxis]
        there = np.isfinite(self.squared[:, : k - 1]).astype(np.float64)
        return self._csr(
            np.concatenate([own, self.neighbors[:, : k - 1]], axis=1),
            np.concatenate([np.ones((n, 1)), there], axis=1),
        )

    def _csr(self, columns: NDArray[np.int32], weights: NDArray[np.float64]) -> csr_array:
        n, k = columns.shape
        starts = np.arange(0, n * k + 1, k, dtype=np.int64 if n * k > 2**31 - 1 else np.int32)
        return csr_array((weights.ravel(), columns.ravel(), starts), shape=(n, n))

    @cached_property
    def components(self) -> NDArray[np.int32]:
        """The number of the connected component of each node, shape (n,)."""
        n, k = self.neighbors.shape
        edges = self._csr(self.neighbors, np.ones((n, k), dtype=np.int8))
        _, of_node = connected_components(edges, directed=True, connection="weak")
        components: NDArray[np.int32] = of_node.astype(np.int32)
        return components
