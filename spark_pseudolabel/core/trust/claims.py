"""What calibration rows show of the pool: one claim for all classes, or one for each.

A claim about a precision that is given is tested from the strictest cut to the loosest, up to the
first that fails; one about a precision that is chosen is read off a band.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.facts import Claim, Outlook
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.trust.band import Band, band, local_level
from spark_pseudolabel.core.trust.evidence import CalibrationRows, Evidence, tail_of
from spark_pseudolabel.core.trust.finite_population import most_wrong, p_value
from spark_pseudolabel.core.trust.promise import Promise

STEP = 0.02
"""Share of the pool by which one cut of the sequence is looser than the one before it."""

_START_SHARE = 1 / 3
_START_SLACK = 1.2
# Estimates of missing labels look this many times as far as a test without an error.
_HOPELESS = 100

_LIKELY = 0.1  # what chance explains more often is no sign of a model that is good enough


class Tests:
    """The tests of one certificate, all of whose claims are to hold together.

    Parameters
    ----------
    promise
        What is to be shown. Only a precision that is given is tested cut by cut.
    pool, rows, labels
        As of :func:`~spark_pseudolabel.core.trust.certificate.certify`.
    """

    def __init__(
        self, promise: Promise, pool: Counts, rows: CalibrationRows, labels: int | None = None
    ) -> None:
        self.pool, self.rows = pool, rows
        self.risk = promise.risk
        self.groups = _groups(promise, pool, rows.expected)
        """The classes of each claim, and whether it is tested at all."""
        self.level = promise.risk / max(1, sum(tested for _, tested in self.groups))
        """Error level of a claim."""
        self._labels_per_row = labels / len(rows) if labels and len(rows) else 1.0

    def bands(self) -> dict[tuple[int, ...], Band]:
        """Return a band for each claim that is tested, by its classes."""
        return {
            codes: band(self.rows, codes, self.pool, self.level)
            for codes, tested in self.groups
            if tested
        }

    def claims(self, error: float) -> tuple[Claim, ...]:
        """Return the claims about a share of wrong labels that was fixed beforehand."""
        return tuple(
            self.claim(codes, error, self.level, tested=tested) for codes, tested in self.groups
        )

    def claim(
        self, codes: tuple[int, ...], error: float, level: float, *, tested: bool = True
    ) -> Claim:
        """Return the claim about some classes: the loosest cut before the first that fails."""
        pool_tail = tail_of(self.pool.n[list(codes)].sum(axis=0))
        sequence = _sequence(pool_tail, self.pool.total, self.rows, error, level)
        cuts = self.rows.at(codes, sequence, pool_tail)
        p = [evidence.p_value(error) for evidence in cuts]
        passed = _leading(value <= level for value in p) if tested else 0
        at = max(0, passed - 1)
        at_cut = cuts[at] if cuts else Evidence(0, 0, 0)
        most = most_wrong(at_cut.wrong, at_cut.n, at_cut.pool, level)
        outlook, more = (None, None) if passed else _outlook(cuts, self.rows, error, level)
        if more is not None:
            more = math.ceil(more * self._labels_per_row)
        return Claim(
            codes=codes,
            cut=sequence[at] / 1000 if passed else None,
            n=at_cut.n,
            wrong=at_cut.wrong,
            p_value=p[at] if p else 1.0,
            level=level,
            bound=1.0 - most / at_cut.pool if at_cut.pool else 0.0,
            rows=int(pool_tail[sequence[at]]) if passed else 0,
            more_labels=more,
            outlook=outlook,
        )

    def short_of(self, codes: tuple[int, ...], error: float, band: Band | None) -> Claim:
        """Return what it takes for a band to show a precision.

        Parameters
        ----------
        band
            Of these classes, which does not show it; None where none was made.
        """
        claim = self.claim(codes, error, self.level if band is None else band.level)
        before = 0
        while claim.more_labels is not None and claim.more_labels > before:
            # The bounds of more rows are at a lower level each.
            before = claim.more_labels
            n = len(self.rows) + math.ceil(before / self._labels_per_row)
            claim = self.claim(codes, error, local_level(n, self.level))
        return claim

    def read_off(
        self, bands: Mapping[tuple[int, ...], Band], error: float, *, shown: bool
    ) -> tuple[Claim, ...]:
        """Return the claims that bands allow.

        Parameters
        ----------
        bands
            Of :meth:`bands`.
        error
            A share of wrong labels, which may have been chosen by them.
        shown
            Whether it is shown for enough rows; else there is no cut.
        """
        claims = []
        for codes, _ in self.groups:
            band = bands.get(codes)
            at = band.loosest(error) if band is not None and shown else None
            if band is not None and at is not None:
                claims.append(_at(band, at, error))
                continue
            claim = self.short_of(codes, error, band)
            none = replace(claim, cut=None, rows=0, outlook=claim.outlook or "unclear")
            claims.append(none)
        return tuple(claims)


def _at(band: Band, place: int, error: float) -> Claim:
    evidence = band.evidence[place]
    return Claim(
        codes=band.codes,
        cut=band.bins[place] / 1000,
        n=evidence.n,
        wrong=evidence.wrong,
        p_value=evidence.p_value(error),
        level=band.level,
        bound=float(1 - band.wrong[place] / band.rows[place]),
        rows=int(band.rows[place]),
        more_labels=None,
    )


@cache
def rows_needed(error: float, level: float, wrong: int = 0, pool: int | None = None) -> int:
    """Return the fewest tested rows with which so many errors still allow a claim.

    Parameters
    ----------
    error, level, wrong
        Share of errors not to be exceeded, error level of the test, errors found.
    pool
        How many rows the claim is about, at least 1; None: endlessly many.

    Examples
    --------
    >>> [rows_needed(0.05, 0.05, wrong) for wrong in (0, 1, 2, 5)]
    [59, 93, 124, 208]
    >>> [rows_needed(0.05, 0.05, wrong, pool=100) for wrong in (0, 1, 2, 5)]
    [64, 107, 148, 265]
    """
    low, high = wrong, wrong + 1
    while p_value(wrong, high, error, pool) > level:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = p_value(wrong, middle, error, pool) <= level
        low, high = (low, middle) if enough else (middle, high)
    return high


def _groups(promise: Promise, pool: Counts, n_rows: float) -> list[tuple[tuple[int, ...], bool]]:
    """Return the classes of each claim, and whether it is tested at all.

    A class of which too few calibration rows are to be expected takes no part, so that the risk is
    shared by the others alone. Expected by the pool's counts: the calibration rows are not asked.
    """
    codes = range(len(pool.n))
    if promise.per == "all":
        return [(tuple(codes), True)]
    expected = n_rows * pool.by_class / max(1, pool.total)
    order = np.argsort(-expected, kind="stable")
    tested = 0
    for n_tested, code in enumerate(order, start=1):
        if expected[code] >= rows_needed(promise.error, promise.risk / n_tested):
            tested = n_tested
    return [((code,), code in order[:tested]) for code in codes]


def _sequence(
    pool_tail: NDArray[np.int64], n_pool: int, rows: CalibrationRows, error: float, level: float
) -> list[int]:
    """Return the bins to cut at, the strictest first, chosen by the pool's scores alone."""
    most, n_rows = int(pool_tail[0]), rows.expected
    if most == 0 or n_rows == 0:
        return []
    start = _start_rows(n_rows, error, level) / n_rows
    wanted = np.ceil(np.arange(start, most / n_pool, STEP) * n_pool - 1e-9)
    # Of that many rows one more may be wrong than of one row less.
    wanted = np.minimum(np.ceil(np.ceil(wanted * error - 1e-9) / error - 1e-9), most)
    bins = {int(np.flatnonzero(pool_tail >= n)[-1]) for n in wanted}
    cuts = [
        bin_
        for bin_ in bins
        if _worth_a_test(n_rows * pool_tail[bin_] / n_pool, int(pool_tail[bin_]), error, level)
    ]
    everything = int(np.flatnonzero(pool_tail >= most)[-1])
    return sorted({*cuts, everything}, reverse=True)


