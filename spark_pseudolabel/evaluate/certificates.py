"""How often a certificate's promise is broken, and how much of the pool it covers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.adjustment import Adjustment, Method, PriorCorrection
from spark_pseudolabel.core.selection.counts import Counts, bin_of
from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    fold_of,
    probabilities,
    rounded,
)
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.trust.calibration import fit_calibration, fit_per_fold, reliability
from spark_pseudolabel.core.trust.certificate import CalibrationRows, Promise, certify
from spark_pseudolabel.core.trust.evidence import dependence_of
from spark_pseudolabel.core.trust.priors import shares, thinned
from spark_pseudolabel.core.trust.shift import SAMPLE, prior_shift
from spark_pseudolabel.core.trust.units import GroupSizes, equal_rows, units_of
from spark_pseudolabel.evaluate.measured import Certificates, PoolFacts, Realized
from spark_pseudolabel.evaluate.shift import gate
from spark_pseudolabel.evaluate.task import Task

FIXED = 0.9


def certify_task(
    learner: Teacher,
    task: Task,
    calibration: Method | None = None,
    first: float | None = None,
    *,
    gated: bool = True,
    seen: Task | None = None,
) -> Certificates:
    """Certify the pool of a task by out-of-fold scores, and hold it against the truth.

    As runs do: copies and groups share a fold and count once, and where the labeled rows do not
    stand for the pool nothing is claimed.

    Parameters
    ----------
    learner, task
        What is certified: the promise over all labels, and that of each class.
    calibration
        Of the scores.
    first
        The share that the pool's first class is said to have, as a given prior; the others keep
        their ratios. None without a prior, NaN for the true one.
    gated
        Whether nothing is claimed where the labeled rows do not stand for the pool.
    seen
        The task as the models see it, where they see node ids in place of features.
    """
    seen = seen or task
    classes, codes = task.data.classes, task.labeled.codes
    units = units_of(equal_rows(task.labeled.X), task.groups)
    folds = fold_of(codes, task.hashes, units=units)
    fitted = learner.cross_fit(seen.labeled, folds, classes, mean=True)
    P = probabilities(fitted.mean_model(classes), seen.pool)
    if calibration is not None:
        P = rounded(Adjustment(fit_calibration(calibration, fitted.P, codes)).apply(P))
        of_folds = fit_per_fold(calibration, fitted.P, codes, folds)
        fitted = replace(fitted, adjustments=tuple(map(Adjustment, of_folds)))
    known, refused = fitted.held_out, None
    # With a prior each label has a tested row, and rows that are the only one say nothing more.
    alone = len(np.unique(units[~known])) if first is None else 0
    if first is not None:
        prior = _given(task, first, len(classes))
        learned = tuple(shares(codes, len(classes)).tolist())
        correction = PriorCorrection(learned, tuple(prior.tolist()), "given")
        P = rounded(correction.apply(P))
        before = fitted.adjustments or (Adjustment(),) * len(fitted.models)
        fitted = replace(fitted, adjustments=tuple(replace(a, prior=correction) for a in before))
        known &= thinned(codes, task.hashes, prior)
        refused = _refused(fitted, seen, known)
    pool = CalibrationRows.from_scores(P, task.pool_codes)
    rows = CalibrationRows.from_scores(
        fitted.adjusted[known],
        codes[known],
        alone,
        dependence_of(units[known], task.hashes[known], group_sizes(task)),
    )
    counts = counts_of(pool, len(classes))
    mixed = known if first is not None else None
    shifted = gated and gate(task, units, mixed=mixed).shifted
    refused = refused or ("shift" if shifted else None)
    of_all, of_each = (
        _certified(promise, counts, rows, pool, len(classes), refused)
        for promise in (Promise(), Promise(per="class"))
    )
    return Certificates(
        all=of_all,
        class_=of_each,
        fixed=_realized(pool.confidence > FIXED, pool.right, 0.95),
        pool=PoolFacts(ece=reliability(P, task.pool_codes).ece, shifted=shifted),
    )


def group_sizes(task: Task) -> GroupSizes | None:
    """Return how many groups of each size the pool has; None where nothing says."""
    if task.pool_groups is None:
        return None
    sizes, counts = np.unique(
        np.unique(task.pool_groups, return_counts=True)[1], return_counts=True
    )
    return GroupSizes(dict(zip(sizes.tolist(), counts.tolist(), strict=True)))


def _given(task: Task, first: float, n_classes: int) -> NDArray[np.float64]:
    """Return the prior that is given."""
    true = np.bincount(task.pool_codes, minlength=n_classes) / len(task.pool_codes)
    if np.isnan(first):
        return true
    others = true[1:] / true[1:].sum()
    return np.concatenate([[first], (1 - first) * others])


def _refused(fitted: CrossFit, task: Task, known: NDArray[np.bool_]) -> str | None:
    """Say what a run says about a prior that predictions on the pool contradict."""
    sample = task.pool.head(SAMPLE)
    hashes = np.random.default_rng(task.seed).permutation(len(sample)).astype(np.int64)
    codes = (
        task.labeled.codes[known],
        fitted.adjusted[known].argmax(axis=1),
        fitted.score_apart(sample, hashes).argmax(axis=1),
    )
    n_classes = len(task.data.classes)
    counts = (np.bincount(each, minlength=n_classes) for each in codes)
    return "prior_disagrees" if prior_shift(*counts, mixed=True).drawn_per_class else None


def counts_of(rows: CalibrationRows, n_classes: int) -> Counts:
    """Count scored rows by predicted class and bin, as Spark does."""
    n = np.zeros((n_classes, Counts.from_rows(1, []).n.shape[1]), dtype=np.int64)
    np.add.at(n, (rows.codes, bin_of(rows.confidence)), 1)
    return Counts(n)


def _certified(
    promise: Promise,
    counts: Counts,
    rows: CalibrationRows,
    pool: CalibrationRows,
    n_classes: int,
    refused: str | None,
) -> Realized:
    certificate = certify(promise, counts, rows, refused=refused)
    plan = certificate.plan({"policy": "certified"}, n_classes)
    cuts = np.array([np.inf if cut is None else cut.confidence for cut in plan.cuts])
    published = pool.confidence >= cuts[pool.codes]
    if int(published.sum()) != sum(claim.rows for claim in certificate.claims):
        raise AssertionError("the plan must publish the rows that the certificate counts")
    realized = _realized(published, pool.right, promise.precision)
    broken = realized.broken
    if promise.per == "class":
        broken = any(
            bool(of_class.any()) and pool.right[of_class].mean() < promise.precision
            for code in range(n_classes)
            if (of_class := published & (pool.codes == code)) is not None
        )
    return Realized(
        coverage=realized.coverage,
        precision=realized.precision,
        broken=broken,
        more_labels=any(claim.more_labels is not None for claim in certificate.claims),
        reachable=_reachable(pool, promise.precision),
    )


def _reachable(pool: CalibrationRows, precision: float) -> bool:
    """Whether at any cut that holds a tenth of the pool enough of it is right."""
    order = np.argsort(-pool.confidence, kind="stable")
    upto = np.arange(1, len(order) + 1)
    right = np.cumsum(pool.right[order]) / upto
    return bool((right[upto >= len(order) / 10] >= precision).any())


def _realized(published: NDArray[np.bool_], right: NDArray[np.bool_], precision: float) -> Realized:
    realized = float(right[published].mean()) if published.any() else None
    return Realized(
        coverage=float(published.mean()),
        precision=realized,
        broken=realized is not None and realized < precision,
    )
