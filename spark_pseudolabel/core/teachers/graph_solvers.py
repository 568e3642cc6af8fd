"""Labels spread over a graph: clamped propagation, spreading, and Poisson learning.

Each solver takes several sets of labels, such as those of the folds, and gives the probabilities of
all nodes for one set after the other. A node in a connected component without a label, or that no
label has reached, gets the probability 0 for each class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from spark_pseudolabel.core.teachers.conjugate_gradients import (
    CoarseCells,
    Tell,
    Threads,
    conjugate_gradients,
    harmonic,
)
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph

Floats = NDArray[np.float64]
Probabilities = NDArray[np.float32]

_SOLVED_AT_ONCE, _SOLUTIONS = 2**25, 2**27
"""Values that are solved for by all threads together, whose conjugate gradients hold nine arrays of
so many numbers, and values of solutions that are held at once: 1 GiB."""

MEDIAN_ODDS = 9.0
"""Odds of the likelier of two classes in the row whose scores differ as those of the median row."""

LEAST_SCALE = 1e-6
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


@dataclass(frozen=True)
class Sources:
    """Where a right-hand side is not 0: at some nodes, and its values there; both of shape (n,)."""

    nodes: NDArray[np.int32]
    values: Floats

    def everywhere(self, n_nodes: int) -> Floats:
        """Return it for all nodes."""
        b = np.zeros(n_nodes)
        b[self.nodes] = self.values
        return b


@dataclass(frozen=True)
class Units:
    """Right-hand sides of which all are made that sum to 0 over the labels of each component.

    Each is 1 at a labeled node, and -1 at the first one of its component.

    Parameters
    ----------
    nodes
        ndarray of shape (n_units,): ascending.
    first
        ndarray of shape (n_units,): the first labeled node of the component of each.
    """

    nodes: NDArray[np.int32]
    first: NDArray[np.int32]

    @classmethod
    def of(cls, nodes: NDArray[np.int32], graph: NeighborGraph) -> Units:
        """Return those of labeled nodes, ascending."""
        _, first, of_node = np.unique(
            graph.components[nodes], return_index=True, return_inverse=True
        )
        others = np.setdiff1d(np.arange(len(nodes)), first)
        return cls(nodes[others], nodes[first[of_node[others]]])

    def __len__(self) -> int:
        """How many there are."""
        return len(self.nodes)

    @property
    def sources(self) -> list[Sources]:
        """Each of them."""
        return [
            Sources(np.array(pair), np.array([1.0, -1.0]))
            for pair in zip(self.nodes, self.first, strict=True)
        ]

    @property
    def most_error(self) -> float:
        """By what the relative residual of a sum is at most larger than that of each of them.

        With shares s at the units' own nodes, the residual is at most tol sqrt(2) |s|_1, and the
        norm of the sum at least |s|_2 >= |s|_1 / sqrt(n_units).
        """
        return float(np.sqrt(2.0 * max(1, len(self))))

    def shares(self, sources: Sources) -> Floats:
        """Return what each contributes to others, shape (n_units,)."""
        place = np.minimum(np.searchsorted(sources.nodes, self.nodes), len(sources.nodes) - 1)
        shares: Floats = np.where(sources.nodes[place] == self.nodes, sources.values[place], 0.0)
        return shares


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

    def threads(self) -> Threads:
        """Return as many threads as there are cores, fewer for a large graph."""
        return Threads(min(cpu_count(), _SOLVED_AT_ONCE // self.graph.n_nodes), self.tell)

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
        threads, alone = self.threads(), Threads(1, self.tell)
        if len(sets) == 1:
            yield self._of_set(cells, threads, threads, sets[0])
        else:
            yield from threads.solve(
                lambda labels: self._of_set(cells, threads, alone, labels), sets
            )

    def _of_set(
        self, cells: CoarseCells, told: Threads, columns: Threads, labels: Labels
    ) -> Probabilities:
        certain, known = _one_class(self.graph.components, labels, self.n_classes)
        free = ~known
        free[labels.nodes] = False
        certain[labels.nodes] = self.one_hot(labels)[labels.nodes]
        if free.any():
            solve = harmonic(cells, free, self.tol / 1000, self.max_iter, told.tell)
            # The last class has what the others leave.
            for code, x in enumerate(columns.solve(solve, list(certain[:, :-1].T))):
                certain[free, code] = np.clip(x[free], 0.0, 1.0)
            certain[free, -1] = np.clip(1.0 - certain[free, :-1].sum(axis=1), 0.0, 1.0)
        return _normalized(certain).astype(np.float32)


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
        """Solve for some sets of labels at a time.

        Solutions are linear in b. Where there are fewer labeled rows than sets and classes, one
        solution for each row makes up all of them, and knows no label.
        """
        degree = np.asarray(self.W.sum(axis=1)).ravel()
        precondition = CoarseCells(self.W, degree, self.graph.starts).preconditioner(
            np.ones(len(degree), dtype=bool)
        )
        at_once = max(1, _SOLUTIONS // len(degree))

        def solve(sources: Sources, tol: float = self.tol / 1000) -> Floats:
            b = sources.everywhere(len(degree))
            return self._centered(
                conjugate_gradients(apply, precondition, b, tol, self.max_iter, threads.tell),
                degree,
            )

        def apply(x: Floats) -> Floats:
            product: Floats = degree * x - self.W @ x
            return product

        threads = self.threads()
        wanted = [self._sources(labels) for labels in sets]
        units = Units.of(np.unique(np.concatenate([labels.nodes for labels in sets])), self.graph)
        if len(units) < min(len(sets) * (self.n_classes - 1), at_once):
            solve_unit = partial(solve, tol=self.tol / 1000 / units.most_error)
            solutions = np.array(list(threads.solve(solve_unit, units.sources))).reshape(
                len(units), len(degree)
            )
            for labels, columns in zip(sets, wanted, strict=True):
                shares = np.stack([units.shares(column) for column in columns])
                yield self._scores(shares @ solutions, labels)
            return
        step = max(1, at_once // (self.n_classes - 1))
        for start in range(0, len(sets), step):
            columns = [column for of_set in wanted[start : start + step] for column in of_set]
            solved = threads.solve(solve, columns)
            for labels in sets[start : start + step]:
                X = np.stack([next(solved) for _ in range(self.n_classes - 1)])
                yield self._scores(X, labels)

    def _sources(self, labels: Labels) -> list[Sources]:
        """Return b of each class but the last."""
        nodes, place = np.unique(labels.nodes, return_inverse=True)
        y = np.zeros((len(nodes), self.n_classes))
        np.add.at(y, (place, labels.codes), 1.0)
        y = _normalized(y)
        _, of_label = np.unique(self.graph.components[nodes], return_inverse=True)
        sums = np.zeros((of_label.max(initial=-1) + 1, self.n_classes))
        np.add.at(sums, of_label, y)
        means = sums / sums.sum(axis=1, keepdims=True)
        return [Sources(nodes, column) for column in (y - means[of_label]).T[:-1]]

    def _centered(self, x: Floats, degree: Floats) -> Floats:
        """Take its weighted mean over the component of each node from a column."""
        components = self.graph.components
        total = np.maximum(np.bincount(components, degree), np.finfo(np.float64).tiny)
        centered: Floats = x - (np.bincount(components, degree * x) / total)[components]
        return centered

    def _scores(self, X: Floats, labels: Labels) -> Probabilities:
        """Make probabilities of the solutions for all classes but the last."""
        certain, known = _one_class(self.graph.components, labels, self.n_classes)
        U = np.concatenate([X, -X.sum(axis=0, keepdims=True)]).T[~known]
        if len(U):
            highest = np.partition(U, self.n_classes - 2, axis=1)[:, -2:]
            apart = highest[:, 1] - highest[:, 0]
            # Most rows may be as near to one class as to another.
            scale = max(np.median(apart), apart.max() * LEAST_SCALE, np.finfo(np.float64).tiny)
            U = U * (np.log(MEDIAN_ODDS) / scale)
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
