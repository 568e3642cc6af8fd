"""Equations of a graph solved block by block: conjugate gradients with one exchange a step.

The same equations, residuals and help by coarse cells as in :mod:`.conjugate_gradients`. Steps are
put together otherwise: what a step has to know of all blocks is summed up at one place of it, so
that blocks meet once for each product. For that, the length of the next residual under the
preconditioner is not measured but follows from products of the present one and its change.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from spark_pseudolabel.core.teachers.block_labels import LabelSets, Reached
from spark_pseudolabel.core.teachers.block_scheme import Course, Scheme, Told
from spark_pseudolabel.core.teachers.graph_blocks import (
    Block,
    Integers,
    Numbering,
    local_components,
    runs_of,
)

Floats = NDArray[np.float64]

_SHIFT = 1e-7


@dataclass(frozen=True)
class CellSums:
    """What edges of a block add to the matrix between cells.

    Parameters
    ----------
    rows, columns, values
        ndarrays of shape (n,): each pair of cells once.
    """

    rows: Integers
    columns: Integers
    values: Floats


@dataclass(frozen=True)
class Descent:
    """How far a block has come; all vectors are of shape (n, n_columns).

    Parameters
    ----------
    number
        Of the block.
    x, r
        The solution so far and its residual.
    p, q
        The direction of the last step, and the matrix times it.
    degree
        ndarray of shape (n,).
    free
        ndarray of bool, shape (n, n_sets): the nodes that have to be solved for.
    of_run
        ndarray of shape (n_runs,): inverse of the matrix between runs of nodes, its diagonal.
    """

    number: int
    x: Floats
    r: Floats
    p: Floats
    q: Floats
    degree: Floats
    free: NDArray[np.bool_]
    of_run: Floats


@dataclass(frozen=True)
class Step:
    """What all blocks do next.

    Parameters
    ----------
    alpha, beta
        ndarrays of shape (n_columns,): how far to go in the last direction, and how much of it
        stays in the next one.
    coarse
        ndarray of shape (n_cells, n_columns): what the cells' equations add to it.
    """

    alpha: Floats
    beta: Floats
    coarse: Floats


@dataclass(frozen=True)
class Products:
    """Sums over a block, each of shape (n_columns,), and over its cells.

    Parameters
    ----------
    rr, pq
        Of r times r, and p times q.
    rr_near, rq_near, qq_near
        Of r and q with what the preconditioner makes of them without the cells' equations.
    r_cells, q_cells
        ndarrays of shape (n_cells, n_columns): sums of r and q.
    """

    rr: Floats
    pq: Floats
    rr_near: Floats
    rq_near: Floats
    qq_near: Floats
    r_cells: Floats
    q_cells: Floats

    @classmethod
    def together(cls, parts: Sequence[Products]) -> Products:
        """Return the sums over all blocks, in their order."""
        names = ("rr", "pq", "rr_near", "rq_near", "qq_near")
        sums = (np.sum([getattr(part, name) for part in parts], axis=0) for name in names)
        cells = (np.concatenate([getattr(p, n) for p in parts]) for n in ("r_cells", "q_cells"))
        return cls(*sums, *cells)


@dataclass(frozen=True)
class Gradients(Scheme[Descent, Step, Products]):
    """Equations with the matrix D - W, of all sets of labels at once.

    Parameters
    ----------
    numbering
        Of all nodes.
    labels
        The sets.
    reached
        The components that have labels.
    """

    numbering: Numbering
    labels: LabelSets
    reached: Reached

    @abstractmethod
    def start(self, number: int, block: Block) -> Descent:
        """Return where a block begins, with `p` what the first exchange tells other blocks."""

    def sent(self, state: Descent, step: Step | None) -> Floats:
        """Return the next direction, which other blocks are to know."""
        return state.p if step is None else self._moved(state, step).p

    def advanced(self, state: Descent, block: Block, step: Step | None, outside: Floats) -> Descent:
        """Take a step, and multiply by the matrix; the first one has the right-hand side."""
        if step is not None:
            state = self._moved(state, step)
        product = block.matrix @ np.concatenate([state.p, outside])
        product[~self._free(state)] = 0.0
        if step is None:
            nothing = np.zeros_like(state.p)
            return replace(state, r=state.r + product, p=nothing)
        return replace(state, q=state.degree[:, np.newaxis] * state.p - product)

    def told(self, state: Descent) -> Products:
        """Return the sums that the next step follows from."""
        near = self._near(state, state.r)
        cells = self._cells(state.number)[:-1]
        return Products(
            rr=_dots(state.r, state.r),
            pq=_dots(state.p, state.q),
            rr_near=_dots(state.r, near),
            rq_near=_dots(state.q, near),
            qq_near=_dots(state.q, self._near(state, state.q)),
            r_cells=np.add.reduceat(state.r, cells, axis=0),
            q_cells=np.add.reduceat(state.q, cells, axis=0),
        )

    def cell_sums(self, number: int, block: Block) -> CellSums:
        """Sum D - W up over the nodes of each two cells, as far as they are to be solved for."""
        inside, outside = self._everywhere(block)
        both = np.concatenate([inside, outside])
        numbers = np.concatenate([np.arange(block.n_nodes) + block.first, block.outside])
        cells = self.numbering.cell_of(numbers)
        n_cells = len(self.numbering.cells) - 1
        weighing = inside[block.rows] & both[block.columns]
        keys = cells[block.rows] * n_cells + cells[block.columns]
        own = cells[: block.n_nodes]
        keys = np.concatenate([own * n_cells + own, keys[weighing]])
        values = np.concatenate([block.degree * inside, -block.weights[weighing]])
        pairs, place = np.unique(keys, return_inverse=True)
        sums = np.bincount(place, values).astype(np.float64)
        return CellSums(pairs // n_cells, pairs % n_cells, sums)

    @abstractmethod
    def _everywhere(self, block: Block) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which own and outside nodes are to be solved for, whatever the set."""

    def _moved(self, state: Descent, step: Step) -> Descent:
        x, r = state.x + step.alpha * state.p, state.r - step.alpha * state.q
        first, end = self.numbering.cell_of(self.numbering.blocks[state.number :][:2]).tolist()
        spread = np.repeat(step.coarse[first:end], np.diff(self._cells(state.number)), axis=0)
        spread[~self._free(state)] = 0.0
        p = step.beta * state.p + (self._near(state, r) + spread)
        return replace(state, x=x, r=r, p=p)

    def _near(self, state: Descent, r: Floats) -> Floats:
        """Apply the preconditioner without the cells' equations: each node's, and each run's."""
        runs = runs_of(self._cells(state.number))
        of_runs = np.add.reduceat(r, runs[:-1], axis=0) * state.of_run[:, np.newaxis]
        near = np.repeat(of_runs, np.diff(runs), axis=0)
        near += r / np.where(state.degree > 0, state.degree, 1.0)[:, np.newaxis]
        near[~self._free(state)] = 0.0
        return near

    def _free(self, state: Descent) -> NDArray[np.bool_]:
        return np.repeat(state.free, self.labels.n_classes - 1, axis=1)

    def _cells(self, number: int) -> Integers:
        """Return where the cells of a block begin in it, and its end."""
        low, high = self.numbering.blocks[number : number + 2].tolist()
        first, end = np.searchsorted(self.numbering.cells, [low, high]).tolist()
        cells: Integers = self.numbering.cells[first : end + 1] - low
        return cells

    def _of_run(self, number: int, block: Block) -> Floats:
        inside, _ = self._everywhere(block)
        runs = runs_of(self._cells(number))
        run_of = np.repeat(np.arange(len(runs) - 1), np.diff(runs))
        within = block.columns < block.n_nodes
        rows, columns = block.rows[within], block.columns[within]
        both = (run_of[rows] == run_of[columns]) & inside[rows] & inside[columns]
        sums = np.bincount(run_of, block.degree * inside, minlength=len(runs) - 1)
        sums -= np.bincount(run_of[rows[both]], block.weights[within][both], len(runs) - 1)
        return np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)

    def _certain(self, number: int, block: Block) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the shares of settled components, and which nodes are in one, by set."""
        of_node = self.reached.of_nodes(number, local_components(block))
        without = np.zeros((1, self.labels.n_sets), dtype=bool)
        settled = np.concatenate([self.reached.settled, ~without])[of_node]
        classes = np.concatenate([self.reached.has, without[:, :, np.newaxis] & self._no_class])
        return (classes[of_node] & settled[:, :, np.newaxis]).astype(np.float64), settled

    @property
    def _no_class(self) -> NDArray[np.bool_]:
        return np.zeros(self.labels.n_classes, dtype=bool)

    def _begun(self, number: int, block: Block, free: NDArray[np.bool_]) -> Descent:
        shape = (block.n_nodes, self.labels.n_sets * (self.labels.n_classes - 1))
        x, r, p, q = (np.zeros(shape) for _ in range(4))
        return Descent(
            number=number,
            x=x,
            r=r,
            p=p,
            q=q,
            degree=block.degree,
            free=free,
            of_run=self._of_run(number, block),
        )

    def _columns(self, values: Floats) -> Floats:
        """Return the columns of all classes but the last one, which has what the others leave."""
        columns: Floats = values[:, :, :-1].reshape(len(values), -1)
        return columns

    def _by_class(self, x: Floats) -> Floats:
        """Return columns as an array of shape (n, n_sets, n_classes - 1)."""
        return x.reshape(len(x), self.labels.n_sets, -1)


@dataclass(frozen=True)
class HarmonicBlocks(Gradients):
    """Clamped propagation; see :class:`~.graph_solvers.Harmonic`."""

    def start(self, number: int, block: Block) -> Descent:
        """Begin with what labels say; see :meth:`Gradients.start`."""
        certain, free = self._known(number, block)
        return replace(self._begun(number, block, free), p=self._columns(certain))

    def scores(self, state: Descent, block: Block) -> Floats:
        """Return the probabilities, of shape (n, n_sets, n_classes)."""
        P, free = self._known(state.number, block)
        solved = np.clip(self._by_class(state.x), 0.0, 1.0)
        last = np.clip(1.0 - solved.sum(axis=2, keepdims=True), 0.0, 1.0)
        P[free] = np.concatenate([solved, last], axis=2)[free]
        total = P.sum(axis=2, keepdims=True)
        normalized: Floats = P / np.where(total > 0, total, 1.0)
        return normalized

    def _known(self, number: int, block: Block) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the shares that are given, and which nodes are free."""
        certain, settled = self._certain(number, block)
        self.labels.put(certain, block.first)
        return certain, ~settled & self.labels.unlabeled(block.first, block.n_nodes)

    def _everywhere(self, block: Block) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        # A label that is hidden from one set counts as one here: this only helps, and one matrix
        # serves all sets.
        labeled = self.labels.nodes
        own = np.arange(block.n_nodes) + block.first
        return np.isin(own, labeled, invert=True), np.isin(block.outside, labeled, invert=True)


