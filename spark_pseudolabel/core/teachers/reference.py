"""Rows that preprocessing is learned from: labeled ones, and a sample of those without a label.

Which words are rare, how numbers spread and which categories there are is no matter of labels, and
a few labeled rows say little of it. Nothing here looks at a label, so that scores of rows whose
labels a model has not seen stay out of fold.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spark_pseudolabel.core.facts import ReferenceRows
from spark_pseudolabel.core.trust.support import finite

MAX_ROWS = 20_000
"""Pool rows that are enough: more change neither words nor components that matter."""

MAX_BYTES = 32 * 2**20
"""Of these rows: long texts and wide tables get fewer of them."""

# A sentinel such as 999999 in one row of a thousand would otherwise be what a column is scaled by,
# and so would rows of the pool that are unlike all labeled ones.
_TAIL = 0.001
_RANGES = 1.0


@dataclass(frozen=True)
class Reference:
    """Rows whose labels are not used.

    Parameters
    ----------
    X
        DataFrame of shape (n_rows, n_model_columns): labeled rows, then the pool's, without numbers
        that would spoil a mean or a spread.
    spread
        The same rows as far as they spread: moved are only numbers that nearly no row has.
    n_pool
        How many are the pool's.
    sha256
        Of these, as they were drawn.
    """

    X: pd.DataFrame
    spread: pd.DataFrame
    n_pool: int
    sha256: str

    @classmethod
    def of(cls, labeled: pd.DataFrame, sample: pd.DataFrame) -> Reference:
        """Put labeled rows and a sample of the pool together.

        Parameters
        ----------
        labeled
            Model input, in the order of the rows' keys.
        sample
            Model input of pool rows, in the order of their hash; cut where it exceeds
            :data:`MAX_BYTES` or :data:`MAX_ROWS`.
        """
        n_pool = int((np.cumsum(row_bytes(sample)) <= MAX_BYTES)[:MAX_ROWS].sum())
        drawn = sample.iloc[:n_pool]
        rows = pd.concat([labeled, drawn], ignore_index=True) if n_pool else labeled
        spread = _without_tails(finite(rows))
        return cls(_near(finite(labeled), spread), spread, n_pool, _sha256(drawn))

    @property
    def pool(self) -> pd.DataFrame:
        """The pool's rows, in the order of their hash."""
        return self.X.iloc[len(self.X) - self.n_pool :]

    @property
    def pool_rows(self) -> ReferenceRows:
        """The pool's rows, as manifests keep them."""
        return ReferenceRows(self.n_pool, self.sha256)


def rows_to_draw(labeled: pd.DataFrame) -> int:
    """Return how many pool rows to draw, by what a labeled row takes.

    Examples
    --------
    >>> rows_to_draw(pd.DataFrame({"x": [1.0, 2.0]}))
    20000
    >>> rows_to_draw(pd.DataFrame({"text": ["x" * 2**20]}))
    31
    """
    mean = float(row_bytes(labeled).mean()) if len(labeled) else 0.0
    return MAX_ROWS if mean * MAX_ROWS <= MAX_BYTES else max(1, int(MAX_BYTES / mean))


def row_bytes(X: pd.DataFrame) -> NDArray[np.int64]:
    """Return what each row of model input takes: 8 a number, 8 and its characters a string."""
    size = np.full(len(X), 8 * X.shape[1], dtype=np.int64)
    for _, strings in X.select_dtypes(object).items():
        size += np.array([len(value) if value else 0 for value in strings], dtype=np.int64)
    return size


def _sha256(rows: pd.DataFrame) -> str:
    hashes = pd.util.hash_pandas_object(rows, index=False).to_numpy()
    return hashlib.sha256(hashes).hexdigest()


def _without_tails(rows: pd.DataFrame) -> pd.DataFrame:
    """Move numbers to the bounds of what is usual among all rows."""
    numbers = rows.select_dtypes("float64")
    if numbers.empty:
        return rows
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        low, high = np.nanquantile(numbers.to_numpy(), [_TAIL, 1 - _TAIL], axis=0)
    return rows.assign(**numbers.clip(low, high, axis=1))


def _near(labeled: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Move numbers to the bounds of what is near the labeled rows."""
    numbers = rows.select_dtypes("float64")
    if numbers.empty or not len(labeled):
        return rows
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        given = labeled[numbers.columns].to_numpy()
        least, most = (of(given, axis=0) for of in (np.nanmin, np.nanmax))
    reach = _RANGES * (most - least)
    # A column of which no labeled row has a value is bounded by the others alone.
    low, high = np.fmax(least - reach, -np.inf), np.fmin(most + reach, np.inf)
    return rows.assign(**numbers.clip(low, high, axis=1))
