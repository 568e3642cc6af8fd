"""Probabilities of a model corrected by its residuals, and smoothed, over a graph.

Huang, He, Singh, Lim and Benson, "Combining Label Propagation and Simple Models Out-performs Graph
Neural Networks" (ICLR 2021). Errors of a model are alike in rows that are near each other, and so
are labels: the first step adds what the neighbors' labels say of the former, the second one takes
the mean with the neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
from spark_pseudolabel.core.teachers.graph_solvers import Labels

Floats = NDArray[np.float64]

CORRECT = 0.8
"""Share of a row's residual that comes from its neighbors."""

_FARTHEST = 1000.0
"""Residuals that would have to grow by more have come from nowhere: the authors' bound."""


@dataclass(frozen=True)
class Strength:
    """How much of a say the neighbors have.

    Parameters
    ----------
    smooth
        Share of a row's probabilities that comes from its neighbors, in (0, 1).
    scaled
        Whether the residuals of rows without a label are scaled to the mean size of those with
        one (the authors' autoscale); else they fade with the distance from labels.
    """

    smooth: float
    scaled: bool


STRENGTHS = (Strength(0.5, False), Strength(0.8, False), Strength(0.8, True))
"""Those that are tried."""


@dataclass(frozen=True)
class Spread:
    """Residuals, spread.

    Parameters
    ----------
    labels
        Where they come from.
    everywhere
        ndarray of shape (n_nodes, n_classes).
    size
        Their mean size at the labels, before that: the sum of what is missing and too much.
    """

    labels: Labels
    everywhere: Floats
    size: float

    @property
    def scaled(self) -> Floats:
        """The same, of that size wherever they come from somewhere."""
        size = np.abs(self.everywhere).sum(axis=1, keepdims=True)
        factor = np.divide(self.size, size, out=np.zeros_like(size), where=size > 0)
        scaled: Floats = self.everywhere * np.where(factor > _FARTHEST, 1.0, factor)
        return scaled


@dataclass(frozen=True)
class Smoother:
    """Corrects and smooths over one graph.

    Parameters
    ----------
    matrix
        D^-1/2 W D^-1/2, of shape (n, n).
    max_iter, tol
        When products end: see :class:`~.graph_solvers.Products`.
    tell
        Is told about progress.
    """

    matrix: csr_array
    max_iter: int
    tol: float
    tell: Tell = field(default=lambda products, change: None)

    def spread(self, labels: Labels, residuals: Floats) -> Spread:
        """Spread residuals from the rows with labels to all.

        Parameters
        ----------
        labels
            Where they are.
        residuals
            ndarray of shape (n_labels, n_classes): what is missing in a model's probabilities of
            rows that it was not fitted on; 0 where this is not known.
        """
        start = means_of_nodes(residuals, labels.nodes, self.matrix.shape[0])
        size = float(np.abs(residuals).sum(axis=1).mean()) if len(residuals) else 0.0
        return Spread(labels, self._solve(start, CORRECT), size)

    def smooth(self, P: Floats, residuals: Spread, strength: Strength) -> Floats:
        """Correct probabilities, and smooth them.

        Parameters
        ----------
        P
            ndarray of shape (n_nodes, n_classes): of the model; 0 of rows that it can't score.
        residuals
            From :meth:`spread`; the labels that they come from stand.
        strength
            How.

        Returns
        -------
        ndarray of shape (n_nodes, n_classes)
            Probabilities; 0 of rows that nothing is known of.
        """
        labels = residuals.labels
        given = means_of_nodes(np.eye(P.shape[1])[labels.codes], labels.nodes, len(P))
        has_label = given.any(axis=1, keepdims=True)
        missing = residuals.scaled if strength.scaled else residuals.everywhere
        corrected = np.where(has_label, given, np.maximum(P + missing, 0.0))
        smoothed = self._solve(_normalized(corrected), strength.smooth)
        return _normalized(np.where(has_label, given, smoothed))

    def _solve(self, start: Floats, share: float) -> Floats:
        """Iterate F = share S F + (1 - share) F0 until it does not change."""
        enough = self.tol * max(1.0, len(start) / 1000)
        F = start
        for number in range(1, self.max_iter + 1):
            following: Floats = share * (self.matrix @ F) + (1 - share) * start
            change = float(np.abs(following - F).sum())
            F = following
            self.tell(number, change)
            if change < enough:
                break
        return F


def means_of_nodes(values: Floats, nodes: NDArray[np.int32], n_nodes: int) -> Floats:
    """Return the mean of the rows of each node, zeros where there are none.

    Parameters
    ----------
    values
        ndarray of shape (n_rows, n_columns).
    nodes
        ndarray of shape (n_rows,): their nodes; those that are alike have one and the same.
    n_nodes
        How many there are.
    """
    rows = np.maximum(np.bincount(nodes, minlength=n_nodes), 1)
    sums = [np.bincount(nodes, column, minlength=n_nodes) for column in values.T]
    means: Floats = np.stack(sums, axis=1) / rows[:, np.newaxis]
    return means


def _normalized(F: Floats) -> Floats:
    total = F.sum(axis=1, keepdims=True)
    return F / np.where(total > 0, total, 1.0)
