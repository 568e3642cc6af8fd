"""A band: lower bounds of the share of right labels that hold at all cuts together.

Sort all wrong rows, tested and published ones alike, by confidence. Chance has dealt each of them
to one side or the other, so the number of tested ones among the first d is a hypergeometric walk,
whatever the model, its scores and its errors are. The band is the boundary that this walk stays
above with the certainty that is asked for, the same error level at each of its points (equal local
levels, as in Berk and Jones 1979 and Gontscharuk, Landwehr, Finner 2016): tighter where errors are
rare than one of constant width, and as tight as exact bounds at some ten cuts at a tenth of the
risk each, without having to name the cuts beforehand. docs/selection.md says what is proved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaln, xlogy

from spark_pseudolabel.core.facts import BandPoint
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.trust.evidence import CalibrationRows, Evidence, tail_of
from spark_pseudolabel.core.trust.finite_population import most_wrong

STEP = 0.01
"""Share of the rows by which one point of a band is looser than the one before it."""

_TENTH = 10  # of a standard deviation: by so much a large number of errors is rounded up
_LEVEL_DIGITS = 0.01  # relative


@dataclass(frozen=True)
class Band:
    """Upper bounds of the wrong rows at or above each of some cuts, all of them together.

    Parameters
    ----------
    codes
        Class indices that it is about.
    bins
        The cuts, the strictest first.
    rows
        ndarray of shape (n_cuts,): pool rows of these classes at or above each cut.
    wrong
        ndarray of shape (n_cuts,): how many of them are wrong at most.
    evidence
        What was tested at each cut.
    level
        Error level of the bound at each single cut.
    """

    codes: tuple[int, ...]
    bins: tuple[int, ...]
    rows: NDArray[np.int64]
    wrong: NDArray[np.float64]
    evidence: tuple[Evidence, ...]
    level: float

    def loosest(self, error: float) -> int | None:
        """Return the place of the loosest cut at which no more than this share can be wrong."""
        enough = np.flatnonzero(self.wrong <= error * self.rows + 1e-6)
        return int(enough[-1]) if len(enough) else None

    def points(self, n_pool: int) -> tuple[BandPoint, ...]:
        """Return its points, as shares of so many pool rows."""
        return tuple(
            BandPoint(int(n) / n_pool, int(n), max(0.0, float(1 - k / n)), bin_ / 1000)
            for bin_, n, k in zip(self.bins, self.rows, self.wrong, strict=True)
        )


def band(rows: CalibrationRows, codes: Sequence[int], pool: Counts, risk: float) -> Band:
    """Bound the wrong rows among those predicted as some classes, at all cuts together.

    Parameters
    ----------
    rows
        Tested rows.
    codes
        The classes.
    pool
        The scored pool.
    risk
        Allowed probability that any of the bounds is broken.

    Returns
    -------
    Band
        At cuts a hundredth of these rows apart. Its bounds hold at every cut, so that a cut may be
        chosen after a look at all of them.
    """
    tail = tail_of(pool.n[list(codes)].sum(axis=0))
    bins = _bins(tail)
    (whole,) = rows.at(codes, [0], tail)
    evidence = tuple(rows.at(codes, bins, tail))
    level = local_level(max(1, whole.n, whole.every.n if whole.every else 0), risk)
    n = tail[bins]
    wrong = np.array(
        [_most(e, whole, (int(m), int(tail[0])), level) for e, m in zip(evidence, n, strict=True)]
    )
    if len(bins):
        # Wrong rows above a cut are above any looser one, and few rows more are few errors more.
        wrong = np.minimum.accumulate(wrong[::-1])[::-1]
        wrong = np.minimum.accumulate(wrong - n) + n
    return Band(tuple(codes), tuple(bins), n, wrong, evidence, level)


def _bins(tail: NDArray[np.int64]) -> list[int]:
    """Return the bins to cut at, the strictest first, by the pool's scores alone."""
    most = int(tail[0])
    if not most:
        return []
    wanted = np.ceil(np.arange(STEP, 1 + STEP / 2, STEP) * most - 1e-9).clip(1, most)
    return sorted({int(np.flatnonzero(tail >= n)[-1]) for n in wanted}, reverse=True)


