"""What happens to a model's scores, found when it is fitted: calibration, and the pool's prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.adjustment import Adjustment, PriorCorrection, Source
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import labeled_rows
from spark_pseudolabel.core.trust.calibration import fit_calibration, fit_per_fold, pool_prior
from spark_pseudolabel.core.trust.priors import shares, thinned
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.out_of_fold import cross_fit_labeled, kept_scores, score_sample
from spark_pseudolabel.report.document import label_key
from spark_pseudolabel.spark.inputs import Inputs

PRIOR_SAMPLE = 10_000
"""Pool rows that a prior is estimated from: a share of 1 % is found to 0.1 points."""

Prior = tuple[NDArray[np.float64], Source]


def adjustment_of(
    run: Run,
    number: int,
    rows: TrainingRows,
    fitted: CrossFit | None = None,
) -> Adjustment | None:
    """Find what happens to the scores of a new model.

    Parameters
    ----------
    run
        The run; models before this one are committed.
    number
        Of the model.
    rows
        What it was fitted on: these class shares are what it has learned.
    fitted
        What it is the mean of; only such a model is calibrated.
    """
    prior = _first_prior(run, fitted) if number == 1 else _known_prior(run)
    correction = None
    if prior is not None:
        learned = shares(rows.codes, len(run.inputs.classes), rows.weights)
        correction = PriorCorrection(tuple(learned.tolist()), tuple(prior[0].tolist()), prior[1])
    calibration = None
    if fitted is not None and run.config.calibration != "none":
        calibration = fit_calibration(run.config.calibration, fitted.P, rows.codes)
    return Adjustment.of(calibration, correction)


def kept_cross_fit(run: Run) -> tuple[NDArray[np.int32], CrossFit]:
    """Return true codes and the stored out-of-fold scores with their adjustments; no models."""
    codes, folds, P = kept_scores(run)
    return codes, adjusted(run, CrossFit((), folds, P), codes)


def adjusted(run: Run, fitted: CrossFit, codes: NDArray[np.int32]) -> CrossFit:
    """Add what happens to model 1's scores, for each fold as if its rows were unknown."""
    whole = run.adjustment(1)
    if whole is None:
        return fitted
    of_folds = [whole] * (int(fitted.folds.max(initial=-1)) + 1)
    if whole.calibration is not None:
        found = fit_per_fold(whole.calibration.method, fitted.P, codes, fitted.folds)
        of_folds = [Adjustment(calibration, whole.prior) for calibration in found]
    return replace(fitted, adjustments=tuple(of_folds))


def like_pool(
    run: Run, rows: pa.Table, among: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Return which rows with true labels to measure on.

    All of them, or, where the pool's prior is known, as many of each class that there is as it
    says: a model that is corrected to the pool looks worse than it is on rows whose classes are
    distributed otherwise.

    Parameters
    ----------
    run
        The run.
    rows
        Keys and ``spl_code``.
    among
        ndarray of shape (n_rows,): the rows that may be chosen; None: all.
    """
    chosen = np.ones(rows.num_rows, dtype=bool) if among is None else among.copy()
    if run.prior is not None:
        chosen[chosen] = _mixed(run, rows.filter(pa.array(chosen)), np.array(run.prior.prior))
    return chosen


def like_given_prior(run: Run, rows: pa.Table) -> NDArray[np.bool_]:
    """Return which rows are mixed as a given prior says; all of them without one.

    As :func:`like_pool`, before there is a model.
    """
    prior = given_prior(run.config, run.inputs)
    return np.ones(rows.num_rows, dtype=bool) if prior is None else _mixed(run, rows, prior)


def _mixed(run: Run, rows: pa.Table, prior: NDArray[np.float64]) -> NDArray[np.bool_]:
    codes = rows.column(CODE).to_numpy().astype(np.int32)
    there = np.where(np.bincount(codes[codes >= 0], minlength=len(prior)) > 0, prior, 0.0)
    if not there.any():
        return np.ones(len(codes), dtype=bool)
    return thinned(codes, run.row_hashes(rows), there)


def given_prior(config: Config, inputs: Inputs) -> NDArray[np.float64] | None:
    """Return the pool's class shares by class index, None where they are not given.

    Raises
    ------
    InputError
        If they are not those of the labels.
    """
    given = config.unlabeled.prior
    if given is None:
        return None
    names = [label_key(label) for label in inputs.classes]
    if isinstance(inputs.classes[0], bool):
        given = {name.lower(): share for name, share in given.items()}
    if set(given) != set(names):
        raise InputError(
            f"unlabeled.prior must name every label once: {', '.join(names)}. It names "
            f"{', '.join(given)}.",
            code="bad_prior",
            where="unlabeled.prior",
        )
    return np.array([given[name] for name in names])


def _known_prior(run: Run) -> Prior | None:
    known = run.prior
    return None if known is None else (np.array(known.prior), known.source)


def _first_prior(run: Run, fitted: CrossFit | None) -> Prior | None:
    given = given_prior(run.config, run.inputs)
    if given is not None:
        return given, "given"
    return (_estimated(run, fitted), "estimated") if run.estimates_prior else None


def _estimated(run: Run, fitted: CrossFit | None) -> NDArray[np.float64]:
    """Estimate the pool's class shares on a sample of it, from honestly calibrated scores."""
    rows = labeled_rows(run.inputs.labeled, run.inputs.features)
    fitted = fitted or cross_fit_labeled(run, rows)
    _, P = score_sample(run, fitted, run.sample(PRIOR_SAMPLE))
    return pool_prior(fitted.P, rows.codes, P)