@dataclass(frozen=True)
class Scaled:
    """What scores of Poisson's equation become probabilities by.

    Parameters
    ----------
    means
        ndarray of shape (n_components, n_columns): weighted by the degree, from where scores count.
    factor
        ndarray of shape (n_sets,).
    """

    means: Floats
    factor: Floats


@dataclass(frozen=True)
class PoissonBlocks(Gradients):
    """Poisson learning; see :class:`~.graph_solvers.Poisson`."""

    def start(self, number: int, block: Block) -> Descent:
        """Begin with the sources; see :meth:`Gradients.start`."""
        everywhere = np.ones((block.n_nodes, self.labels.n_sets), dtype=bool)
        sources = np.zeros((*everywhere.shape, self.labels.n_classes))
        self.labels.put(sources, block.first)
        labeled = sources.any(axis=2)
        of_node = self.reached.of_nodes(number, local_components(block))
        sources[labeled] -= self.reached.means[of_node][labeled]
        return replace(self._begun(number, block, everywhere), r=self._columns(sources))

    def component_sums(self, state: Descent, block: Block) -> tuple[Integers, Floats]:
        """Sum degrees, and scores that weigh as much, up over each component in a block.

        Returns
        -------
        tuple
            Components, and sums of shape (n, 1 + n_columns).
        """
        of_node = self.reached.of_nodes(state.number, local_components(block))
        has = of_node >= 0
        components, place = np.unique(of_node[has], return_inverse=True)
        weighing = state.degree[has]
        values = [weighing, *(state.x[has].T * weighing)]
        sums = [np.bincount(place, column, minlength=len(components)) for column in values]
        return components.astype(np.int64), np.stack(sums, axis=1)

    def apart(self, state: Descent, block: Block, means: Floats) -> list[NDArray[np.float32]]:
        """Return, set by set, how far apart the two highest scores of nodes are.

        Of nodes whose component has labels of two classes; the others need no scores.
        """
        U, settled = self._scores(state, block, means)
        highest = np.partition(U, self.labels.n_classes - 2, axis=2)[:, :, -2:]
        apart = (highest[:, :, 1] - highest[:, :, 0]).astype(np.float32)
        return [column[~known] for column, known in zip(apart.T, settled.T, strict=True)]

    def scores(self, state: Descent, block: Block, scaled: Scaled | None = None) -> Floats:
        """Return the probabilities, of shape (n, n_sets, n_classes)."""
        assert scaled is not None
        P, settled = self._certain(state.number, block)
        U, _ = self._scores(state, block, scaled.means)
        U = U * scaled.factor[:, np.newaxis]
        U = np.exp(U - U.max(axis=2, keepdims=True))
        P[~settled] = (U / U.sum(axis=2, keepdims=True))[~settled]
        return P

    def _scores(
        self, state: Descent, block: Block, means: Floats
    ) -> tuple[Floats, NDArray[np.bool_]]:
        of_node = self.reached.of_nodes(state.number, local_components(block))
        _, settled = self._certain(state.number, block)
        x = self._by_class(state.x - np.where(of_node[:, np.newaxis] >= 0, means[of_node], 0.0))
        return np.concatenate([x, -x.sum(axis=2, keepdims=True)], axis=2), settled

    def _everywhere(self, block: Block) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return np.ones(block.n_nodes, dtype=bool), np.ones(len(block.outside), dtype=bool)


