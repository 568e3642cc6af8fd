"""Conjugate gradients for graphs, helped by a coarse problem of the means over cells of rows.

What a label says travels one hop with each product. The means over a thousand cells of rows solve
a problem of their own, directly, which carries it across the whole graph at once: the additive
two-level method of Schwarz, with the coarse space of Nicolaides (1987).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

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
        ndarray of shape (n,): its row sums, all positive.
    starts
        ndarray of shape (n_cells + 1,): where each cell of nodes begins.
    """

    W: csr_array
    degree: Floats
    starts: NDArray[np.int64]

    def preconditioner(self, free: NDArray[np.bool_]) -> Operator:
        """Return an approximate inverse of D - W over the free nodes, shape (n,) of bool."""
        n = len(self.degree)
        starts = self.starts[:: -(-(len(self.starts) - 1) // MAX_CELLS)]
        if starts[-1] != n:
            starts = np.append(starts, n)
        cell_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        P = csr_array((free.astype(np.float64), (np.arange(n), cell_of)))
        matrix = -(P.T @ (self.W @ P)).toarray()
        on_diagonal = np.bincount(cell_of, self.degree * free, len(starts) - 1)
        matrix[np.diag_indices_from(matrix)] += on_diagonal * (1 + _SHIFT) + (on_diagonal == 0)
        factor = cho_factor(matrix, lower=True)
        scale = (free / self.degree)[:, np.newaxis]

        def apply(R: Floats) -> Floats:
            coarse = cho_solve(factor, np.add.reduceat(R, starts[:-1], axis=0))
            spread: Floats = np.repeat(coarse, np.diff(starts), axis=0)
            spread *= free[:, np.newaxis]
            spread += scale * R
            return spread

        return apply


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
