"""Labels spread over a graph: clamped propagation, spreading, and Poisson learning.

Each solver takes several sets of labels, such as those of the folds, and gives the probabilities of
all nodes for one set after the other. A node in a connected component without a label, or that no
label has reached, gets the probability 0 for each class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from spark_pseudolabel.core.teachers.conjugate_gradients import CoarseCells, conjugate_gradients
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph

Floats = NDArray[np.float64]
Probabilities = NDArray[np.float32]
Tell = Callable[[int, float], None]
"""Is told how many products were made, and the change or the residual by now."""

_COLUMNS, _VALUES = 16, 2**25
"""Right-hand sides that are solved together, and their values: more take more memory and hardly
less time. Conjugate gradients hold eight arrays of so many numbers."""

_MEDIAN_ODDS = 9.0
"""Odds of the likelier of two classes in the row whose scores differ as those of the median row."""

_LEAST_SCALE = 1e-6
"""The median counts as at least so much of the largest difference."""


@dataclass(frozen=True)
class Labels:
    """Some labels.

    Parameters
    ----------
    nodes
        ndarray of shape (n,); one node may have several labels, those of rows that are alike.
    codes
        ndarray of shape (n,): their class indices.
    """

    nodes: NDArray[np.int32]
    codes: NDArray[np.int32]


def _silent(products: int, change: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Solver(ABC):
    """A way to spread labels.

    Parameters
    ----------
    graph
        The rows.
    n_classes
        Number of classes.
    max_iter
        Most products of the matrix and the scores, for each set of labels.
    tol
        When to stop before; see the kinds.
    tell
        Is told about progress.
    """

    graph: NeighborGraph
    n_classes: int
    max_iter: int
    tol: float
    tell: Tell = field(default=_silent)

    @abstractmethod
    def solve(self, sets: Sequence[Labels]) -> Iterator[Probabilities]:
        """Yield the probabilities by each set of labels, of shape (n_nodes, n_classes)."""

    def one_hot(self, labels: Labels) -> Floats:
        """Return the shares of each node's labels, 0 without any; (n_nodes, n_classes)."""
        Y = np.zeros((self.graph.n_nodes, self.n_classes))
        np.add.at(Y, (labels.nodes, labels.codes), 1.0)
        return _normalized(Y)


@dataclass(frozen=True)
class Products(Solver):
    """Propagation or spreading by products, as scikit-learn does them.

    Ends where probabilities change by less than `tol` in all; of more than a thousand rows each may
    change as much. A row that a label has just reached changes by 1.

    Parameters
    ----------
    matrix
        What scores are multiplied by: D^-1 W, or D^-1/2 W D^-1/2, of shape (n, n).
    alpha
        Share of what comes from the neighbors, in (0, 1); None: labels are clamped instead, and
        the others' scores sum to 1.
    """

    matrix: csr_array = field(default_factory=lambda: csr_array((0, 0)))
    alpha: float | None = None

    def solve(self, sets: Sequence[Labels]) -> Iterator[Probabilities]:
        """Spread one set of labels after the other."""
        enough = self.tol * max(1.0, self.graph.n_nodes / 1000)
        for labels in sets:
            F = Y = P = self.one_hot(labels)
            for number in range(1, self.max_iter + 1):
                F, before = self._step(F, Y, labels), P
                P = _normalized(F)
                change = float(np.abs(P - before).sum())
                self.tell(number, change)
                if change < enough:
                    break
            yield P.astype(np.float32)

    def _step(self, F: Floats, Y: Floats, labels: Labels) -> Floats:
        following: Floats = self.matrix @ F
        if self.alpha is not None:
            return self.alpha * following + (1 - self.alpha) * Y
        following = _normalized(following)
        following[labels.nodes] = Y[labels.nodes]
        return following


@dataclass(frozen=True)
class Harmonic(Solver):
    """Clamped propagation solved to its end: u is the mean of its neighbors', labels are given.

    Products come as far as the labels are hops away, and converge with the square of that; this
    takes conjugate gradients on D - W over the rows without a label, up to the residual
    ``tol / 1000``.

    Parameters
    ----------
    W
        Symmetric weights of shape (n, n), with a diagonal of zeros.
    """

    W: csr_array = field(default_factory=lambda: csr_array((0, 0)))

    def solve(self, sets: Sequence[Labels]) -> Iterator[Probabilities]:
        """Solve for one set of labels after the other.

        None begins from the one before: what is left of a residual would tell a hidden label.
        """
        degree = np.asarray(self.W.sum(axis=1)).ravel()
        cells = CoarseCells(self.W, degree, self.graph.starts)
        for labels in sets:
            certain, known = _one_class(self.graph.components, labels, self.n_classes)
            free = ~known
            free[labels.nodes] = False
            certain[labels.nodes] = self.one_hot(labels)[labels.nodes]
            # The last class has what the others leave.
            B = np.where(free[:, np.newaxis], self.W @ certain[:, :-1], 0.0)

            def apply(X: Floats, free: NDArray[np.bool_] = free) -> Floats:
                return degree[:, np.newaxis] * X - np.where(free[:, np.newaxis], self.W @ X, 0.0)

            coarse = cells.preconditioner(free)
            X = B
            if free.any():
                X = conjugate_gradients(apply, coarse, B, self.tol / 1000, self.max_iter, self.tell)
            P = certain
            P[free, :-1] = np.clip(X[free], 0.0, 1.0)
            P[free, -1] = np.clip(1.0 - P[free, :-1].sum(axis=1), 0.0, 1.0)
            yield _normalized(P).astype(np.float32)


