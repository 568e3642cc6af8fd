"""Nearest neighbors in whole numbers: exact within cells, the same on any machine.

Vectors lie on a grid of whole numbers, small enough that products and sums of them are exact in
double precision, in whatever order a library adds them up. A distance is then the same bits in a
product of 50 rows and in one of 50,000, so that neighbors do not depend on how a cluster deals
rows to tasks.

Rows are dealt to cells, those nearest to one of some centers found by k-means on a sample. The
neighbors of a row are looked for in the cells whose centers are nearest to it. How many cells that
takes is found out beforehand, by the exact neighbors of some rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spark_pseudolabel.core.hashing import SEED, xxhash64

LIMIT = 2**22
"""No coordinate exceeds it: a squared distance in 64 dimensions stays below 2**53."""

MAX_DIMENSIONS = 64

MAX_BASE = 65_536
"""Rows among which a row's neighbors are looked for, at most, where cells are of one size."""

EXACT_ROWS = 32_768
"""Up to so many rows neighbors are exact: all are compared with all."""

RECALL = 0.99
"""Share of exact neighbors that is found, unless it takes more than MAX_BASE rows."""

ROWS_PER_CELL, MAX_CELLS = 1000, 4096

Grid = NDArray[np.int32]
"""Vectors of shape (n, n_dimensions), each number at most LIMIT."""

RUN = 32
"""Rows of a run, within a cell."""

_TREE_DIMENSIONS, _TREE_ROWS = 8, 500
"""Up to so many dimensions, and from so many rows on, a tree is faster than all distances: with two
dimensions and 2,400 rows 15 times, with eight and as many 1.5 times."""

_CELLS_OF_BLOCK = 2**22
_GROUP = 16
_ROUNDS = 12


def squared_distances(X: Grid, Y: Grid) -> NDArray[np.float64]:
    """Return the squared distances of all rows of `X` to all of `Y`, exact.

    Examples
    --------
    >>> squared_distances(np.array([[0, 0]], np.int32), np.array([[3, 4], [0, 1]], np.int32))
    array([[25.,  1.]])
    """
    left, right = X.astype(np.float64), Y.astype(np.float64)
    D = left @ (-2.0 * right.T)
    D += np.einsum("ij,ij->i", right, right)
    D += np.einsum("ij,ij->i", left, left)[:, np.newaxis]
    return D


def values_hash(X: Grid) -> NDArray[np.int64]:
    """Return a hash of each row's vector, of shape (n_rows,), by which rows alike are found."""
    start = np.full(len(X), SEED, dtype=np.int64)
    return xxhash64([pa.array(np.ascontiguousarray(column)) for column in X.T], start)


def distinct_rows(X: Grid) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the rows that are the first with their vector.

    Returns
    -------
    tuple
        Their positions, ascending, and for each row the place among them of the one with its
        vector.

    Examples
    --------
    >>> distinct_rows(np.array([[3, 1], [0, 2], [3, 1]], np.int32))
    (array([0, 1]), array([0, 1, 0]))
    """
    _, first, inverse = np.unique(values_hash(X), return_index=True, return_inverse=True)
    if not np.array_equal(X[first[inverse]], X):  # two vectors with one hash
        _, first, inverse = np.unique(X, axis=0, return_index=True, return_inverse=True)
    places = np.empty(len(first), dtype=np.intp)
    places[np.argsort(first)] = np.arange(len(first))
    return np.sort(first), places[inverse.ravel()]


@dataclass(frozen=True)
class Sketch:
    """The lowest hashes of distinct vectors: how many vectors there are, and where.

    It is the same in whatever order, and however often, rows are looked at.

    Parameters
    ----------
    hashes
        ndarray of shape (n,): ascending; all of them where they are no more than
        :data:`EXACT_ROWS`, else so many and one.
    cells
        ndarray of shape (n,): the cell of each.
    """

    hashes: NDArray[np.int64]
    cells: NDArray[np.int32]

    @classmethod
    def of(cls, hashes: NDArray[np.int64], cells: NDArray[np.int32]) -> Sketch:
        """Keep the lowest of some hashes, each once."""
        lowest, first = np.unique(hashes, return_index=True)
        kept = slice(EXACT_ROWS + 1)
        return cls(lowest[kept], cells[first][kept])

    @classmethod
    def together(cls, parts: Sequence[Sketch]) -> Sketch:
        """Return the sketch of all rows of several ones."""
        return cls.of(
            *(np.concatenate([getattr(p, n) for p in parts]) for n in ("hashes", "cells"))
        )

    @property
    def n_distinct(self) -> int:
        """How many distinct vectors there are; an estimate of more than :data:`EXACT_ROWS`."""
        n = len(self.hashes)
        if n <= EXACT_ROWS:
            return n
        # Hashes are even over their range: Bar-Yossef et al., Counting distinct elements (2002).
        return round((n - 1) / ((float(self.hashes[-1]) + 2.0**63) / 2.0**64))

    def sizes(self, n_cells: int) -> NDArray[np.int64]:
        """Return how many distinct vectors each cell has, of shape (n_cells,)."""
        n = np.bincount(self.cells, minlength=n_cells)
        scale = self.n_distinct / max(1, len(self.hashes))
        sizes: NDArray[np.int64] = np.rint(n * scale).astype(np.int64)
        return sizes


def nearest(
    queries: Grid, base: Grid, k: int, own: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the k nearest rows of `base` for each query, by distance, then by position.

    Parameters
    ----------
    queries, base
        Vectors; `base` has at least k rows beside a query itself.
    k
        Number of neighbors.
    own
        ndarray of shape (n_queries,): where each query stands in `base`, to be left out; None: no
        query does.

    Returns
    -------
    tuple
        Positions in `base` and squared distances, each of shape (n_queries, k), the nearest first.
    """
    if base.shape[1] <= _TREE_DIMENSIONS and len(base) > max(_TREE_ROWS, 4 * k):
        return _by_tree(queries, base, k, own)
    return _by_distances(queries, base, k, own)


