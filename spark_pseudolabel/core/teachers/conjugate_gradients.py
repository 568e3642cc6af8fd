"""Conjugate gradients for graphs, helped by a coarse problem of the means over cells of rows.

What a label says travels one hop with each product. The means over a thousand cells of rows solve
a problem of their own, directly, which carries it across the whole graph at once; those over runs
of rows within a cell carry it some way: the additive method of Schwarz on three levels, with the
coarse spaces of Nicolaides (1987).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, diags_array

from spark_pseudolabel.core.teachers.neighbor_search import RUN

Floats = NDArray[np.float64]
Operator = Callable[[Floats], Floats]

MAX_CELLS = 4096
_SHIFT = 1e-7


@dataclass(frozen=True)
class CoarseCells:
    """The cells of a graph's nodes.

    Parameters
    ----------
    W
        Symmetric weights of shape (n, n), with a diagonal of zeros.
    degree
        ndarray of shape (n,): its row sums; 0 only of a node without a neighbor.
    starts
        ndarray of shape (n_cells + 1,): where each cell of nodes begins.
    """

    W: csr_array
    degree: Floats
    starts: NDArray[np.int64]

    def preconditioner(self, free: NDArray[np.bool_]) -> Operator:
        """Return an approximate inverse of D - W over the free nodes, shape (n,) of bool."""
        n = len(self.degree)
        cells = self.starts[:: -(-(len(self.starts) - 1) // MAX_CELLS)]
        cells = np.append(cells, n) if cells[-1] != n else cells
        matrix = self._between(cells, free).toarray()
        on_diagonal = matrix.diagonal()
        matrix[np.diag_indices_from(matrix)] = np.where(
            on_diagonal > 0, on_diagonal * (1 + _SHIFT), 1.0
        )
        factor = cho_factor(matrix, lower=True)
        in_cell = np.arange(n) - np.repeat(self.starts[:-1], np.diff(self.starts))
        runs = np.append(np.flatnonzero(in_cell % RUN == 0), n)
        of_run = self._between(runs, free).diagonal()[:, np.newaxis]
        of_run = np.divide(1.0, of_run, out=np.zeros_like(of_run), where=of_run > 0)
        of_node = (free / np.where(self.degree > 0, self.degree, 1.0))[:, np.newaxis]
        is_free = free[:, np.newaxis]

        def apply(R: Floats) -> Floats:
            coarse = cho_solve(factor, np.add.reduceat(R, cells[:-1], axis=0))
            spread: Floats = np.repeat(coarse, np.diff(cells), axis=0)
            finer = np.add.reduceat(R, runs[:-1], axis=0) * of_run
            spread += np.repeat(finer, np.diff(runs), axis=0)
            spread *= is_free
            spread += of_node * R
            return spread

        return apply

    def _between(self, starts: NDArray[np.int64], free: NDArray[np.bool_]) -> csr_array:
        """Return the sums of D - W over free nodes within and between ranges of nodes."""
        n_ranges = len(starts) - 1
        range_of = np.repeat(np.arange(n_ranges), np.diff(starts))
        P = csr_array(
            (free.astype(np.float64), (np.arange(len(free)), range_of)), (len(free), n_ranges)
        )
        degree = np.bincount(range_of, self.degree * free, n_ranges)
        return diags_array(degree).tocsr() - P.T @ (self.W @ P)


def conjugate_gradients(
    apply: Operator,
    precondition: Operator,
    B: Floats,
    tol: float,
    max_iter: int,
    tell: Callable[[int, float], None],
) -> Floats:
    """Solve A X = B, every column by itself: what is in the others does not change a bit of it.

    Parameters
    ----------
    apply
        A times some columns; symmetric, not negative.
    precondition
        An approximate inverse of it, symmetric and positive.
    B
        ndarray of shape (n, n_columns).
    tol
        A column is done where the norm of its residual is at most `tol` times that of B's.
    max_iter
        Most products.
    tell
        Is told the number of products, and the largest relative residual.

    Returns
    -------
    ndarray of shape (n, n_columns)
    """
    X, R = np.zeros_like(B), B.copy()
    scale = np.linalg.norm(B, axis=0)
    scale[scale == 0] = 1.0
    Z = precondition(R)
    D = Z.copy()
    rz = np.einsum("ij,ij->j", R, Z)
    for number in range(1, max_iter + 1):
        residual = np.linalg.norm(R, axis=0) / scale
        going = residual > tol
        if not going.any():
            break
        product = apply(D)
        curvature = np.einsum("ij,ij->j", D, product)
        step = np.divide(rz, curvature, out=np.zeros_like(rz), where=going & (curvature > 0))
        X += step * D
        R -= step * product
        tell(number, float(residual.max()))
        Z = precondition(R)
        following = np.einsum("ij,ij->j", R, Z)
        D *= np.divide(following, rz, out=np.zeros_like(rz), where=rz > 0)
        D += Z
        rz = following
    return X