@dataclass(frozen=True)
class Poisson(Solver):
    """Poisson learning (Calder, Cook, Thorpe and Slepcev, 2020).

    Solves (D - W) u = b with b = y - mean(y) at the labels and 0 elsewhere, the mean taken over the
    labels of a connected component, up to the residual ``tol / 1000``; in every component the mean
    of u, weighted by D, is 0. A component with labels of one class gets this class.

    Scores are of no scale. Probabilities are proportional to exp(s u), with s such that the median
    over the rows of the difference of the two highest scores makes odds of 9 to 1: they order rows,
    and say nothing about how often they are right.

    Parameters
    ----------
    W
        As of :class:`Harmonic`.
    """

    W: csr_array = field(default_factory=lambda: csr_array((0, 0)))

    def solve(self, sets: Sequence[Labels]) -> Iterator[Probabilities]:
        """Solve for some sets of labels at a time."""
        degree = np.asarray(self.W.sum(axis=1)).ravel()
        anywhere = np.ones(len(degree), dtype=bool)
        coarse = CoarseCells(self.W, degree, self.graph.starts).preconditioner(anywhere)
        n_columns = self.n_classes - 1
        most = min(_COLUMNS, _VALUES // len(degree))
        at_once = max(1, most // n_columns)

        def apply(X: Floats) -> Floats:
            product: Floats = degree[:, np.newaxis] * X - self.W @ X
            return product

        for start in range(0, len(sets), at_once):
            some = sets[start : start + at_once]
            B = np.concatenate([self._sources(labels)[:, :-1] for labels in some], axis=1)
            X = B
            if B.any():
                X = conjugate_gradients(apply, coarse, B, self.tol / 1000, self.max_iter, self.tell)
            X -= self._means(X, degree)
            for number, labels in enumerate(some):
                yield self._scores(X[:, number * n_columns : (number + 1) * n_columns], labels)

    def _sources(self, labels: Labels) -> Floats:
        """Return b, of shape (n_nodes, n_classes)."""
        nodes = np.unique(labels.nodes)
        _, of_label = np.unique(self.graph.components[nodes], return_inverse=True)
        y = self.one_hot(labels)[nodes]
        sums = np.zeros((of_label.max(initial=-1) + 1, self.n_classes))
        np.add.at(sums, of_label, y)
        means = sums / sums.sum(axis=1, keepdims=True)
        B = np.zeros((self.graph.n_nodes, self.n_classes))
        B[nodes] = y - means[of_label]
        return B

    def _means(self, X: Floats, degree: Floats) -> Floats:
        """Return the weighted mean of each column over the component of each node."""
        components = self.graph.components
        total = np.maximum(np.bincount(components, degree), np.finfo(np.float64).tiny)
        columns = [np.bincount(components, degree * column) / total for column in X.T]
        means: Floats = np.stack(columns, axis=1)[components]
        return means

    def _scores(self, X: Floats, labels: Labels) -> Probabilities:
        certain, known = _one_class(self.graph.components, labels, self.n_classes)
        U = np.concatenate([X, -X.sum(axis=1, keepdims=True)], axis=1)[~known]
        if len(U):
            highest = np.partition(U, self.n_classes - 2, axis=1)[:, -2:]
            apart = highest[:, 1] - highest[:, 0]
            # Most rows may be as near to one class as to another.
            scale = max(np.median(apart), apart.max() * _LEAST_SCALE, np.finfo(np.float64).tiny)
            U = U * (np.log(_MEDIAN_ODDS) / scale)
            U = np.exp(U - U.max(axis=1, keepdims=True))
            certain[~known] = U / U.sum(axis=1, keepdims=True)
        return certain.astype(np.float32)


def make_solver(
    graph: NeighborGraph,
    n_classes: int,
    method: str,
    *,
    gaussian: bool,
    alpha: float,
    max_iter: int,
    tol: float,
    tell: Tell = _silent,
) -> Solver:
    """Return the solver of a method.

    Parameters
    ----------
    graph, n_classes, max_iter, tol, tell
        See :class:`Solver`.
    method
        ``propagation``, ``spreading`` or ``poisson``.
    gaussian
        Weights by distance. Else 1, and for propagation and spreading the graph is the directed one
        of scikit-learn.
    alpha
        Of spreading.
    """
    common = (graph, n_classes, max_iter, tol, tell)
    if method == "poisson":
        return Poisson(*common, W=graph.symmetric(gaussian))
    if method == "propagation" and gaussian:
        return Harmonic(*common, W=graph.symmetric(gaussian))
    W = graph.symmetric(gaussian) if gaussian else graph.directed()
    if method == "spreading":
        return Products(*common, matrix=normalized_adjacency(W), alpha=alpha)
    return Products(*common, matrix=diags_array(1.0 / W.sum(axis=1)) @ W)


def normalized_adjacency(W: csr_array) -> csr_array:
    """Return D^-1/2 W D^-1/2 without its diagonal, D the column sums of W without it."""
    W = W - diags_array(W.diagonal())
    degree = np.asarray(W.sum(axis=0)).ravel()
    scale = diags_array(1.0 / np.sqrt(np.where(degree > 0, degree, 1.0)))
    return (scale @ W @ scale).tocsr()


def _one_class(
    components: NDArray[np.int32], labels: Labels, n_classes: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the probabilities of nodes whose component has labels of one class, or none.

    Returns
    -------
    tuple
        Probabilities of shape (n_nodes, n_classes), 0 for other nodes, and which nodes these are.
    """
    has = np.zeros((components.max() + 1, n_classes), dtype=bool)
    has[components[labels.nodes], labels.codes] = True
    known = has.sum(axis=1) < 2
    return (has & known[:, np.newaxis])[components].astype(np.float64), known[components]


def _normalized(F: Floats) -> Floats:
    total = F.sum(axis=1, keepdims=True)
    return F / np.where(total > 0, total, 1.0)