def _by_distances(
    queries: Grid, base: Grid, k: int, own: NDArray[np.intp] | None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Search by all distances."""
    positions = np.empty((len(queries), k), dtype=np.intp)
    distances = np.empty((len(queries), k))
    step = max(1, _CELLS_OF_BLOCK // len(base))
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        D = squared_distances(queries[block], base)
        if own is not None:
            D[np.arange(len(D)), own[block]] = np.inf
        positions[block], distances[block] = _smallest(D, k)
    return positions, distances


def _smallest(D: NDArray[np.float64], k: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the positions of the k smallest numbers of each row, and these, ascending.

    They lie in the groups whose least numbers are smallest: a look at one number of each group
    takes a fraction of the time of one at all numbers. Of equal numbers the first ones count.
    """
    n, m = D.shape
    n_groups = m // _GROUP
    wanted = min(k + 1, m)
    candidates = np.broadcast_to(np.arange(m), (n, m))
    if n_groups > 4 * wanted:
        whole = n_groups * _GROUP
        least = D[:, :whole].reshape(n, n_groups, _GROUP).min(axis=2)
        groups = np.sort(np.argpartition(least, wanted - 1, axis=1)[:, :wanted], axis=1)
        inside = (groups[:, :, np.newaxis] * _GROUP + np.arange(_GROUP)).reshape(n, -1)
        rest = np.broadcast_to(np.arange(whole, m), (n, m - whole))
        candidates = np.concatenate([inside, rest], axis=1)
    elif m > 4 * wanted:
        candidates = np.sort(np.argpartition(D, wanted - 1, axis=1)[:, :wanted], axis=1)
    values = np.take_along_axis(D, candidates, axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, :wanted]
    positions = np.take_along_axis(candidates, order, axis=1)
    smallest = np.take_along_axis(values, order, axis=1)
    if wanted > k:
        tied = np.flatnonzero(smallest[:, k - 1] == smallest[:, k])
        positions[tied, :k] = np.argsort(D[tied], axis=1, kind="stable")[:, :k]
    return positions[:, :k], smallest[:, :k]


def _by_tree(
    queries: Grid, base: Grid, k: int, own: NDArray[np.intp] | None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Search by a tree, which takes few dimensions and many rows.

    Of rows that are equally far it finds any. Where the last one is as far as the next, all
    distances say which are the first.
    """
    n_found = k + 1 if own is None else k + 2
    _, found = cKDTree(base).query(queries, n_found)
    found = np.asarray(found).reshape(len(queries), n_found).astype(np.intp)
    delta = base[found].astype(np.float64) - queries[:, np.newaxis].astype(np.float64)
    D = np.einsum("ijk,ijk->ij", delta, delta)
    if own is not None:
        # Among more than k copies of a row it may not find the row itself: then there are ties.
        D[found == own[:, np.newaxis]] = np.inf
    order = np.lexsort((found, D))[:, : k + 1]
    found, D = np.take_along_axis(found, order, axis=1), np.take_along_axis(D, order, axis=1)
    tied = np.flatnonzero(D[:, k - 1] == D[:, k])
    if len(tied):
        of_tied = None if own is None else own[tied]
        found[tied, :k], D[tied, :k] = _by_distances(queries[tied], base, k, of_tied)
    return found[:, :k], D[:, :k]


def find_centers(sample: Grid, n_cells: int) -> Grid:
    """Find the centers of cells by k-means, in whole numbers.

    Parameters
    ----------
    sample
        Rows in an order that says nothing about them; the first ones are where it begins.
    n_cells
        At most as many as rows.

    Returns
    -------
    ndarray of shape (n_cells, n_dimensions)
        Rounded to the grid. A center that no row is nearest to stays where it was.
    """
    _, first = np.unique(sample, axis=0, return_index=True)
    centers = sample[np.sort(first)[:n_cells]].copy()
    for _ in range(_ROUNDS):
        cells = cells_of(sample, centers)
        n = np.bincount(cells, minlength=len(centers))
        sums = [np.bincount(cells, column, len(centers)) for column in sample.T]
        means = np.rint(np.stack(sums, axis=1) / np.maximum(n, 1)[:, np.newaxis])
        moved = np.where(n[:, np.newaxis] > 0, means, centers).astype(np.int32)
        if np.array_equal(moved, centers):
            break
        centers = moved
    return centers


def cells_of(X: Grid, centers: Grid) -> NDArray[np.int32]:
    """Return the cell of each row, that of its nearest center."""
    return nearest_cells(X, centers, 1)[:, 0]


def nearest_cells(X: Grid, centers: Grid, n_cells: int) -> NDArray[np.int32]:
    """Return the nearest cells of each row, of shape (n_rows, n_cells), the nearest first."""
    if X.shape[1] <= _TREE_DIMENSIONS:
        _, near = cKDTree(centers).query(X, n_cells)
        return np.asarray(near).reshape(len(X), n_cells).astype(np.int32)
    near = np.empty((len(X), n_cells), dtype=np.int32)
    for rows in _blocks(len(X), len(centers)):
        near[rows], _ = _smallest(squared_distances(X[rows], centers), n_cells)
    return near


def cells_to_search(
    near: NDArray[np.int32], sizes: NDArray[np.int64], k: int, neighbor_cells: NDArray[np.int32]
) -> tuple[int, float]:
    """Choose in how many cells to look for the neighbors of a row.

    As many of the nearest as find enough of the exact neighbors of some rows, with no more than
    :data:`MAX_BASE` rows, but with `k` + 1 at least; all cells where they have few rows.

    Parameters
    ----------
    near
        ndarray of shape (n, n_cells): all cells, the nearest of each row first.
    sizes
        ndarray of shape (n_cells,): distinct rows of each cell.
    k
        Number of neighbors.
    neighbor_cells
        ndarray of shape (n, k): the cells of the exact neighbors of these rows; -1 where there are
        less than k.

    Returns
    -------
    tuple
        How many cells, and the share of these rows' neighbors that is found there.
    """
    n_cells = near.shape[1]
    rank = np.empty_like(near)
    np.put_along_axis(rank, near, np.arange(n_cells, dtype=np.int32)[np.newaxis], axis=1)
    there = neighbor_cells >= 0
    ranks = np.take_along_axis(rank, np.maximum(neighbor_cells, 0), axis=1)[there]
    found = np.cumsum(np.bincount(ranks, minlength=n_cells)) / max(1, ranks.size)
    if sizes.sum() <= EXACT_ROWS:
        wanted = n_cells
    else:
        most = max(1, int(MAX_BASE * n_cells // sizes.sum()))
        wanted = min(int(np.searchsorted(found, RECALL)) + 1, most)
    # Be they the smallest ones.
    least = int((np.cumsum(np.sort(sizes)) <= k).sum()) + 1
    n_searched = min(max(wanted, least), n_cells)
    return n_searched, float(found[n_searched - 1]) if ranks.size else 1.0


def neighbors_in_cell(
    own: Grid, others: Grid, k: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the neighbors that rows have in a cell.

    Parameters
    ----------
    own
        The rows of the cell, in an order that does not depend on the cluster.
    others
        Rows of other cells.
    k
        Number of neighbors.

    Returns
    -------
    tuple
        Positions in `own` and squared distances for `own` followed by `others`, see
        :func:`nearest`; -1 and infinity where the cell has less than `k`. The rows of a cell of
        more than :data:`MAX_BASE` know those that are near in its widest dimension.
    """
    n = len(own)
    positions = np.full((n + len(others), k), -1, dtype=np.intp)
    squared = np.full((n + len(others), k), np.inf)
    for rows in _cut(own):
        k_own = min(k, len(rows) - 1)
        if k_own > 0:
            found, distances = nearest(own[rows], own[rows], k_own, np.arange(len(rows)))
            positions[rows, :k_own], squared[rows, :k_own] = rows[found], distances
    k_others = min(k, n)
    if len(others) and k_others:
        positions[n:, :k_others], squared[n:, :k_others] = nearest(others, own, k_others)
    return positions, squared


def _cut(own: Grid) -> list[NDArray[np.intp]]:
    """Return the positions of a cell's rows in parts of bounded size."""
    n_parts = -(-len(own) // MAX_BASE)
    if n_parts < 2:
        return [np.arange(len(own))]
    widest = int(np.argmax(np.ptp(own.astype(np.int64), axis=0)))
    return np.array_split(np.argsort(own[:, widest], kind="stable"), n_parts)


def spatial_order(X: Grid) -> NDArray[np.intp]:
    """Return an order in which every :data:`RUN` rows, from the first, are near each other.

    Halves the rows along their widest dimension, and these again.
    """
    ordered: list[NDArray[np.intp]] = []
    waiting = [np.arange(len(X))]
    while waiting:
        rows = waiting.pop()
        if len(rows) <= RUN:
            ordered.append(rows)
            continue
        values = X[rows]
        widest = int(np.argmax(np.ptp(values.astype(np.int64), axis=0)))
        rows = rows[np.argsort(values[:, widest], kind="stable")]
        half = RUN * -(-len(rows) // (2 * RUN))
        waiting += [rows[half:], rows[:half]]
    return np.concatenate([np.zeros(0, dtype=np.intp), *ordered])


def nearest_found(
    nodes: NDArray[np.int32], neighbors: NDArray[np.int32], squared: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Put together what was found of each node in several cells.

    Parameters
    ----------
    nodes
        ndarray of shape (n,): each node as often as every other one, in any order.
    neighbors, squared
        ndarrays of shape (n, k): what was found in a cell.
    k
        Number of neighbors.

    Returns
    -------
    tuple
        The nodes, ascending, and their k nearest neighbors with squared distances, the nearest
        first and of equals the lowest.
    """
    order = np.argsort(nodes, kind="stable")
    ordered = nodes[order]
    distinct = ordered[np.diff(ordered, prepend=-1) > 0]
    n_found = k * (len(nodes) // max(1, len(distinct)))  # there may be no node
    neighbors = neighbors[order].reshape(len(distinct), n_found)
    squared = squared[order].reshape(len(distinct), n_found)
    # Bits of numbers that are not negative order as they do: one whole number orders by distance,
    # then by neighbor, and -1 comes last. That takes a tenth of the time of a lexical sort.
    keys = (squared.view(np.int32).astype(np.int64) << 32) | neighbors.view(np.uint32)
    keys = np.sort(keys, axis=1)[:, :k]
    return (
        distinct,
        keys.astype(np.uint32).view(np.int32),
        (keys >> 32).astype(np.int32).view(np.float32),
    )


def _blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, _CELLS_OF_BLOCK // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)