def _start_rows(n_rows: float, error: float, level: float) -> float:
    """Return how many calibration rows the strictest cut is expected to have.

    Enough that one error does not end the sequence; more, where there are the rows, because the
    most confident rows hold a few errors of any model (measured in docs/quality.md).
    """
    fewest = _START_SLACK * rows_needed(error, level, wrong=1)
    most = rows_needed(error, level, wrong=5)
    return float(np.clip(_START_SHARE * n_rows, fewest, most))


def _worth_a_test(expected: float, pool: int, error: float, level: float) -> bool:
    """Whether one error is not the end where so many calibration rows are to be expected.

    Of few published rows hardly any may be wrong, which takes many more rows to show.
    """
    return p_value(1, int(expected / _START_SLACK), error, pool) <= level


def _leading(flags: Any) -> int:
    """Count the true values before the first false one."""
    count = 0
    for flag in flags:
        if not flag:
            break
        count += 1
    return count


def _outlook(
    cuts: Sequence[Evidence], rows: CalibrationRows, error: float, level: float
) -> tuple[Outlook, int | None]:
    """Say what a claim takes, and estimate the missing labels where these would do.

    The least over the cuts, should their error rates stay. Only over cuts where errors are rare
    beyond chance, or where none is seen in too few rows for any claim: of many cuts one is lucky.
    """
    if not len(rows.codes):  # rows of a label that stand alone say nothing of a model
        return "labels", rows_needed(error, level)
    likely = [cut for cut in cuts if _seems_good(cut, error, level)]
    totals = [
        math.ceil(wanted * len(rows) / cut.n)
        for cut in likely
        if (wanted := _rows_at_rate(cut.wrong, cut.n, error, level, cut.pool)) is not None
    ]
    if totals:
        return "labels", max(1, min(totals) - len(rows))
    if likely:
        return "pool", None
    bad = [cut.n > 0 and 1 - p_value(cut.wrong - 1, cut.n, error) <= _LIKELY for cut in cuts]
    return ("model" if bad and all(bad) else "unclear"), None


def _seems_good(cut: Evidence, error: float, level: float) -> bool:
    if not cut.n:
        return False
    few = not cut.wrong and cut.n < rows_needed(error, level)
    return few or p_value(cut.wrong, cut.n, error) <= _LIKELY


def _rows_at_rate(wrong: int, n: int, error: float, level: float, pool: int) -> int | None:
    """Return the fewest rows that pass the test with this share of errors, None where none do."""
    if n == 0 or pool == 0 or wrong >= error * n:
        return None
    if not wrong:
        return rows_needed(error, level, 0, pool)

    def passes(errors: int) -> bool:
        return p_value(errors, errors * n // wrong, error, pool) <= level

    high = 1
    while not passes(high):
        high *= 2
        if high * n > _HOPELESS * rows_needed(error, level) * wrong:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return rows_needed(error, level, high, pool)
