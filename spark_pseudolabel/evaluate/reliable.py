"""Whether what a run reports of its confidences, and of the pool's classes, is so in the pool."""

from __future__ import annotations

from typing import Literal

import numpy as np

from spark_pseudolabel.core.adjustment import Adjustment, Method
from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    adjusted_by_fold,
    fold_of,
    probabilities,
    rounded,
)
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.trust.calibration import (
    fit_calibration,
    fit_per_fold,
    pool_prior,
    reliability,
)
from spark_pseudolabel.evaluate.measured import CalibrationError, CalibrationErrors, Priors
from spark_pseudolabel.evaluate.task import Task

METHODS: tuple[Literal["none"] | Method, ...] = ("none", "temperature", "sigmoid", "isotonic")


def reliability_of(learner: Teacher, task: Task) -> CalibrationErrors:
    """Hold what labeled rows say about the mean model's confidences against the pool."""
    fitted = _cross_fitted(learner, task)
    codes, measured = task.labeled.codes, fitted.held_out
    scored = probabilities(fitted.mean_model(task.data.classes), task.pool)
    errors: dict[str, CalibrationError] = {}
    for method in METHODS:
        reported, published = fitted.P, scored
        if method != "none":
            calibration = fit_calibration(method, fitted.P, codes)
            of_folds = fit_per_fold(method, fitted.P, codes, fitted.folds)
            reported = adjusted_by_fold(fitted.P, fitted.folds, tuple(map(Adjustment, of_folds)))
            published = rounded(Adjustment(calibration).apply(scored))
        errors[method] = CalibrationError(
            reported=reliability(reported[measured], codes[measured]).ece,
            published=reliability(published, task.pool_codes).ece,
        )
    return CalibrationErrors.model_validate(errors)


def prior_of(learner: Teacher, task: Task) -> Priors:
    """Estimate the pool's class shares from a class-balanced sample, and return the true ones."""
    fitted = _cross_fitted(learner, task)
    hashes = np.random.default_rng(task.seed).permutation(len(task.pool)).astype(np.int64)
    P = fitted.score_apart(task.pool, hashes)
    estimated = pool_prior(fitted.P, task.labeled.codes, P)
    true = np.bincount(task.pool_codes, minlength=len(estimated)) / len(task.pool_codes)
    return Priors(estimated=estimated.tolist(), true=true.tolist())


def _cross_fitted(learner: Teacher, task: Task) -> CrossFit:
    folds = fold_of(task.labeled.codes, task.hashes)
    return learner.cross_fit(task.labeled, folds, task.data.classes, mean=True)
