"""How often a certificate's promise is broken, and how much of the pool it covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spark_pseudolabel.core.adjustment import Adjustment, Method
from spark_pseudolabel.core.calibration import fit_calibration, fit_per_fold, reliability
from spark_pseudolabel.core.certify import CalibrationRows, Promise, certify
from spark_pseudolabel.core.counts import Counts, bin_of
from spark_pseudolabel.core.crossfit import Fits, cross_fit, fold_of, probabilities, rounded
from spark_pseudolabel.evaluate.task import Task

FIXED = 0.9


def certify_task(
    learner: Fits,
    task: Task,
    promises: Mapping[str, Promise],
    calibration: Method | None = None,
) -> dict[str, dict[str, Any]]:
    """Certify the pool of a task by out-of-fold scores, and hold it against the truth."""
    classes, codes = task.data.classes, task.labeled.codes
    folds = fold_of(codes, task.hashes)
    fitted = cross_fit(learner, task.labeled, folds, classes)
    P = probabilities(fitted.mean_model(classes), task.pool)
    if calibration is not None:
        P = rounded(Adjustment(fit_calibration(calibration, fitted.P, codes)).apply(P))
        of_folds = fit_per_fold(calibration, fitted.P, codes, folds)
        fitted = replace(fitted, adjustments=tuple(map(Adjustment, of_folds)))
    pool = CalibrationRows.from_scores(P, task.pool_codes)
    known = fitted.held_out
    rows = CalibrationRows.from_scores(fitted.adjusted[known], codes[known], int((~known).sum()))
    counts = counts_of(pool, len(classes))
    found = {
        name: _certified(promise, counts, rows, pool, len(classes))
        for name, promise in promises.items()
    }
    fixed = _realized(pool.confidence > FIXED, pool.right, 0.95)
    return found | {"fixed": fixed, "pool": {"ece": reliability(P, task.pool_codes).ece}}


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
) -> dict[str, Any]:
    certificate = certify(promise, counts, rows)
    plan = certificate.plan({"policy": "certified"}, n_classes)
    cuts = np.array([np.inf if cut is None else cut.confidence for cut in plan.cuts])
    published = pool.confidence >= cuts[pool.codes]
    if int(published.sum()) != sum(claim.rows for claim in certificate.claims):
        raise AssertionError("the plan must publish the rows that the certificate counts")
    found = _realized(published, pool.right, promise.precision)
    if promise.per == "class":
        found["broken"] = any(
            bool(of_class.any()) and pool.right[of_class].mean() < promise.precision
            for code in range(n_classes)
            if (of_class := published & (pool.codes == code)) is not None
        )
    return found


def _realized(published: Any, right: Any, precision: float) -> dict[str, Any]:
    realized = float(right[published].mean()) if published.any() else None
    return {
        "coverage": float(published.mean()),
        "precision": realized,
        "broken": realized is not None and realized < precision,
    }