def _most(evidence: Evidence, whole: Evidence, rows: tuple[int, int], level: float) -> float:
    """Return the upper bound of wrong rows at a cut: the larger one of two that each hold.

    One takes the pool's share of rows above the cut for that of the tested ones; that is the one
    whose level is exact for all cuts together. The other asks the tested rows above the cut alone.
    It is needed where models that have learned from fewer rows are less sure of the tested ones.
    """
    at_cut, in_all = rows
    pairs = [(evidence, whole)]
    if evidence.every is not None and whole.every is not None:
        pairs.append((evidence.every, whole.every))
    bounds = []
    for above, everything in pairs:
        k = _rounded(above.wrong)
        if k >= most_counted(everything.n) or not above.n or not above.pool:
            return float(at_cut)
        of_all = most_wrong(k, everything.n, everything.pool, level) / everything.pool
        of_cut = most_wrong(min(k, above.n), above.n, above.pool, level) / above.pool
        bounds.append(max(of_all * in_all, of_cut * at_cut))
    return min(float(at_cut), max(bounds))


# --- the level of a single point -----------------------------------------------------------


def most_counted(n: int) -> int:
    """Return from how many errors among so many tested rows on nothing is said."""
    return max(1, n // 2)


def local_level(n: int, risk: float) -> float:
    """Return the error level at each cut with which the bounds at all cuts hold together.

    Parameters
    ----------
    n
        Tested rows, at least 1.
    risk
        Allowed probability that any bound is broken.

    Returns
    -------
    float
        By the exact probability that ordered uniform numbers stay below a boundary, for an endless
        pool. A finite pool's bounds are broken less often (``tests/core/trust/test_band.py``). Of
        so many rows, rounded up to two digits: it falls with them, and slowly.

    Examples
    --------
    >>> [round(local_level(n, 0.05), 4) for n in (100, 600, 2000)]
    [0.0057, 0.0033, 0.0025]
    """
    unit = 10 ** max(0, len(str(n)) - 2)
    return _local_level(-(-n // unit) * unit, risk)


@cache
def _local_level(n: int, risk: float) -> float:
    counts = _counts(most_counted(n))
    low, high = math.log(risk / 1000), math.log(risk)
    while high - low > _LEVEL_DIGITS:
        middle = (low + high) / 2
        holds = broken_somewhere(counts, n, math.exp(middle)) <= risk
        low, high = (middle, high) if holds else (low, middle)
    return math.exp(low)


def broken_somewhere(counts: Sequence[int], n: int, level: float) -> float:
    """Return the probability that any of some bounds is broken.

    The bound of k errors is broken where the (k + 1)-th of n ordered uniform numbers, the share of
    the pool's rows that are wrong and above it, exceeds the beta quantile at this level. These
    numbers are the times of a Poisson process of which n points fall into the unit interval (Noé's
    recursion; by increments as in Moscovich and Nadler 2017).
    """
    k = np.array(counts)
    times = n * betaincinv(k + 1.0, n - k, 1.0 - level)
    state, fewest, before = np.ones(1), 0, 0.0
    for count, time in zip(counts, times, strict=True):
        mean = time - before
        state = np.convolve(state, _poisson(mean, int(mean + 8 * math.sqrt(mean) + 12)))
        state = state[count + 1 - fewest :]  # by that time, more than `count` points
        fewest, before = count + 1, time
        # What is cut off at the upper end counts as broken.
        state = state[: int(12 * math.sqrt(count + 1)) + 40]
    missing = n - (fewest + np.arange(len(state)))
    state = state[missing >= 0]
    last = _log_poisson(n - before, missing[missing >= 0]) - _log_poisson(float(n), np.array([n]))
    return float(1.0 - (state * np.exp(last)).sum())


def _counts(end: int) -> list[int]:
    """Return the numbers of errors that have a bound of their own: all small ones, some large."""
    counts = [0]
    while counts[-1] < end - 1:
        counts.append(min(end - 1, counts[-1] + max(1, math.isqrt(counts[-1]) // _TENTH)))
    return counts


def _rounded(wrong: int) -> int:
    """Return the least number of errors from this on that has a bound of its own."""
    if wrong < (2 * _TENTH) ** 2:  # from there on, steps are of two and more
        return wrong
    return _all_counts(1 << wrong.bit_length())[wrong]


@cache
def _all_counts(end: int) -> list[int]:
    counts = _counts(end)
    return [counts[at] for at in np.searchsorted(counts, np.arange(end))]


def _poisson(mean: float, most: int) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = np.exp(_log_poisson(mean, np.arange(most + 1)))
    return probabilities


def _log_poisson(mean: float, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = xlogy(counts, mean) - mean - gammaln(counts + 1.0)
    return logs
