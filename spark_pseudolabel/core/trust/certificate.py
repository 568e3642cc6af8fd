"""Certified precision: publish the rows of which it can be shown that enough labels are right.

Learn-then-test with exact p-values and fixed-sequence testing (Angelopoulos et al. 2021): cuts are
tried from the strictest to the loosest, each at the full error level, up to the first that fails.
The order of the cuts comes from the pool's scores alone and never from the calibration labels, and
one certificate uses its calibration rows once. The p-values are of the published rows themselves,
which are finitely many: a test of the population they come from is broken by chance the more
often, the fewer they are (docs/selection.md says what is proved).

Where no precision is given, the run publishes at the highest step of a ladder that can be shown for
enough rows. What can be shown is read off a band that holds at all cuts together
(:mod:`spark_pseudolabel.core.trust.band`), so that the step may be chosen after a look at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from spark_pseudolabel.core.facts import Claim, ClassResult
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.selection.promised import LADDER
from spark_pseudolabel.core.trust.band import local_level
from spark_pseudolabel.core.trust.claims import Tests
from spark_pseudolabel.core.trust.claims import rows_needed as rows_needed
from spark_pseudolabel.core.trust.evidence import CalibrationRows as CalibrationRows
from spark_pseudolabel.core.trust.evidence import tail_of
from spark_pseudolabel.core.trust.finite_population import fewest_wrong, most_wrong
from spark_pseudolabel.core.trust.ladder import highest, steps
from spark_pseudolabel.core.trust.promise import Promise as Promise
from spark_pseudolabel.wording import counted

ScoreSource = Literal["out_of_fold", "held_out"]


@dataclass(frozen=True)
class Certificate:
    """The outcome of one certified round.

    Parameters
    ----------
    promise
        What was to be shown; where the best precision was wanted, the one that was chosen.
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
    tests = Tests(promise, pool, rows, labels)
    if refused is not None or not promise.best:
        claims = tests.claims(promise.error)
    else:
        bands = tests.bands()
        step = highest(steps([*bands.values()], pool.total, promise.min_coverage))
        promise = replace(promise, precision=LADDER[-1] if step is None else step.precision)
        claims = tests.read_off(bands, promise.error, shown=step is not None)
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
    needed = min((_needed(promise, size) for size in sizes), default=0)
    least = ", the least of the ladder," if promise.best else ""
    if n_rows >= needed:
        return None
    return (
        f"precision {promise.precision:g}{least} with certainty {promise.certainty:g} needs at "
        f"least {counted(needed, f'{kind} row')}, all predicted right. There are {n_rows:,}."
    )


def _needed(promise: Promise, pool: int | None) -> int:
    """Return the fewest rows, all predicted right, that show the promise."""
    needed = rows_needed(promise.error, promise.risk, 0, pool)
    while promise.best:
        more = rows_needed(promise.error, local_level(needed, promise.risk), 0, pool)
        if more <= needed:
            break
        needed = more
    return needed


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
