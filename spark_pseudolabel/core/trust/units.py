"""Labeled rows that are not independent: copies of one another, and rows of one group.

Rows of one *unit* share a fold, so that no model is tested on what it has learned by heart, and
count once where something is to be shown. A unit is a set of rows with equal features; where rows
have a group, it is the rows of a group, and of groups that share a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import kolmogorov

ALIKE_LEVEL = 1e-4
"""Where chance explains a difference of group sizes less than this, they differ."""


def equal_rows(X: pd.DataFrame) -> NDArray[np.int64]:
    """Number sets of rows with the same values.

    Parameters
    ----------
    X
        Model input of shape (n, n_model_columns); missing values are equal, as are 0 and -0.

    Returns
    -------
    ndarray of shape (n,)
        From 0, without gaps; the same number for equal rows. By a hash of 64 bits.

    Examples
    --------
    >>> equal_rows(pd.DataFrame({"a": [0.0, 1.0, -0.0], "b": ["x", "x", "x"]})).tolist()
    [0, 1, 0]
    """
    if not len(X.columns):
        return np.zeros(len(X), dtype=np.int64)
    columns = {i: _comparable(X.iloc[:, i]) for i in range(X.shape[1])}
    hashes = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()
    return _numbered(hashes)


def units_of(equal: NDArray[np.int64], groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Number the units of rows.

    Parameters
    ----------
    equal
        ndarray of shape (n,), from :func:`equal_rows`.
    groups
        ndarray of shape (n,): the number of each row's group, from 0; None: rows have none.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> units_of(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2])).tolist()
    [0, 0, 0, 1]
    """
    if groups is None:
        return equal
    n_equal = int(equal.max(initial=-1)) + 1
    n = n_equal + int(groups.max(initial=-1)) + 1
    links = coo_array((np.ones(len(equal)), (equal, n_equal + groups)), shape=(n, n))
    parts = connected_components(links, directed=False)[1][equal]
    return _numbered(parts)


def first_of(units: NDArray[np.int64], hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Choose the row with the lowest hash of each unit.

    Examples
    --------
    >>> first_of(np.array([0, 0, 1]), np.array([5, 3, 9])).tolist()
    [False, True, True]
    """
    order = np.lexsort((hashes, units))
    chosen = np.zeros(len(units), dtype=bool)
    chosen[order[np.unique(units[order], return_index=True)[1]]] = True
    return chosen


@dataclass(frozen=True)
class Copies:
    """Labeled rows with exactly the features of another one.

    Parameters
    ----------
    rows
        How many have such a twin.
    groups
        Sets of equal rows among them.
    example
        Positions of the largest set's rows, the first few.
    equal
        ndarray of shape (n,): the number of each row's set.
    """

    rows: int
    groups: int
    example: tuple[int, ...]
    equal: NDArray[np.int64] = field(repr=False, compare=False)

    def conflicting(self, codes: NDArray[np.int32]) -> int:
        """Count the sets whose rows have different labels.

        Parameters
        ----------
        codes
            ndarray of shape (n,): class indices.
        """
        pairs = np.unique(np.stack([self.equal, codes]), axis=1)
        return int((np.bincount(pairs[0]) > 1).sum())


def copies_among(equal: NDArray[np.int64], most: int = 5) -> Copies | None:
    """Look for copies; None where there are none.

    Examples
    --------
    >>> copies_among(np.array([0, 1, 0, 2, 0]))
    Copies(rows=3, groups=1, example=(0, 2, 4))
    """
    counts = np.bincount(equal)
    several = counts > 1
    if not several.any():
        return None
    example = np.flatnonzero(equal == counts.argmax())[:most]
    n_rows, n_sets = int(counts[several].sum()), int(several.sum())
    return Copies(n_rows, n_sets, tuple(example.tolist()), equal)


class GroupSizes:
    """How many groups of which size a pool has.

    Parameters
    ----------
    by_size
        Number of groups for each size.
    """

    def __init__(self, by_size: Mapping[int, int]) -> None:
        self.sizes = np.array(sorted(by_size, reverse=True), dtype=np.int64)
        self.counts = np.array([by_size[int(size)] for size in self.sizes], dtype=np.int64)
        self.n_groups = int(self.counts.sum())
        self.rows = int((self.sizes * self.counts).sum())
        self.largest = int(self.sizes.max(initial=0))
        self._rows_of_larger = np.cumsum(self.sizes * self.counts)
        self._squares_of_larger = np.cumsum(self.sizes.astype(float) ** 2 * self.counts)

    def effective(self, rows: int) -> int:
        """Return as how many groups of one size some rows of the pool vary, at least.

        The number of groups that these rows have after Kish, ``(sum s)^2 / sum s^2``, if they
        are all rows of the largest groups: any other rows are from more groups.

        Examples
        --------
        >>> sizes = GroupSizes({10: 3, 1: 70})
        >>> [sizes.effective(rows) for rows in (10, 20, 100)]
        [1, 2, 27]
        """
        rows = min(rows, self.rows)
        if rows <= 0:
            return 0
        at = int(np.searchsorted(self._rows_of_larger, rows))
        before = int(self._rows_of_larger[at - 1]) if at else 0
        squares = float(self._squares_of_larger[at - 1]) if at else 0.0
        size = int(self.sizes[at])
        whole, rest = divmod(rows - before, size)
        return max(1, int(rows**2 / (squares + whole * size**2 + rest**2) + 1e-9))

    def unlike(self, sizes: NDArray[np.int64]) -> bool:
        """Whether groups of these sizes are no random sample of the groups (Kolmogorov-Smirnov)."""
        if not len(sizes) or not self.n_groups:
            return False
        grid = np.unique(np.concatenate([sizes, self.sizes]))
        share_of_sizes = np.searchsorted(np.sort(sizes), grid, side="right") / len(sizes)
        order = np.argsort(self.sizes)
        upto = np.cumsum(self.counts[order])
        at = np.searchsorted(self.sizes[order], grid, side="right")
        share_of_groups = np.where(at > 0, upto[np.maximum(at - 1, 0)], 0) / self.n_groups
        n = len(sizes) * self.n_groups / (len(sizes) + self.n_groups)
        return bool(
            kolmogorov(np.sqrt(n) * np.abs(share_of_sizes - share_of_groups).max()) < ALIKE_LEVEL
        )


def _comparable(column: pd.Series) -> NDArray[np.float64] | NDArray[np.int64]:
    if column.dtype == object:
        return _numbered(column)
    numbers = column.to_numpy(dtype=np.float64) + 0.0
    return np.where(np.isnan(numbers), np.nan, numbers).astype(np.float64)


def _numbered(values: Any) -> NDArray[np.int64]:
    """Number values in the order of their first occurrence; -1 for a missing one."""
    numbers: NDArray[np.int64] = pd.factorize(values)[0].astype(np.int64)
    return numbers
