"""From rows to the vectors between which a graph measures distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestCentroid

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.neighbor_search import LIMIT, Grid
from spark_pseudolabel.core.teachers.preprocessing import fit_columns, split, with_preprocessing
from spark_pseudolabel.registry import EstimatorInfo

DIMENSIONS = 50
"""More dimensions than these are reduced to as many principal components."""

# A coordinate may be so many times as large as the largest one among the rows that were looked at.
_HEADROOM = 16
# Products of these stay exact in double precision up to millions of columns.
_COARSE = 2**15
_DIRECTIONS = 2**12


@dataclass(frozen=True)
class VectorMaker:
    """Turns model input into vectors on a grid of whole numbers.

    Where these are exact it does not matter which rows a matrix product has together.

    Parameters
    ----------
    columns
        Fitted preprocessing; None: numbers are taken as they are.
    unit
        Width of the grid.
    directions
        ndarray of shape (n_columns, n_dimensions): principal components on a grid of their own;
        None where all columns are used.
    coarse_unit
        Width of the grid of what these are multiplied with.
    tells_apart
        Whether two of the rows that it was made of have different vectors.
    """

    columns: BaseEstimator | None
    unit: float
    directions: NDArray[np.int32] | None = None
    coarse_unit: float = 1.0
    tells_apart: bool = True

    @classmethod
    def fit(
        cls,
        X: pd.DataFrame,
        features: Sequence[Feature],
        random_state: int,
        *,
        standardize: bool,
        known: dict[str, BaseEstimator],
    ) -> VectorMaker:
        """Learn scales, and directions where there are many columns.

        Parameters
        ----------
        X
            Rows with and without labels.
        features
            Its columns.
        random_state
            Seed of the components of texts.
        standardize
            With the default preprocessing of estimators that measure distances; else numbers are
            taken as they are, and other columns left out.
        known
            See :func:`~.preprocessing.fit_columns`.
        """
        columns = None
        if standardize:
            info = EstimatorInfo("sklearn.neighbors.NearestCentroid", condensed=True)
            whole = with_preprocessing(NearestCentroid(), info, features, random_state)
            columns = fit_columns(split(whole)[0], X, known)
        plain = cls(columns, 1.0)
        Z = plain._numbers(X)
        # Where nothing is filled in, a row that lacks a number is no node.
        Z = Z[np.isfinite(Z).all(axis=1)]
        apart = bool(len(Z)) and bool((Z[0] != Z).any())
        if not apart:
            return cls(columns, 1.0, tells_apart=not len(Z))
        largest = float(np.abs(Z).max())
        if Z.shape[1] <= DIMENSIONS:
            return cls(columns, largest * _HEADROOM / LIMIT)
        covariance = np.cov(Z, rowvar=False)
        _, directions = np.linalg.eigh(covariance)
        directions = np.rint(directions[:, : -DIMENSIONS - 1 : -1] * _DIRECTIONS).astype(np.int32)
        maker = cls(columns, 1.0, directions, largest * _HEADROOM / _COARSE)
        largest = float(np.abs(maker._projected(Z)).max(initial=0.0)) or 1.0
        return cls(columns, largest * _HEADROOM / LIMIT, directions, maker.coarse_unit)

    @property
    def takes_nan(self) -> bool:
        """Whether missing numbers are filled in."""
        return self.columns is not None

    def of(self, X: pd.DataFrame) -> Grid:
        """Return the vectors of rows, of shape (n_rows, n_dimensions).

        Parameters
        ----------
        X
            Model input without numbers that are infinite, and, where there is no preprocessing,
            without missing ones.
        """
        Z = self._projected(self._numbers(X))
        grid = np.rint(Z / self.unit)
        return np.clip(grid, -LIMIT, LIMIT).astype(np.int32)

    def _numbers(self, X: pd.DataFrame) -> NDArray[np.float64]:
        if self.columns is None:
            numbers: NDArray[np.float64] = X.select_dtypes("float64").to_numpy()
            return numbers
        Z = self.columns.transform(X)
        return np.asarray(Z.toarray() if issparse(Z) else Z, dtype=np.float64)

    def _projected(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.directions is None:
            return Z
        coarse = np.clip(np.rint(Z / self.coarse_unit), -_COARSE, _COARSE)
        return coarse @ self.directions.astype(np.float64)
