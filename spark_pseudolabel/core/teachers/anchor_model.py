"""A model on an anchor graph, as two steps of a pipeline; workers load it and nothing else of it.

The first step turns rows into weights of anchors and knows no label, so that the models of all
folds share it; the second one is a small matrix.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import Tags

from spark_pseudolabel.core.teachers.anchor_graph import (
    AnchorGraph,
    bandwidth_of,
    dense,
    find_anchors,
    nearest_anchors,
    spread,
    weights,
)

_REACHED = 1e-3
"""Labels of a row that sum to less, instead of 1, come from nowhere: it is not connected."""


class AnchorWeights(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # they have no types
    """Describes rows by kernel weights of their nearest anchors.

    Parameters
    ----------
    anchors
        The most anchors.
    neighbors
        How many of them describe a row.
    random_state
        Seed of k-means.

    Attributes
    ----------
    anchors_ : ndarray of shape (n_anchors, n_columns)
    bandwidth_ : float
        Of the kernel.
    """

    def __init__(self, anchors: int = 1000, neighbors: int = 3, random_state: int = 0) -> None:
        self.anchors = anchors
        self.neighbors = neighbors
        self.random_state = random_state

    def fit(self, X: NDArray[np.float64] | csr_matrix, y: None = None) -> Self:
        """Put anchors among rows, of shape (n_rows, n_columns)."""
        X = dense(X)
        self.anchors_ = find_anchors(X, self.anchors, self.random_state)
        self.bandwidth_ = bandwidth_of(self._nearest(X)[1])
        return self

    def transform(self, X: NDArray[np.float64] | csr_matrix) -> csr_array:
        """Return the weights of rows; see :func:`~.anchor_graph.weights`."""
        return weights(*self._nearest(X), self.bandwidth_, len(self.anchors_))

    def _nearest(
        self, X: NDArray[np.float64] | csr_matrix
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        return nearest_anchors(X, self.anchors_, min(self.neighbors, len(self.anchors_)))


class _OnAnchors(BaseEstimator):  # type: ignore[misc]  # it has no types
    """What models of rows that are given by their anchors' weights have in common."""

    def __sklearn_tags__(self) -> Tags:
        """Say that rows come as a sparse matrix."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _with_own(graph: AnchorGraph | None, Z: csr_array) -> AnchorGraph:
    """Return the graph over given rows and those without labels."""
    own = AnchorGraph.of(Z)
    return own if graph is None else AnchorGraph.together([graph, own])


class AnchorClassifier(ClassifierMixin, _OnAnchors):  # type: ignore[misc]
    """Gives rows the labels of their anchors; abstains where no label reaches them.

    Parameters
    ----------
    class_mass
        Whether each class is weighted so that it gets the share of the graph's rows that it has
        among the labeled ones (class mass normalization: Zhu, Ghahramani and Lafferty 2003).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    labels_ : ndarray of shape (n_anchors, n_classes)
    factors_ : ndarray of shape (n_classes,)
        What the classes are weighted by.
    """

    abstains = True

    def __init__(self, class_mass: bool = False) -> None:
        self.class_mass = class_mass

    def fit(
        self,
        Z: csr_array,
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None = None,
        graph: AnchorGraph | None = None,
    ) -> Self:
        """Spread labels.

        Parameters
        ----------
        Z
            csr_array of shape (n_rows, n_anchors): weights of the labeled rows.
        y
            ndarray of shape (n_rows,): their labels.
        sample_weight
            ndarray of shape (n_rows,); None for equal ones.
        graph
            Over rows without labels; None: there is none of them.
        """
        self.classes_, codes = np.unique(y, return_inverse=True)
        Y = np.eye(len(self.classes_))[codes]
        graph = _with_own(graph, Z)
        self.labels_ = spread(graph, Z, Y, sample_weight)
        self.factors_ = np.ones(len(self.classes_))
        if self.class_mass:
            wanted = np.average(Y, axis=0, weights=sample_weight)
            found = graph.mass @ self.labels_ / graph.mass.sum()
            self.factors_ = wanted / np.maximum(found, _REACHED)
        return self

    def predict_proba(self, Z: csr_array) -> NDArray[np.float64]:
        """Return each class's share of a row's labels; 0 for all of them where none reaches it.

        Parameters
        ----------
        Z
            csr_array of shape (n_rows, n_anchors).

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            NaN where weights are.
        """
        F = np.maximum(Z @ self.labels_, 0.0)
        F[F.sum(axis=1) < _REACHED] = 0.0
        F *= self.factors_
        total = F.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = F / np.where(total == 0, 1.0, total)
        return shares

    def predict(self, Z: csr_array) -> NDArray[Any]:
        """Return the class of the largest share."""
        labels: NDArray[Any] = self.classes_[self.predict_proba(Z).argmax(axis=1)]
        return labels


class AnchorRegressor(RegressorMixin, _OnAnchors):  # type: ignore[misc]  # they have no types
    """Gives rows the numbers of their anchors; abstains where no label reaches them.

    Attributes
    ----------
    values_ : ndarray of shape (n_anchors, 2)
        What labels come to at each anchor, and what as many ones come to: how far it is reached.
    """

    abstains = True

    def fit(
        self,
        Z: csr_array,
        y: NDArray[np.float64],
        sample_weight: NDArray[np.float64] | None = None,
        graph: AnchorGraph | None = None,
    ) -> Self:
        """Spread numbers.

        Parameters
        ----------
        Z, sample_weight, graph
            As in :meth:`AnchorClassifier.fit`.
        y
            ndarray of shape (n_rows,): the numbers.
        """
        graph = _with_own(graph, Z)
        self.values_ = spread(graph, Z, np.column_stack([y, np.ones(len(y))]), sample_weight)
        return self

    def predict(self, Z: csr_array) -> NDArray[np.float64]:
        """Return the numbers of rows.

        Parameters
        ----------
        Z
            csr_array of shape (n_rows, n_anchors).

        Returns
        -------
        ndarray of shape (n_rows,)
            NaN where weights are, and where no label reaches.
        """
        value, reached = (Z @ self.values_).T
        numbers = np.full(len(value), np.nan)
        np.divide(value, reached, out=numbers, where=reached >= _REACHED)
        return numbers

    def spread(self, Z: csr_array) -> NDArray[np.float64]:
        """Return how far the numbers of a row's anchors are apart: their weighted deviation."""
        reached = self.values_[:, 1]
        anchors = np.where(reached >= _REACHED, self.values_[:, 0], 0.0)
        anchors /= np.where(reached >= _REACHED, reached, 1.0)
        deviation: NDArray[np.float64] = np.sqrt(np.maximum(Z @ anchors**2 - (Z @ anchors) ** 2, 0))
        return deviation

    def unreached(self, Z: csr_array) -> NDArray[np.bool_]:
        """Return which rows no label reaches, of shape (n_rows,)."""
        none: NDArray[np.bool_] = Z @ self.values_[:, 1] < _REACHED
        return none
