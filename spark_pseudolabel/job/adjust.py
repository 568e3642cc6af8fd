"""What happens to a model's scores, found when it is fitted: calibration, and the pool's prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.adjustment import Adjustment, PriorCorrection, PriorSource
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.teachers.training import LearnedRows
from spark_pseudolabel.core.trust.calibration import fit_calibration, pool_prior
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.out_of_fold import cross_fit_labeled, score_sample

PRIOR_SAMPLE = 10_000
"""Pool rows that a prior is estimated from: a share of 1 % is found to 0.1 points."""

Prior = tuple[NDArray[np.float64], PriorSource]


def adjustment_of(
    models: Models,
    number: int,
    rows: LearnedRows,
    fitted: CrossFit | None = None,
) -> Adjustment | None:
    """Find what happens to the scores of a new model.

    Parameters
    ----------
    models
        Those before this one are committed.
    number
        Of the model.
    rows
        What it was fitted on: these class shares are what it has learned.
    fitted
        What it is the mean of; only such a model is calibrated.
    """
    prior = _first_prior(models, fitted) if number == 1 else _known_prior(models)
    correction = None
    if prior is not None:
        learned = prior[0]
        if not models.maker(number).learns_prior:
            learned = rows.shares(len(models.setting.inputs.classes))
        correction = PriorCorrection(tuple(learned.tolist()), tuple(prior[0].tolist()), prior[1])
    calibration = None
    method = models.setting.calibration
    if fitted is not None and method is not None:
        calibration = fit_calibration(method, fitted.P, models.setting.labeled.codes)
    return Adjustment.of(calibration, correction)


def _known_prior(models: Models) -> Prior | None:
    known = models.prior_correction
    return None if known is None else (np.array(known.prior), known.source)


def _first_prior(models: Models, fitted: CrossFit | None) -> Prior | None:
    prior = models.setting.given_prior
    if prior is not None:
        return prior, "given"
    return (_estimated(models, fitted), "estimated") if models.setting.estimates_prior else None


def _estimated(models: Models, fitted: CrossFit | None) -> NDArray[np.float64]:
    """Estimate the pool's class shares on a sample of it, from calibrated out-of-fold scores."""
    fitted = fitted or cross_fit_labeled(models)
    _, _, P = score_sample(models.setting, fitted, models.sample(PRIOR_SAMPLE))
    return pool_prior(fitted.P, models.setting.labeled.codes, P)
