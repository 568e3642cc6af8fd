"""The anchor graph: rows are connected through the anchors that they are near to.

Liu, He and Chang, "Large Graph Construction for Scalable Semi-Supervised Learning" (ICML 2010).
Some hundred anchors stand for all rows, and a row is described by kernel weights of its nearest
ones: a row of Z. The graph over all rows is W = Z inv(D) Z', with D the diagonal of Z'1. It is
never made: all that is needed of it is Z'Z, an m x m matrix, which is a sum over rows.

Weights are whole multiples of 1 / :data:`UNITS`, so that sums over rows are exact: they do not
depend on how rows are dealt to workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, csr_matrix, triu

UNITS = 2**15
"""The weights of a row are whole numbers of this part of 1, and sum to 1."""

GAMMA = 1.0
"""How much smoothness over a mean row of the graph weighs beside the fit to a mean labeled row.

The authors' demonstration adds 0.01 of the sum over all of its 9,298 rows to the sum over 100
labeled ones, which is 0.93 of this; so it means the same for any number of rows."""

_BLOCK_CELLS = 2**18
"""Distances at a time: they stay in the processor's cache while the nearest are looked for."""

_MAX_ITER = 20
"""Steps of k-means, after which anchors hardly move."""

_RIDGE = 1e-10
"""Added to the diagonal beside labels of weight 1 in all: it decides only where none reaches."""


def find_anchors(X: NDArray[np.float64], most: int, random_state: int) -> NDArray[np.float64]:
    """Put anchors where rows are: centers of k-means.

    Parameters
    ----------
    X
        ndarray of shape (n_rows, n_columns).
    most
        How many anchors; fewer where there are fewer distinct rows.
    random_state
        Seed of the first centers.

    Returns
    -------
    ndarray of shape (n_anchors, n_columns)
        The same from any number of cores, if threads are held to one.
    """
    from sklearn.cluster import KMeans  # which workers need not import

    distinct = np.unique(X, axis=0)
    if len(distinct) <= most:
        return distinct
    means = KMeans(most, n_init=1, max_iter=_MAX_ITER, random_state=random_state).fit(X)
    anchors: NDArray[np.float64] = means.cluster_centers_
    return anchors


