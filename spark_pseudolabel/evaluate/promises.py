"""How often a band is broken, and the precision that is read off it; other bands beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.selection.counts import Counts, bin_of
from spark_pseudolabel.core.selection.promised import LADDER, MIN_COVERAGE
from spark_pseudolabel.core.teachers.cross_fitting import fold_of, probabilities
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.trust.certificate import Certificate, certify
from spark_pseudolabel.core.trust.claims import Tests
from spark_pseudolabel.core.trust.evidence import CalibrationRows, dependence_of, tail_of
from spark_pseudolabel.core.trust.finite_population import most_wrong
from spark_pseudolabel.core.trust.promise import Promise
from spark_pseudolabel.core.trust.units import equal_rows, units_of
from spark_pseudolabel.evaluate.certificates import counts_of, group_sizes
from spark_pseudolabel.evaluate.measured import Curve, Promises, Realized
from spark_pseudolabel.evaluate.task import Task

GIVEN = 0.95
SHARES = (0.2, 0.5, 1.0)
_CUTS = (10, 20)

Step = tuple[float, int] | None
"""A precision and the bin that it is published from; None: none is shown for enough rows."""


def promise_task(learner: Teacher, task: Task, seen: Task | None = None) -> Promises:
    """Bound the precision of a task's pool at all cuts, by out-of-fold scores as runs do.

    Nothing is refused: rows are drawn at random.

    Parameters
    ----------
    learner, task
        What is certified.
    seen
        The task as the models see it, where they see node ids in place of features.
    """
    rows, pool = _scored(learner, task, seen or task)
    counts = counts_of(pool, len(task.data.classes))
    tests = Tests(Promise.of_best(), counts, rows)
    (band,) = tests.bands().values()
    wrong = _wrong_above(pool, band.bins)
    broken = bool((wrong > band.wrong + 1e-9).any())
    given = _published(certify(Promise(GIVEN), counts, rows), pool)
    given_broken = bool(given.any() and pool.right[given].mean() < GIVEN)
    best = certify(Promise.of_best(), counts, rows)
    of_each = certify(Promise.of_best(per="class"), counts, rows)
    others = {f"{n} cuts": _of_fixed_cuts(n, rows, counts) for n in _CUTS}
    others["sequences"] = _of_sequences(tests, counts)
    return Promises(
        band=Curve(
            broken=broken,
            lower=_at_shares(band.rows, band.wrong),
            true=_at_shares(band.rows, wrong),
        ),
        best=_realized(best, _published(best, pool), pool),
        class_=_realized(of_each, _published(of_each, pool), pool),
        given_broken=given_broken,
        both_broken=broken or given_broken,
        others={name: _of_step(step, pool) for name, step in others.items()},
    )


def _scored(learner: Teacher, task: Task, seen: Task) -> tuple[CalibrationRows, CalibrationRows]:
    """Return the rows to test and the pool, each scored by models that have not seen it."""
    classes, codes = task.data.classes, task.labeled.codes
    units = units_of(equal_rows(task.labeled.X), task.groups)
    fitted = learner.cross_fit(
        seen.labeled, fold_of(codes, task.hashes, units=units), classes, mean=True
    )
    known = fitted.held_out
    P = probabilities(fitted.mean_model(classes), seen.pool)
    rows = CalibrationRows.from_scores(
        fitted.adjusted[known],
        codes[known],
        len(np.unique(units[~known])),
        dependence_of(units[known], task.hashes[known], group_sizes(task)),
    )
    return rows, CalibrationRows.from_scores(P, task.pool_codes)


def _published(certificate: Certificate, pool: CalibrationRows) -> NDArray[np.bool_]:
    plan = certificate.plan({}, int(pool.codes.max()) + 1)
    cuts = np.array([np.inf if cut is None else cut.confidence for cut in plan.cuts])
    accepted: NDArray[np.bool_] = pool.confidence >= cuts[pool.codes]
    return accepted


def _wrong_above(pool: CalibrationRows, bins: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the wrong rows at or above each cut: the truth."""
    wrong = np.bincount(bin_of(pool.confidence)[~pool.right], minlength=1001)
    return tail_of(wrong)[list(bins)]


def _at_shares(rows: NDArray[np.int64], wrong: NDArray[Any]) -> list[float]:
    """Return the share of right rows at the first cuts that hold certain shares of the pool."""
    at = [int(np.flatnonzero(rows >= share * rows[-1] - 1e-9)[0]) for share in SHARES]
    return [float(1 - wrong[place] / rows[place]) for place in at]


def _realized(
    certificate: Certificate, published: NDArray[np.bool_], pool: CalibrationRows
) -> Realized:
    wanted, parts = certificate.promise.precision, [published]
    if certificate.promise.per == "class":
        parts = [published & (pool.codes == code) for code in np.unique(pool.codes)]
    return Realized(
        coverage=float(published.mean()),
        precision=wanted if published.any() else None,
        broken=any(bool(of.any()) and pool.right[of].mean() < wanted for of in parts),
    )


def _of_step(step: Step, pool: CalibrationRows) -> Realized:
    if step is None:
        return Realized(coverage=0.0, precision=None, broken=False)
    precision, bin_ = step
    published = bin_of(pool.confidence) >= bin_
    broken = bool(pool.right[published].mean() < precision)
    return Realized(coverage=float(published.mean()), precision=precision, broken=broken)


def _of_sequences(tests: Tests, counts: Counts) -> Step:
    """Test each step of the ladder cut by cut, with its part of the risk."""
    for precision in LADDER:
        claim = tests.claim(tuple(range(len(counts.n))), 1.0 - precision, tests.risk / len(LADDER))
        if claim.cut is not None and claim.rows >= MIN_COVERAGE * counts.total:
            return precision, round(claim.cut * 1000)
    return None


def _of_fixed_cuts(n: int, rows: CalibrationRows, counts: Counts) -> Step:
    """Bound the precision at some shares of the pool that were named beforehand."""
    tail = tail_of(counts.n.sum(axis=0))
    shares = np.geomspace(MIN_COVERAGE, 1.0, n)
    bins = [int(np.flatnonzero(tail >= share * counts.total - 1e-9)[-1]) for share in shares]
    found = rows.at(range(len(counts.n)), bins, tail)
    level = Promise.of_best().risk / n
    lower = [1 - most_wrong(e.wrong, e.n, e.pool, level) / e.pool for e in found]
    for precision in LADDER:
        enough = [bin_ for bin_, bound in zip(bins, lower, strict=True) if bound >= precision]
        if enough:
            return precision, enough[-1]
    return None