@dataclass(frozen=True)
class CellEquations:
    """The equations of the means over cells, solved directly.

    Parameters
    ----------
    factor
        ndarray of shape (n_cells, n_cells): the lower triangle of a Cholesky factor.
    """

    factor: Floats

    @classmethod
    def of(cls, n_cells: int, parts: Sequence[CellSums]) -> CellEquations:
        """Put the sums of all blocks together."""
        matrix = np.zeros((n_cells, n_cells))
        for part in parts:
            matrix[part.rows, part.columns] = part.values
        on_diagonal = matrix.diagonal()
        matrix[np.diag_indices_from(matrix)] = np.where(
            on_diagonal > 0, on_diagonal * (1 + _SHIFT), 1.0
        )
        return cls(cho_factor(matrix, lower=True)[0])

    def solve(self, sums: Floats) -> Floats:
        """Return the means that sums over cells lead to."""
        solution: Floats = cho_solve((self.factor, True), sums)
        return solution


@dataclass(frozen=True)
class DescentCourse(Course[Step, Products]):
    """The steps of conjugate gradients.

    Parameters
    ----------
    cells
        The coarse equations.
    tol
        A column is done where the norm of its residual is at most `tol` times that at the start.
    max_iter
        Most products.
    made
        Products by now.
    scale
        ndarray of shape (n_columns,): the norms at the start; empty before it.
    coarse
        What the cells' equations have added last, shape (n_cells, n_columns).
    """

    cells: CellEquations
    tol: float
    max_iter: int
    made: int = 0
    scale: Floats = field(default_factory=lambda: np.zeros(0))
    coarse: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def remembered(self) -> Mapping[str, NDArray[Any]]:
        """Return all but the cells' equations, which follow from the graph."""
        return {"made": np.array(self.made), "scale": self.scale, "coarse": self.coarse}

    def resumed(self, remembered: Mapping[str, NDArray[Any]]) -> Self:
        """Go on; see :meth:`.Course.resumed`."""
        made = int(remembered["made"])
        return replace(self, made=made, scale=remembered["scale"], coarse=remembered["coarse"])

    def after(self, parts: Sequence[Products]) -> Told[Step, DescentCourse]:
        """Return the next step from the sums of all blocks."""
        sums = Products.together(parts)
        norm = np.sqrt(sums.rr)
        if not len(self.scale):
            return self._first(sums, norm)
        residual = norm / self.scale
        going = residual > self.tol
        change = float(residual.max())
        if not going.any() or self.made >= self.max_iter:
            return Told(None, self, change)
        rz = sums.rr_near + _dots(sums.r_cells, self.coarse)
        may = going & (sums.pq > 0)
        alpha = np.divide(rz, sums.pq, out=np.zeros_like(rz), where=may)
        coarse = self.cells.solve(sums.r_cells - alpha * sums.q_cells)
        following = sums.rr_near - 2 * alpha * sums.rq_near + alpha**2 * sums.qq_near
        following += _dots(sums.r_cells - alpha * sums.q_cells, coarse)
        beta = np.divide(following, rz, out=np.zeros_like(rz), where=rz > 0)
        course = replace(self, made=self.made + 1, coarse=coarse)
        return Told(Step(alpha, np.where(may, beta, 0.0), coarse), course, change)

    def _first(self, sums: Products, norm: Floats) -> Told[Step, DescentCourse]:
        if not norm.any():
            return Told(None, self, 0.0)
        nothing, coarse = np.zeros_like(norm), self.cells.solve(sums.r_cells)
        scale = np.where(norm > 0, norm, 1.0)
        course = replace(self, made=1, scale=scale, coarse=coarse)
        return Told(Step(nothing, nothing, coarse), course, 1.0)


def _dots(left: Floats, right: Floats) -> Floats:
    products: Floats = np.einsum("ij,ij->j", left, right)
    return products
