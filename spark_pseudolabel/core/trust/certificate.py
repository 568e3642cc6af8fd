"""Certified precision: publish the rows of which it can be shown that enough labels are right.

Learn-then-test with exact p-values and fixed-sequence testing (Angelopoulos et al. 2021): cuts are
tried from the strictest to the loosest, each at the full error level, up to the first that fails.
The order of the cuts comes from the pool's scores alone and never from the calibration labels, and
one certificate uses its calibration rows once. The p-values are of the published rows themselves,
which are finitely many: a test of the population they come from is broken by chance the more
often, the fewer they are (docs/selection.md says what is proved).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.facts import Claim, ClassResult, Outlook
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.trust.evidence import CalibrationRows as CalibrationRows
from spark_pseudolabel.core.trust.evidence import Evidence, tail_of
from spark_pseudolabel.core.trust.finite_population import fewest_wrong, most_wrong, p_value

STEP = 0.02
"""Share of the pool by which one cut of the sequence is looser than the one before it."""

_START_SHARE = 1 / 3
_START_SLACK = 1.2
# Estimates of missing labels look this many times as far as a test without an error.
_HOPELESS = 100

_LIKELY = 0.1  # what chance explains more often is no sign of a model that is good enough

ScoreSource = Literal["out_of_fold", "held_out"]


@dataclass(frozen=True)
class Promise:
    """What is to hold of published labels.

    Parameters
    ----------
    precision
        Share of right labels among the published rows, in (0, 1).
    certainty
        Probability, over the draw of the labeled rows, that the share is reached, in (0, 1).
    per
        ``"all"``: over the published rows together. ``"class"``: in each class, all of these
        claims holding together with the given certainty.
    """

    precision: float = 0.95
    certainty: float = 0.95
    per: Literal["all", "class"] = "all"

    @property
    def risk(self) -> float:
        """Allowed probability of a broken promise."""
        return 1.0 - self.certainty

    @property
    def error(self) -> float:
        """Allowed share of wrong labels."""
        return 1.0 - self.precision


@dataclass(frozen=True)
class Certificate:
    """The outcome of one certified round.

    Parameters
    ----------
    promise
        What was to be shown.
    source
        Where the calibration rows' scores come from.
    n_calibration, n_pool
        Rows with true labels, copies and groups counted once, and valid pool rows.
    claims
        One for all classes, or one for each.
    refused
        Why nothing may be claimed whatever the numbers say, such as ``"drawn_per_class"``.
    n_only_ones
        How many of the calibration rows count as wrong for being the only one of their label.
    by_class
        What was found of each class, whatever the claims are about; empty without a claim.
    """

    promise: Promise
    source: ScoreSource
    n_calibration: int
    n_pool: int
    claims: tuple[Claim, ...]
    refused: str | None = None
    n_only_ones: int = 0
    by_class: tuple[ClassResult, ...] = ()

    @property
    def claimed(self) -> bool:
        """Whether any row may be published under the promise."""
        return self.refused is None and any(claim.cut is not None for claim in self.claims)

    @property
    def coverage(self) -> float:
        """Share of the valid pool rows that is published."""
        published = sum(claim.rows for claim in self.claims) if self.claimed else 0
        return published / self.n_pool if self.n_pool else 0.0

    def plan(self, rule: Mapping[str, Any], n_classes: int) -> Plan:
        """Return the plan that accepts exactly the certified rows."""
        cuts: list[Cut | None] = [None] * n_classes
        for claim in self.claims if self.claimed else ():
            for code in claim.codes if claim.cut is not None else ():
                cuts[code] = Cut(float(claim.cut or 0.0), "all")
        return Plan(rule, tuple(cuts))


def certify(
    promise: Promise,
    pool: Counts,
    rows: CalibrationRows,
    source: ScoreSource = "out_of_fold",
    refused: str | None = None,
    labels: int | None = None,
) -> Certificate:
    """Find the loosest cut that the calibration rows allow.

    Parameters
    ----------
    promise
        What is to be shown.
    pool
        The scored pool, counted by predicted class and confidence bin.
    rows
        Used once: a second certificate on the same rows, after a model has learned from labels
        that the first one let through, does not hold.
    source
        Where the scores of `rows` come from.
    refused
        A reason to claim nothing that lies outside the numbers; no claim has a cut then, nor
        would more labels help.
    labels
        Rows that had to be labeled to have `rows`, where these are a part of them: missing labels
        are counted in the same way. None: `rows` are all of them.

    Returns
    -------
    Certificate
        Cuts are bin edges, so that the counts alone say exactly which pool rows they publish.
    """
    groups = _groups(promise, pool, rows.expected)
    level = promise.risk / max(1, sum(tested for _, tested in groups))
    claims = tuple(
        _claim(codes, pool, rows, promise.error, level, tested=tested) for codes, tested in groups
    )
    if labels and len(rows):
        claims = tuple(_in_labels(claim, labels / len(rows)) for claim in claims)
    if refused is not None:
        claims = tuple(
            replace(claim, cut=None, rows=0, more_labels=None, outlook=None) for claim in claims
        )
    by_class = tuple(
        _of_class(code, claim.cut, pool, rows, promise.risk)
        for claim in claims
        if claim.cut is not None
        for code in claim.codes
    )
    return Certificate(
        promise, source, len(rows), pool.total, claims, refused, rows.only_ones, by_class
    )


def why_impossible(
    promise: Promise, n_rows: int, kind: str = "labeled", pool: int | None = None
) -> str | None:
    """Say why no data could ever give this certificate, or None where some could.

    Parameters
    ----------
    n_rows
        Calibration rows there will be.
    kind
        What rows they are.
    pool
        Pool rows there are; None: many. Of a handful, one row is shown to be right by fewer.

    Examples
    --------
    >>> why_impossible(Promise(0.95, 0.95), 59)
    >>> why_impossible(Promise(0.95, 0.95), 58)
    'precision 0.95 with certainty 0.95 needs at least 59 labeled rows, all predicted right. \
There are 58.'
    """
    sizes: Sequence[int | None] = [None]
    if pool is not None and pool * promise.error < 1:
        sizes = range(1, pool + 1)
    needed = min((rows_needed(promise.error, promise.risk, 0, size) for size in sizes), default=0)
    if n_rows >= needed:
        return None
    return (
        f"precision {promise.precision:g} with certainty {promise.certainty:g} needs at least "
        f"{needed:,} {kind} rows, all predicted right. There are {n_rows:,}."
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


def _of_class(
    code: int, cut: float, pool: Counts, rows: CalibrationRows, level: float
) -> ClassResult:
    bin_ = round(cut * 1000)
    pool_tail = tail_of(pool.n[code])
    (evidence,) = rows.at([code], [bin_], pool_tail)
    lower, upper = 0.0, 1.0
    if evidence.n and evidence.pool:
        lower = 1.0 - most_wrong(evidence.wrong, evidence.n, evidence.pool, level) / evidence.pool
        upper = 1.0 - fewest_wrong(evidence.wrong, evidence.n, evidence.pool, level) / evidence.pool
    return ClassResult(code, evidence.n, evidence.wrong, lower, upper, int(pool_tail[bin_]))


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


def _claim(
    codes: tuple[int, ...],
    pool: Counts,
    rows: CalibrationRows,
    error: float,
    level: float,
    *,
    tested: bool,
) -> Claim:
    pool_tail = tail_of(pool.n[list(codes)].sum(axis=0))
    sequence = _sequence(pool_tail, pool.total, rows, error, level)
    cuts = rows.at(codes, sequence, pool_tail)
    p = [evidence.p_value(error) for evidence in cuts]
    passed = _leading(value <= level for value in p) if tested else 0
    at = max(0, passed - 1)
    at_cut = cuts[at] if cuts else Evidence(0, 0, 0)
    most = most_wrong(at_cut.wrong, at_cut.n, at_cut.pool, level)
    outlook, more = (None, None) if passed else _outlook(cuts, rows, error, level)
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


def _in_labels(claim: Claim, labels_per_row: float) -> Claim:
    more = claim.more_labels
    return replace(claim, more_labels=None if more is None else math.ceil(more * labels_per_row))


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
