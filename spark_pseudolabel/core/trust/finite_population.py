"""What a sample tells about the rest of a finite population: the hypergeometric distribution.

Tested rows and published rows are one population, and chance has dealt it into the two. So the
wrong ones among the tested follow a hypergeometric law, however few the published rows are.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import bdtr, betaincinv, gammaln

_SERIES_FROM = 20
# Shares as people write them, such as 0.95, are not exact in binary: of 20 rows one may be wrong.
_DIGITS = 6


def allowed_wrong(error: float, rows: int) -> int:
    """Return how many of so many rows may be wrong at this share of errors.

    Examples
    --------
    >>> [allowed_wrong(1 - 0.95, rows) for rows in (19, 20, 4_000_000_000)]
    [0, 1, 200000000]
    """
    return math.floor(round(error * rows, _DIGITS))


def p_value(wrong: int, n: int, error: float, pool: int | None = None) -> float:
    """Return the greatest probability of so few errors among tested rows if too many others err.

    Parameters
    ----------
    wrong, n
        Tested rows, and how many of them are wrong.
    error
        Share of errors that the others may have at most.
    pool
        How many others there are; None: endlessly many.

    Returns
    -------
    float
        Of `n` rows drawn from ``n + pool``, of which ``wrong`` and one more than is allowed of
        the pool are wrong, the probability that at most `wrong` are. 1 where nothing was tested,
        or there is nothing to tell of.
    """
    if not n or pool == 0:
        return 1.0
    if pool is None:
        return float(bdtr(wrong, n, error)) if wrong >= 0 else 0.0
    return at_most(wrong, n, wrong + allowed_wrong(error, pool) + 1, n + pool)


def at_most(k: int, n: int, marked: int, population: int) -> float:
    """Return the probability of at most `k` marked ones in a sample.

    Parameters
    ----------
    k
        At least 0.
    n
        Size of the sample.
    marked, population
        How many are marked, of how many: exact to about 12 digits up to billions.

    Examples
    --------
    >>> round(at_most(0, 59, 3, 109), 6)
    0.093363
    """
    plain = population - marked
    least = max(0, n - plain)
    if k < least:
        return 0.0
    if k >= min(n, marked):
        return 1.0
    spare = plain - n
    if spare >= _SERIES_FROM:
        logs = _log_none(n, marked, spare) + _log_ratios(k, n, marked, spare)
    else:
        drawn = np.arange(least, k + 1, dtype=float)
        logs = _log_choose(marked, drawn) + _log_choose(plain, n - drawn)
        logs = logs - _log_choose(population, np.array([float(n)]))
    largest = float(logs.max())  # scipy's logsumexp takes ten times as long on so few numbers
    return min(1.0, math.exp(largest) * float(np.exp(logs - largest).sum()))


@lru_cache(maxsize=1 << 14)
def most_wrong(wrong: int, n: int, pool: int, level: float) -> int:
    """Return the upper bound, at an error level, of the wrong rows among `pool` others."""
    if not n:
        return pool

    def possible(more: int) -> bool:
        return at_most(wrong, n, wrong + more, n + pool) > level

    # That of an endless pool, its distance widened by the luck of this one, is near it.
    seen = wrong / n
    endless = float(betaincinv(wrong + 1, n - wrong, 1 - level)) if wrong < n else 1.0
    near = min(1.0, max(0.0, seen + (endless - seen) * math.sqrt(1 + n / max(1, pool))))
    low = high = int(near * pool)
    step = 1 + int(0.02 * abs(near - seen) * pool)
    while high < pool and possible(high):
        low, high, step = high, min(pool, high + step), 2 * step
    while low > 0 and not possible(low):
        low, high, step = max(0, low - step), low, 2 * step
    if high == pool and possible(pool):
        return pool
    while high - low > 1:  # low is not ruled out, high is
        middle = (low + high) // 2
        low, high = (middle, high) if possible(middle) else (low, middle)
    return low


def fewest_wrong(wrong: int, n: int, pool: int, level: float) -> int:
    """Return the lower bound, at an error level, of the wrong rows among `pool` others."""
    if not wrong:
        return 0
    low, high = 0, pool
    while low < high:
        middle = (low + high) // 2
        possible = 1.0 - at_most(wrong - 1, n, wrong + middle, n + pool) > level
        low, high = (low, middle) if possible else (middle + 1, high)
    return low


def _log_none(n: int, marked: int, spare: int) -> float:
    """Return the logarithm of the probability of a sample without a marked one.

    That is (spare + n)! (spare + marked)! / (spare! (spare + n + marked)!), by Stirling's series
    with the large terms cancelled by hand: differences of log-gammas lose all digits at billions.
    """
    population = spare + n + marked
    series = _stirling(spare + n) + _stirling(spare + marked)
    series -= _stirling(spare) + _stirling(population)
    return (
        (spare + 0.5) * math.log1p(n * marked / (spare * population))
        + n * math.log1p(-marked / population)
        + marked * math.log1p(-n / population)
        + series
    )


def _log_ratios(k: int, n: int, marked: int, spare: int) -> np.ndarray:
    """Return the logarithms of the probabilities of 0 to k, relative to that of 0."""
    i = np.arange(k, dtype=float)
    steps = np.log((marked - i) / (spare + 1 + i) * ((n - i) / (i + 1)))
    logs: np.ndarray = np.zeros(k + 1)
    np.cumsum(steps, out=logs[1:])
    return logs


def _stirling(x: float) -> float:
    return 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5)


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    chosen: np.ndarray = gammaln(n + 1.0) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen
