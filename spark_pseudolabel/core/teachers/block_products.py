"""Propagation and spreading by products, block by block; see :class:`~.graph_solvers.Products`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.block_labels import LabelSets
from spark_pseudolabel.core.teachers.block_scheme import Course, Scheme, Told
from spark_pseudolabel.core.teachers.graph_blocks import Block

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """How far labels have come in a block.

    Parameters
    ----------
    number
        Of the block.
    first
        The number of its first node.
    F
        ndarray of shape (n, n_sets * n_classes): scores.
    left, right
        ndarrays of shape (n,): what rows and columns of the weights are multiplied by.
    change
        ndarray of shape (n_sets,): the sum of the changes of probabilities in the last step.
    """

    number: int
    first: int
    F: Floats
    left: Floats
    right: Floats
    change: Floats


@dataclass(frozen=True)
class ProductBlocks(Scheme[Spread, NDArray[np.bool_], Floats]):
    """Products of the scores with the weights; steps say which sets still change.

    Parameters
    ----------
    labels
        The sets.
    alpha
        Of spreading; None: labels are clamped.
    """

    labels: LabelSets
    alpha: float | None

    def start(self, number: int, block: Block) -> Spread:
        """Begin with the labels; see :meth:`.Scheme.start`."""
        if self.alpha is None:
            left, right = 1.0 / block.degree, np.ones(block.n_nodes)
        else:
            degree = np.where(block.incoming > 0, block.incoming, 1.0)
            left = right = 1.0 / np.sqrt(degree)
        F = self._given(block.first, block.n_nodes).reshape(block.n_nodes, -1)
        return Spread(number, block.first, F, left, right, np.zeros(self.labels.n_sets))

    def sent(self, state: Spread, step: NDArray[np.bool_] | None) -> Floats:
        """Return the scores as columns of the matrix take them."""
        weighed: Floats = state.right[:, np.newaxis] * state.F
        return weighed

    def advanced(
        self, state: Spread, block: Block, step: NDArray[np.bool_] | None, outside: Floats
    ) -> Spread:
        """Multiply once; the first exchange does so as well."""
        going = np.ones(self.labels.n_sets, dtype=bool) if step is None else step
        product = block.matrix @ np.concatenate([self.sent(state, step), outside])
        following = self._by_class(state.left[:, np.newaxis] * product)
        given = self._given(block.first, block.n_nodes)
        if self.alpha is not None:
            following = self.alpha * following + (1 - self.alpha) * given
        else:
            following = _normalized(following)
            labeled = ~self.labels.unlabeled(block.first, block.n_nodes)
            following[labeled] = given[labeled]
        before = self._by_class(state.F)
        following = np.where(going[:, np.newaxis], following, before)
        change = np.abs(_normalized(following) - _normalized(before)).sum(axis=(0, 2))
        return replace(state, F=following.reshape(state.F.shape), change=change)

    def told(self, state: Spread) -> Floats:
        """Return how much probabilities have changed, set by set."""
        return state.change

    def scores(self, state: Spread, block: Block) -> Floats:
        """Return the probabilities, of shape (n, n_sets, n_classes)."""
        return _normalized(self._by_class(state.F))

    def _given(self, first: int, n: int) -> Floats:
        given = np.zeros((n, self.labels.n_sets, self.labels.n_classes))
        self.labels.put(given, first)
        return given

    def _by_class(self, F: Floats) -> Floats:
        return F.reshape(len(F), self.labels.n_sets, self.labels.n_classes)


@dataclass(frozen=True)
class ProductsCourse(Course[NDArray[np.bool_], Floats]):
    """Goes on with each set until it changes no more.

    Parameters
    ----------
    enough
        A change that ends it.
    max_iter
        Most products.
    made
        Products by now.
    going
        ndarray of shape (n_sets,): which sets still changed; empty before the first product.
    """

    enough: float
    max_iter: int
    made: int = 1
    going: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def remembered(self) -> Mapping[str, NDArray[Any]]:
        """Return how far it is."""
        return {"made": np.array(self.made), "going": self.going}

    def resumed(self, remembered: Mapping[str, NDArray[Any]]) -> Self:
        """Go on; see :meth:`.Course.resumed`."""
        return replace(self, made=int(remembered["made"]), going=remembered["going"])

    def after(self, parts: Sequence[Floats]) -> Told[NDArray[np.bool_], ProductsCourse]:
        """Return the sets to go on with."""
        change = np.sum(parts, axis=0)
        going = change >= self.enough
        if len(self.going):
            going &= self.going
        most = float(change.max())
        if not going.any() or self.made >= self.max_iter:
            return Told(None, self, most)
        return Told(going, replace(self, made=self.made + 1, going=going), most)


def _normalized(F: Floats) -> Floats:
    total = F.sum(axis=2, keepdims=True)
    normalized: Floats = F / np.where(total > 0, total, 1.0)
    return normalized
