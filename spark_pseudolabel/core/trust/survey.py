"""What a run could promise: the precision of each share of the pool, and what more would take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spark_pseudolabel.core.facts import BandPoint, Instead, LadderStep, MissingLabels
from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.trust.band import Band, band
from spark_pseudolabel.core.trust.claims import Tests
from spark_pseudolabel.core.trust.evidence import CalibrationRows, tail_of
from spark_pseudolabel.core.trust.ladder import highest, steps
from spark_pseudolabel.core.trust.promise import Promise


@dataclass(frozen=True)
class Survey:
    """What can be shown at any cut, whatever is claimed.

    Parameters
    ----------
    band
        Lower bounds of the precision over all labels, holding at all cuts together.
    ladder
        What can be shown of precisions that might be promised, the highest first: with the
        band, where the promise is one over all labels; of each class, and by itself, otherwise.
    missing
        What each class takes to be shown by itself.
    instead
        What could be promised; None where the promise is kept, or none of the ladder could be.
    """

    band: tuple[BandPoint, ...] = ()
    ladder: tuple[LadderStep, ...] = ()
    missing: tuple[MissingLabels, ...] = ()
    instead: Instead | None = None


def survey(
    promise: Promise, pool: Counts, rows: CalibrationRows, labels: int | None = None
) -> Survey:
    """Look at all cuts; parameters as of :func:`~spark_pseudolabel.core.trust.certificate.certify`.

    A promise of the best precision is the one before a step was chosen. Not to be asked where
    nothing may be claimed.
    """
    tests = Tests(promise, pool, rows, labels)
    bands = tests.bands()
    ladder = steps([*bands.values()], pool.total, promise.min_coverage)
    if promise.per == "all":
        (of_all,) = bands.values()
        ladder = tuple(
            step if step.certified else _with_outlook(step, tests, of_all) for step in ladder
        )
    else:
        of_all = band(rows, range(len(pool.n)), pool, promise.risk)
    return Survey(
        of_all.points(pool.total),
        ladder,
        _missing(promise, ladder, tests),
        _instead(promise, ladder, tests),
    )


def _with_outlook(step: LadderStep, tests: Tests, of_all: Band) -> LadderStep:
    """Say what it takes to show this precision by a band."""
    claim = tests.short_of(of_all.codes, 1.0 - step.precision, of_all)
    return replace(step, more_labels=claim.more_labels, outlook=claim.outlook)


def _missing(
    promise: Promise, ladder: tuple[LadderStep, ...], tests: Tests
) -> tuple[MissingLabels, ...]:
    error, chosen = promise.error, highest(ladder)
    if promise.best and chosen is not None:
        error = 1.0 - chosen.precision
    found = []
    for code, counts in enumerate(tests.pool.n):
        claim = tests.claim((code,), error, promise.risk)
        (everything,) = tests.rows.at([code], [0], tail_of(counts))
        found.append(
            MissingLabels(code, everything.n, everything.wrong, claim.more_labels, claim.outlook)
        )
    return tuple(found)


def _instead(promise: Promise, ladder: tuple[LadderStep, ...], tests: Tests) -> Instead | None:
    chosen = highest(ladder)
    if promise.best or chosen is None:
        return None
    if any(claim.cut is not None for claim in tests.claims(promise.error)):
        return None
    published = sum(claim.rows for claim in tests.claims(1.0 - chosen.precision))
    return Instead(chosen.precision, chosen.rows, published >= chosen.rows)
