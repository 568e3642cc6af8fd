"""A model that knows the rows of its run, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin


class NodeScores(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The probabilities of nodes, looked up by their ids; it abstains from all others.

    Parameters
    ----------
    takes_nan
        Whether rows with missing numbers are nodes.

    Attributes
    ----------
    classes_
        The labels, ascending.
    ids_
        ndarray of shape (n,): the node ids, ascending.
    probabilities_
        ndarray of shape (n, n_classes), single precision.
    """

    transductive = True

    def __init__(self, takes_nan: bool = True) -> None:
        self.takes_nan = takes_nan

    @classmethod
    def of(
        cls,
        ids: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        classes: Sequence[Any],
        *,
        takes_nan: bool,
    ) -> NodeScores:
        """Return a fitted model."""
        model = cls(takes_nan)
        model.classes_ = np.asarray(classes)
        model.ids_, model.probabilities_ = ids, probabilities
        return model

    @classmethod
    def mean(cls, models: Sequence[NodeScores], weights: Sequence[float]) -> NodeScores:
        """Return the mean of models of the same nodes and classes."""
        total = np.zeros_like(models[0].probabilities_)
        shares = np.asarray(weights, dtype=np.float32) / np.float32(sum(weights))
        for model, share in zip(models, shares, strict=True):
            total += share * model.probabilities_
        first = models[0]
        return cls.of(first.ids_, total, first.classes_, takes_nan=first.takes_nan)

    def predict_proba(self, X: pd.DataFrame | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probabilities of nodes.

        Parameters
        ----------
        X
            Node ids, in one column.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Zeros for ids that it does not know.
        """
        places, known = find_nodes(self.ids_, X)
        P: NDArray[np.float64] = np.where(known[:, np.newaxis], self.probabilities_[places], 0.0)
        return P.astype(np.float64)

    def predict(self, X: pd.DataFrame | NDArray[np.int64]) -> NDArray[Any]:
        """Return the likeliest label of nodes, the first one where it abstains."""
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


def find_nodes(
    known_ids: NDArray[np.int64], X: pd.DataFrame | NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Find node ids among known ones.

    Parameters
    ----------
    known_ids
        ndarray of shape (n_known,), ascending, at least one.
    X
        Node ids, in one column of n rows.

    Returns
    -------
    tuple
        Two ndarrays of shape (n,): places among the known ids, and whether the id is there.
    """
    ids = np.asarray(X)[:, 0]
    places = np.minimum(np.searchsorted(known_ids, ids), len(known_ids) - 1)
    return places, known_ids[places] == ids


def takes_nodes(model: BaseEstimator) -> bool:
    """Whether a model takes node ids in place of features."""
    return bool(getattr(model, "transductive", False))
