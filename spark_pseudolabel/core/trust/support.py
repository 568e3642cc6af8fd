"""Where the labeled rows are, and which rows of the pool lie near one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import euclidean_distances, pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.preprocessing import split, with_preprocessing
from spark_pseudolabel.core.trust.units import first_of
from spark_pseudolabel.registry import info_of

MOST_ROWS = 2000
"""Labeled rows that distances are measured to: of every pool row to each of them."""

QUANTILE = 0.99
"""One in a hundred rows of the labeled rows' own kind counts as outside their support."""

LEVEL = 0.01
"""How often rows of one kind are taken for rows of two."""

# As few draws as allow this level: rows that are labeled must lie beyond all of them.
_DRAWS = round(1 / LEVEL) - 1

# Bounds what a batch of wide rows takes: 131 MB with 2,000 columns.
_ROWS_AT_ONCE = 8192
# Their products with all labeled rows stay in the processor's cache.
_PRODUCT_ROWS = 512
# Far above the last bits of a sum, which depend on the batch and must decide nothing.
_SLACK = 1e-6


@dataclass(frozen=True)
class Support:
    """Where labeled rows are: a row is inside when it is as near to one as they are to each other.

    Parameters
    ----------
    columns
        Fitted preprocessing.
    rows
        ndarray of shape (n_rows, n_columns): labeled rows, preprocessed.
    radius
        The largest distance that counts as inside.
    """

    columns: BaseEstimator
    rows: NDArray[np.float64]
    radius: float

    def holds(self, X: pd.DataFrame) -> NDArray[np.bool_]:
        """Say which rows of model input are inside."""
        inside = np.zeros(len(X), dtype=bool)
        for start in range(0, len(X), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            inside[some] = self._reaches(self.columns.transform(finite(X[some])))
        return inside

    @property
    def limit(self) -> float:
        """The largest distance that counts as inside, with room for rounding: a tie does."""
        return self.radius * (1 + _SLACK) + _SLACK

    def _reaches(self, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which preprocessed rows are inside; exactly only where single precision can't tell.

        That takes a fifth of the time of double precision for all.
        """
        squares, error = _least_squares(X, self.rows)
        gap = self.limit**2 - squares
        inside: NDArray[np.bool_] = gap >= 0
        unsure = np.flatnonzero(~(np.abs(gap) > error))  # not a number among them
        if unsure.size:
            nearest = self.rows[pairwise_distances_argmin(X[unsure], self.rows)]
            inside[unsure] = _distances(X[unsure], nearest) <= self.limit
        return inside


def find_support(
    labeled: pd.DataFrame,
    features: Sequence[Feature],
    hashes: NDArray[np.int64],
    random_state: int,
    units: NDArray[np.int64] | None = None,
) -> tuple[Support, NDArray[np.bool_]]:
    """Measure how near labeled rows, at least two, are to each other.

    Parameters
    ----------
    labeled
        Model input.
    features
        The columns.
    hashes
        ndarray of shape (n,): a hash of each row's key. Distances are to the :data:`MOST_ROWS`
        rows with the lowest ones.
    random_state
        Seed of the preprocessing.
    units
        ndarray of shape (n,): rows of one number are copies or of one group, so that only the one
        with the lowest hash is measured to, and by none of its own; None: each has its own.

    Returns
    -------
    tuple
        The support, and ndarray of shape (n,): which labeled rows are inside. Each is asked as a
        row of the pool would be, against the others: its distance to itself says nothing.
    """
    labeled = finite(labeled)
    columns = _comparable_columns(features, random_state).fit(labeled)
    order = np.argsort(hashes, kind="stable")
    if units is not None and len(once := np.flatnonzero(first_of(units, hashes))) > 1:
        order = once[np.argsort(hashes[once], kind="stable")]
    nearest = np.sort(order[:MOST_ROWS])
    rows = columns.transform(labeled.iloc[nearest])
    # A row is not its own neighbor here. Trees are slower than all distances to so few rows.
    neighbors = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(rows)
    distances = _distances(rows, rows[neighbors.kneighbors(return_distance=False)[:, 0]])
    # A row that was left out has one neighbor less to be near to, hence a tie is inside.
    support = Support(columns, rows, float(np.quantile(distances, QUANTILE)))
    inside = np.ones(len(labeled), dtype=bool)
    inside[nearest] = distances <= support.limit
    others = np.setdiff1d(np.arange(len(labeled)), nearest)
    inside[others] = support.holds(labeled.iloc[others])
    if units is not None and len(units) > len(order):
        mates = others[np.isin(units[others], units[nearest])]
        own = np.searchsorted(units[nearest], units[mates], sorter=np.argsort(units[nearest]))
        own = np.argsort(units[nearest])[own]
        inside[mates] = _near_another(support, columns.transform(labeled.iloc[mates]), own)
    return support, inside


def _near_another(
    support: Support, X: NDArray[np.float64], own: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Say which preprocessed rows are inside without the row of their own unit, each by one."""
    inside = np.zeros(len(X), dtype=bool)
    for start in range(0, len(X), _PRODUCT_ROWS):
        some = slice(start, start + _PRODUCT_ROWS)
        distances = euclidean_distances(X[some], support.rows)
        distances[np.arange(len(distances)), own[some]] = np.inf
        inside[some] = distances.min(axis=1) <= support.limit
    return inside


def outside_by_chance(
    labeled: pd.DataFrame,
    pool: pd.DataFrame,
    features: Sequence[Feature],
    hashes: NDArray[np.int64],
    random_state: int,
) -> bool:
    """Say whether chance puts as large a share of the pool outside of the labeled rows.

    A permutation test at :data:`LEVEL`, exact for any number of rows, columns and any
    distribution: among rows of one kind, those that are labeled lie no closer together, and no
    farther from the others, than as many that are chosen at random.

    Parameters
    ----------
    labeled, pool, features, hashes, random_state
        As of :func:`spark_pseudolabel.core.trust.shift.representativeness`.
    """
    n = min(len(labeled), MOST_ROWS)
    order = np.argsort(hashes[: len(labeled)], kind="stable")[:n]
    labeled = finite(labeled.iloc[np.sort(order)])
    # Columns are scaled by all rows, or the rows that are labeled would be no longer alike.
    rows = pd.concat([labeled, finite(pool)], ignore_index=True)
    X = _comparable_columns(features, random_state).fit_transform(rows)
    distances = euclidean_distances(X)
    np.fill_diagonal(distances, np.inf)
    share = _share_outside(distances, np.arange(n))
    chance = np.random.default_rng(random_state)
    return any(
        _share_outside(distances, np.sort(chance.permutation(len(X))[:n])) >= share
        for _ in range(_DRAWS)
    )


def _comparable_columns(features: Sequence[Feature], random_state: int) -> BaseEstimator:
    """Return a linear model's preprocessing: scaled numbers, one column for each category."""
    linear = LinearDiscriminantAnalysis()
    info = info_of(type(linear).__name__)
    columns, _ = split(with_preprocessing(linear, info, features, random_state))
    return columns


def _share_outside(distances: NDArray[np.float64], chosen: NDArray[np.intp]) -> float:
    """Return the share of rows farther from the chosen ones than these are from each other."""
    nearest = distances[chosen].min(axis=0)
    radius = float(np.quantile(nearest[chosen], QUANTILE))
    others = np.delete(nearest, chosen)
    return float((others > radius * (1 + _SLACK) + _SLACK).mean())


def _least_squares(
    X: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squared distance of each row to the nearest of others, and a bound of its error.

    In single precision; at most as good as the product of the longest vectors' lengths.
    """
    with np.errstate(all="ignore"):  # what overflows has an infinite bound
        narrow = rows.astype(np.float32)
        half = (narrow**2).sum(axis=1) / 2
        least = np.empty(len(X))
        for start in range(0, len(X), _PRODUCT_ROWS):
            some = slice(start, start + _PRODUCT_ROWS)
            least[some] = (half - X[some].astype(np.float32) @ narrow.T).min(axis=1)
        squares = (X**2).sum(axis=1)
        longest = np.sqrt((rows**2).sum(axis=1).max(initial=0.0))
        precision = (X.shape[1] + 2) * float(np.finfo(np.float32).eps)
        return squares + 2 * least, precision * (np.sqrt(squares) + longest) ** 2


def _distances(X: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each row to its other, without a matrix product's rounding."""
    distances: NDArray[np.float64] = np.sqrt(((X - others) ** 2).sum(axis=1))
    return distances


def finite(X: pd.DataFrame) -> pd.DataFrame:
    """Let an infinite number be a missing one: it would spoil every distance."""
    numbers = X.select_dtypes("float64")
    if not np.isinf(numbers.to_numpy()).any():
        return X
    return X.assign(
        **{str(name): numbers[name].where(np.isfinite(numbers[name])) for name in numbers}
    )