def nearest_anchors(
    X: NDArray[np.float64] | csr_matrix, anchors: NDArray[np.float64], n: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the nearest anchors of every row.

    Parameters
    ----------
    X
        ndarray or sparse matrix of shape (n_rows, n_columns).
    anchors
        ndarray of shape (n_anchors, n_columns).
    n
        How many, at most `n_anchors`.

    Returns
    -------
    tuple
        Two ndarrays of shape (n_rows, n): which ones, nearest first, of equally near ones the
        first, and their squared distances.
    """
    n_rows = X.shape[0]
    nearest, squared = np.empty((n_rows, n), dtype=np.intp), np.empty((n_rows, n))
    lengths, directions = (anchors**2).sum(axis=1), -2.0 * anchors.T
    rows = max(1, _BLOCK_CELLS // len(anchors))
    for start in range(0, n_rows, rows):
        block = dense(X[start : start + rows])
        # In single precision, since the last bits of a matrix product depend on its shape: equally
        # near anchors have to stay so in any batch.
        with np.errstate(over="ignore", invalid="ignore"):
            distances = (block @ directions + lengths).astype(np.float32)
        which, line = nearest[start : start + rows], np.arange(len(block))
        for place in range(n):
            which[:, place] = distances.argmin(axis=1)
            distances[line, which[:, place]] = np.inf
        apart = block[:, np.newaxis, :] - anchors[which]
        squared[start : start + rows] = np.einsum("ijk,ijk->ij", apart, apart)
    return nearest, squared


def dense(X: NDArray[np.float64] | csr_matrix) -> NDArray[np.float64]:
    """Return a matrix as an ndarray."""
    return X if isinstance(X, np.ndarray) else np.asarray(X.toarray())


def bandwidth_of(squared: NDArray[np.float64]) -> float:
    """Return the median distance of rows to the last of their nearest anchors.

    The paper takes the mean, which a few rows far from all others would spoil.

    Parameters
    ----------
    squared
        From :func:`nearest_anchors`.
    """
    # Rows that are anchors themselves have no distance; any bandwidth gives them the same weights.
    return float(np.sqrt(np.median(squared[:, -1]))) or 1.0


def weights(
    nearest: NDArray[np.intp],
    squared: NDArray[np.float64],
    bandwidth: float,
    n_anchors: int,
) -> csr_array:
    """Weigh the nearest anchors of every row by ``exp(-squared / bandwidth**2)``.

    A row that is far from all anchors has the weights of the differences between them.

    Parameters
    ----------
    nearest, squared
        From :func:`nearest_anchors`.
    bandwidth
        From :func:`bandwidth_of`.

    Returns
    -------
    csr_array of shape (n_rows, n_anchors)
        Multiples of 1 / :data:`UNITS` that sum to 1 in each row; NaN where a distance is not
        finite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        kernel = np.exp((squared.min(axis=1, keepdims=True) - squared) / bandwidth**2)
    units = np.rint(UNITS * kernel / kernel.sum(axis=1, keepdims=True))
    units[:, 0] += UNITS - units.sum(axis=1)
    pointers = np.arange(0, nearest.size + 1, nearest.shape[1])
    return csr_array(
        ((units / UNITS).ravel(), nearest.ravel(), pointers), shape=(len(nearest), n_anchors)
    )


@dataclass(frozen=True)
class AnchorGraph:
    """The graph over rows, as far as it has to be known: the sum of products of their weights.

    Parameters
    ----------
    products
        csr_array of shape (n_anchors, n_anchors), int64: the upper triangle of Z'Z in units of
        1 / :data:`UNITS` ** 2, which is exact up to 2 ** 33 rows.
    """

    products: csr_array

    @classmethod
    def of(cls, Z: csr_array) -> AnchorGraph:
        """Connect rows, from their :func:`weights`."""
        units = Z.copy()
        units.data = np.rint(Z.data * UNITS).astype(np.int64)
        return cls(csr_array(triu(units.T @ units, format="csr")))

    @classmethod
    def together(cls, graphs: Sequence[AnchorGraph]) -> AnchorGraph:
        """Return the graph over the rows of several graphs with the same anchors."""
        products = graphs[0].products
        for graph in graphs[1:]:
            products = products + graph.products
        return cls(products)

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """Z'Z, of shape (n_anchors, n_anchors)."""
        upper = self.products.toarray() / UNITS**2
        gram: NDArray[np.float64] = upper + np.triu(upper, 1).T
        return gram

    @cached_property
    def mass(self) -> NDArray[np.float64]:
        """Z'1, of shape (n_anchors,): the rows that each anchor stands for."""
        of_each: NDArray[np.float64] = self.gram.sum(axis=1)
        return of_each

    @cached_property
    def laplacian(self) -> NDArray[np.float64]:
        """Z'LZ / n of the graph's Laplacian L = I - W, of shape (n_anchors, n_anchors).

        ``Z'Z - Z'Z inv(D) Z'Z``, per row: a vector's product with it from both sides says how much
        labels that it gives to anchors differ between connected rows.
        """
        inverse = np.divide(1.0, self.mass, out=np.zeros_like(self.mass), where=self.mass > 0)
        differences = self.gram - (self.gram * inverse) @ self.gram
        per_row: NDArray[np.float64] = differences / max(self.mass.sum(), 1.0)
        return per_row


def spread(
    graph: AnchorGraph,
    Z: csr_array,
    Y: NDArray[np.float64],
    row_weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Find the labels of anchors, from which rows have theirs: F = Z A.

    ``A = inv(Z_l' Z_l / l + gamma Z'LZ / n) Z_l' Y / l`` with l labeled rows (section 3 of the
    paper, sums replaced by means).

    Parameters
    ----------
    graph
        Over all rows, those with labels included.
    Z
        csr_array of shape (n_labeled, n_anchors): weights of the labeled rows.
    Y
        ndarray of shape (n_labeled, n_classes): 1 at the row's class, else 0.
    row_weights
        ndarray of shape (n_labeled,); None for equal ones.

    Returns
    -------
    ndarray of shape (n_anchors, n_classes)
        What a row's classes come to sums to nearly 1 where labels reach it, and to nearly 0 where
        they do not.
    """
    share = np.full(Z.shape[0], 1.0) if row_weights is None else row_weights
    weighted = Z.T * (share / share.sum())
    system = (weighted @ Z).toarray() + GAMMA * graph.laplacian
    system[np.diag_indices_from(system)] += _RIDGE
    A: NDArray[np.float64] = cho_solve(cho_factor(system, lower=True), weighted @ Y)
    return A
