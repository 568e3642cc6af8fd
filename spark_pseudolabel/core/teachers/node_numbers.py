"""A model of numbers that knows the rows of its run, and no others."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from spark_pseudolabel.core.teachers.node_scores import find_nodes


class NodeNumbers(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # they have no types
    """The numbers of nodes, looked up by their ids; it abstains from all others.

    Parameters
    ----------
    takes_nan
        Whether rows with missing numbers are nodes.

    Attributes
    ----------
    ids_ : ndarray of shape (n,)
        The node ids, ascending.
    values_ : ndarray of shape (n,)
        Their numbers; NaN where no label reaches.
    spreads_ : ndarray of shape (n,)
        How far the numbers of their neighbors are apart.
    """

    transductive = True
    abstains = True

    def __init__(self, takes_nan: bool = True) -> None:
        self.takes_nan = takes_nan

    @classmethod
    def of(
        cls,
        ids: NDArray[np.int64],
        values: NDArray[np.float64],
        spreads: NDArray[np.float64],
        *,
        takes_nan: bool,
    ) -> NodeNumbers:
        """Return a fitted model."""
        model = cls(takes_nan)
        model.ids_, model.values_, model.spreads_ = ids, values, spreads
        return model

    def predict(self, X: pd.DataFrame | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the numbers of nodes, of shape (n,).

        Parameters
        ----------
        X
            Node ids, in one column.
        """
        return self._looked_up(X, self.values_, np.nan)

    def spread(self, X: pd.DataFrame | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how far the numbers of their neighbors are apart, of shape (n,)."""
        return self._looked_up(X, self.spreads_, 0.0)

    def unreached(self, X: pd.DataFrame | NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of them no label reaches, of shape (n,)."""
        return np.isnan(self.predict(X))

    def _looked_up(
        self, X: pd.DataFrame | NDArray[np.int64], of_nodes: NDArray[np.float64], otherwise: float
    ) -> NDArray[np.float64]:
        places, known = find_nodes(self.ids_, X)
        looked_up: NDArray[np.float64] = np.where(known, of_nodes[places], otherwise)
        return looked_up
