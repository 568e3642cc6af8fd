"""Which rows are drawn where there are more than are wanted: those with the lowest hashes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SLACK = 1.2
_SPARE_ROWS = 1000
_SPARE_SDS = 6
_HASHES = 2**64

HashLimits = Sequence[int | None] | None
"""Per class the highest hash that is used, None for no row of it; None for all rows."""


def proportional_shares(counts: Sequence[int], limit: int) -> list[int]:
    """Share a number of rows between classes in proportion to their size.

    Parameters
    ----------
    counts
        Available rows per class.
    limit
        Rows to hand out in all, >= 0.

    Returns
    -------
    list of int
        At most the available rows per class, together ``min(limit, sum(counts))``; fractions go
        to the classes with the largest remainder, the first of equals.

    Examples
    --------
    >>> proportional_shares([90, 10], 50)
    [45, 5]
    >>> proportional_shares([3, 2], 100)
    [3, 2]
    """
    available = np.asarray(counts, dtype=np.int64)
    if limit >= available.sum():
        return [int(n) for n in available]
    exact = available * (max(limit, 0) / available.sum())
    shares = np.floor(exact).astype(np.int64)
    leftover = max(limit, 0) - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:leftover]] += 1
    return [int(n) for n in shares]


def hash_limits(
    codes: NDArray[np.int32], hashes: NDArray[np.int64], shares: Sequence[int]
) -> list[int | None]:
    """Find, per class, the hash up to which rows are taken so that the quota is met.

    Parameters
    ----------
    codes, hashes
        ndarrays of shape (n,): class index and hash of rows; of every class at least as many of
        the lowest hashes as its share.
    shares
        Rows to take per class, from :func:`proportional_shares`.

    Returns
    -------
    list
        Per class the highest hash that is still taken; None takes nothing. Rows that tie there
        are left out together rather than exceed the quota.
    """
    return [_limit(np.sort(hashes[codes == code]), share) for code, share in enumerate(shares)]


def within(
    codes: NDArray[np.int32], hashes: NDArray[np.int64], limits: HashLimits
) -> NDArray[np.bool_]:
    """Tell which rows lie within the hash limits of their class; all of them without limits.

    Examples
    --------
    >>> within(np.array([0, 0, 1]), np.array([-5, 7, -9]), [3, None]).tolist()
    [True, False, False]
    """
    if limits is None:
        return np.ones(len(codes), dtype=bool)
    used = np.array([limit is not None for limit in limits])
    highest = np.array([limit if limit is not None else 0 for limit in limits], dtype=np.int64)
    mask: NDArray[np.bool_] = used[codes] & (hashes <= highest[codes])
    return mask


def low_limits(counts: Sequence[int], limit: int, slack: float = 1.0) -> list[int | None]:
    """Return hashes, per class, below which surely and not much more than its quota of rows lie.

    Parameters
    ----------
    counts
        Rows per class, whose hashes are even.
    limit
        Rows to take in all.
    slack
        How many times the rows that even hashes would leave there; large enough, it takes all.
    """
    shares = proportional_shares(counts, limit)
    return [_low_limit(share, n, slack) for share, n in zip(shares, counts, strict=True)]


def limits_within(counts: Sequence[int], limit: int) -> HashLimits:
    """Return hashes, per class, up to which at most its share of a number of rows lies.

    Found without a look at the rows, whose hashes are even: a few less lie there, and more but for
    one time in a billion.

    Parameters
    ----------
    counts
        Rows per class.
    limit
        Rows to take in all.

    Returns
    -------
    list or None
        See :data:`HashLimits`.

    Examples
    --------
    >>> limits_within([600, 400], 1000) is None
    True
    >>> upto = limits_within([1_000_000, 0], 500_000)[0]
    >>> round((upto + 2**63) / 2**64, 3)
    0.496
    """
    if sum(counts) <= limit:
        return None
    shares = proportional_shares(counts, limit)
    # With so many expected, _SPARE_SDS standard deviations more are still within the share.
    half = _SPARE_SDS / 2
    sure = [(math.sqrt(half**2 + share) - half) ** 2 for share in shares]
    return [
        int(-(_HASHES // 2) + n / count * _HASHES) if n >= 1 else None
        for n, count in zip(sure, counts, strict=True)
    ]


def sample_limit(n: int, n_rows: int) -> int | None:
    """Return a hash below which the `n` lowest of `n_rows` even hashes lie, None for all rows.

    They do but for one time in a billion.
    """
    share = (n + _SPARE_SDS * math.sqrt(n)) / n_rows
    return int(-(_HASHES // 2) + int(share * _HASHES)) if share < 1 else None


def _low_limit(share: int, n: int, slack: float) -> int | None:
    if share == 0:
        return None
    expected = min(1.0, slack * (_SLACK * share + _SPARE_ROWS) / n)
    return min(int(-(_HASHES // 2) + expected * _HASHES), _HASHES // 2 - 1)


def _limit(sorted_hashes: NDArray[np.int64], share: int) -> int | None:
    if share <= 0 or len(sorted_hashes) == 0:
        return None
    if share >= len(sorted_hashes):
        return int(sorted_hashes[-1])
    while share > 0 and sorted_hashes[share - 1] == sorted_hashes[share]:
        share -= 1
    return int(sorted_hashes[share - 1]) if share else None
