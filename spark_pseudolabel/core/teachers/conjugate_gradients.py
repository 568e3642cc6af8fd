"""Conjugate gradients for graphs, helped by a coarse problem of the means over cells of rows.

What a label says travels one hop with each product. The means over a thousand cells of rows solve
a problem of their own, directly, which carries it across the whole graph at once; those over runs
of rows within a cell carry it some way: the additive method of Schwarz on three levels, with the
coarse spaces of Nicolaides (1987).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, diags_array

from spark_pseudolabel.core.teachers.neighbor_search import RUN

Floats = NDArray[np.float64]
Operator = Callable[[Floats], Floats]

Tell = Callable[[int, float], None]
"""Is told how many products were made, and the change or the residual by now."""

Item = TypeVar("Item")
Solved = TypeVar("Solved")

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
        """Return an approximate inverse of D - W over the free nodes, shape (n,) of bool.

        It takes and gives ndarrays of shape (n,).
        """
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
        of_run = self._between(runs, free).diagonal()
        of_run = np.divide(1.0, of_run, out=np.zeros_like(of_run), where=of_run > 0)
        of_node = free / np.where(self.degree > 0, self.degree, 1.0)

        def apply(r: Floats) -> Floats:
            coarse = cho_solve(factor, np.add.reduceat(r, cells[:-1]))
            spread: Floats = np.repeat(coarse, np.diff(cells))
            finer = np.add.reduceat(r, runs[:-1]) * of_run
            spread += np.repeat(finer, np.diff(runs))
            spread *= free
            spread += of_node * r
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


class Threads:
    """Threads that each solve a part of a problem, with what they tell put together.

    Numpy and scipy let go of the interpreter's lock where the work is. A part is solved by one
    thread and knows nothing of the others: how many there are does not change a bit of it.

    Parameters
    ----------
    n_threads
        How many.
    tell
        Is told the products of all of them together, and the residual of the one that made the
        last.
    """

    def __init__(self, n_threads: int, tell: Tell):
        self._n_threads = n_threads
        self._tell = tell
        self._lock, self._ended, self._products = Lock(), Event(), 0

    def tell(self, _: int, residual: float) -> None:
        """Take note of a product.

        Raises
        ------
        CancelledError
            If nobody waits for the result any longer.
        """
        if self._ended.is_set():
            raise CancelledError
        with self._lock:
            self._products += 1
            self._tell(self._products, residual)

    def solve(self, one: Callable[[Item], Solved], parts: Sequence[Item]) -> Iterator[Solved]:
        """Yield what `one` makes of every part, in their order."""
        with ThreadPoolExecutor(max(1, min(self._n_threads, len(parts)))) as pool:
            try:
                yield from pool.map(one, parts)
            except BaseException:  # such as Ctrl-C, which the main thread gets
                self._ended.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def conjugate_gradients(
    apply: Operator, precondition: Operator, b: Floats, tol: float, max_iter: int, tell: Tell
) -> Floats:
    """Solve A x = b.

    Parameters
    ----------
    apply
        A times a vector; symmetric, not negative.
    precondition
        An approximate inverse of it, symmetric and positive.
    b
        ndarray of shape (n,).
    tol
        Ends where the norm of the residual is at most `tol` times that of b.
    max_iter
        Most products.
    tell
        Is told the number of products, and the relative residual.

    Returns
    -------
    ndarray of shape (n,)
    """
    x, r, held = np.zeros_like(b), b.copy(), np.empty_like(b)
    scale = _dot(b, b) ** 0.5 or 1.0
    z = precondition(r)
    d = z.copy()
    rz = _dot(r, z)
    for number in range(1, max_iter + 1):
        residual = _dot(r, r) ** 0.5 / scale
        if residual <= tol:
            break
        product = apply(d)
        curvature = _dot(d, product)
        if curvature <= 0:
            break
        x += np.multiply(d, rz / curvature, out=held)
        r -= np.multiply(product, rz / curvature, out=held)
        tell(number, residual)
        z = precondition(r)
        following = _dot(r, z)
        d *= following / rz
        d += z
        rz = following
    return x


def harmonic(
    cells: CoarseCells, free: NDArray[np.bool_], tol: float, max_iter: int, tell: Tell
) -> Operator:
    """Return what gives free nodes the weighted means of their neighbors.

    Parameters
    ----------
    cells
        Those of the graph.
    free
        ndarray of shape (n,): nodes whose value is looked for.
    tol, max_iter, tell
        As in :func:`conjugate_gradients`.

    Returns
    -------
    callable
        Takes the values of the other nodes, with zeros at the free ones, and returns those of the
        free ones; ndarrays of shape (n,).
    """
    precondition = cells.preconditioner(free)

    def apply(x: Floats) -> Floats:
        return cells.degree * x - np.where(free, cells.W @ x, 0.0)

    def solve(given: Floats) -> Floats:
        b = np.where(free, cells.W @ given, 0.0)
        return conjugate_gradients(apply, precondition, b, tol, max_iter, tell)

    return solve


def _dot(a: Floats, b: Floats) -> float:
    # Not by BLAS, which sums in another order with another number of threads.
    return float(np.einsum("i,i->", a, b))
