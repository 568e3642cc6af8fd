"""Scores of labeled rows by models that have not seen them: cross-fitting in a run."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    FOLD,
    HASH,
    HIGHEST,
    INVALID,
    LOWEST,
    SCORE,
    VALUE,
)
from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.facts import ErrorComparison, LossComparison
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.kernel import score, score_any, withheld
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, rounded
from spark_pseudolabel.core.teachers.distillation import cross_fit_student
from spark_pseudolabel.core.teachers.node_scores import takes_nodes
from spark_pseudolabel.core.teachers.number_student import cross_fit_number_student
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import key_columns
from spark_pseudolabel.core.trust.calibration import fit_per_fold
from spark_pseudolabel.core.trust.guard import compare_errors, compare_scores
from spark_pseudolabel.core.trust.metrics import Metrics, metrics_of, p_of_true
from spark_pseudolabel.core.trust.number_metrics import number_metrics
from spark_pseudolabel.core.trust.priors import correct, shares
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.output.scoring import scorer_of
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import FileEntry, damaged
from spark_pseudolabel.store.store import Attempt, RoundStore

OOF_NAME, MARGINALS_NAME = "oof.parquet", "marginals.parquet"
_OF_NUMBERS = (VALUE, SCORE, LOWEST, HIGHEST)
"""Columns of stored out-of-fold scores where labels are numbers, in the order of what is said."""


def cross_fit_labeled(models: Models) -> CrossFit:
    """Fit the teacher once per fold, to score labeled rows as model 1 scores the pool.

    Model 1 is the mean of these models, or, where the run measures nothing on labeled rows, one
    that is fitted on all of them.
    """
    setting, rows = models.setting, models.labeled
    fitted = models.ready(models.teacher).cross_fit(
        rows, setting.folds, setting.inputs.classes, mean=setting.config.cross_fitted
    )
    if not setting.selected.any():
        return fitted
    # Rows that were chosen to be labeled say nothing of the pool.
    P = np.where(setting.selected[:, np.newaxis], np.nan, fitted.P)
    return replace(fitted, folds=setting.held_out, P=P)


def true_codes(setting: Setting, rows: TrainingRows, fitted: CrossFit) -> NDArray[np.int32]:
    """Return the true class index of each labeled row, shape (n_labeled,).

    Where labels are numbers, whether the one that models say which have not seen the row is right.
    """
    task = setting.inputs.numbers
    if task is None:
        return rows.codes
    assert rows.values is not None
    assert fitted.numbers is not None
    return task.codes(rows.values, fitted.numbers[:, 0])


def score_sample(
    setting: Setting, fitted: CrossFit, sample: pa.Table
) -> tuple[pa.RecordBatch, pd.DataFrame, NDArray[np.float64]]:
    """Score a sample of the pool as labeled rows are scored.

    Returns
    -------
    tuple
        The rows that get a score, their model input and probabilities.
    """
    features = setting.features_of(1)
    batch = sample.combine_chunks().to_batches()[0]
    nodes = setting.nodes("pool") if takes_nodes(fitted.models[0]) else None
    scorer = scorer_of(setting.config.mode, fitted.models[0], features, nodes=nodes)
    valid = batch.filter(pa.array(score_any(batch, scorer).code >= 0))
    X = to_frame(valid, features)
    seen = X if nodes is None else nodes.frame(valid)
    P = fitted.score_apart(seen, valid.column(HASH).to_numpy())
    scored = P.any(axis=1)
    return valid.filter(pa.array(scored)), X[scored], P[scored]


def reasons_apart(
    models: Models, fitted: CrossFit, rows: pa.Table, folds: NDArray[np.int32]
) -> pa.Array:
    """Say why rows may not count, each asked as a row of its fold: by models that don't know it.

    Parameters
    ----------
    models
        Of the run.
    fitted
        The models of the folds, and what happens to their scores.
    rows
        Keys and features.
    folds
        ndarray of shape (n_rows,), :data:`NEVER_HELD_OUT` for rows that are not asked.

    Returns
    -------
    Array
        Of texts; null for a row that may count.
    """
    config, inputs = models.setting.config, models.setting.inputs
    reasons = np.full(rows.num_rows, None, dtype=object)
    for fold, model in enumerate(fitted.unseen or fitted.models):
        places = np.flatnonzero(folds == fold)
        if not len(places):
            continue
        adjustment = fitted.adjustments[fold] if fitted.adjustments else None
        scorer = models.asking(
            scorer_of(config.mode, model, inputs.features, adjustment=adjustment)
        )
        part = rows.take(pa.array(places))
        for place, reason in withheld(part, scorer, score(part, scorer)).items():
            reasons[places[place]] = reason
    return pa.array(reasons.tolist(), pa.string())


def keep_scores(
    models: Models, attempt: Attempt, fitted: CrossFit, codes: NDArray[np.int32]
) -> FileEntry:
    """Store the out-of-fold scores beside the model that they belong to.

    Parameters
    ----------
    models
        Of the run.
    attempt
        Where the model's files go.
    fitted
        The models of the folds, and what happens to their scores.
    codes
        ndarray of shape (n_labeled,), from :func:`true_codes`.
    """
    store, inputs = models.store, models.setting.inputs
    scores = inputs.labeled.select([*inputs.keys]).append_column(CODE, pa.array(codes))
    scores = scores.append_column(FOLD, pa.array(fitted.folds))
    scores = scores.append_column(CLASS_SCORES, pa.array(list(fitted.P)))
    if fitted.numbers is not None:
        for name, column in zip(_OF_NUMBERS, fitted.numbers.T, strict=True):
            scores = scores.append_column(name, pa.array(column))
    if models.asks:
        reasons = reasons_apart(models, fitted, inputs.labeled, fitted.folds)
        scores = scores.append_column(INVALID, reasons)
    sink = io.BytesIO()
    pq.write_table(scores, sink, write_page_checksum=True)
    return store.write_file(attempt, OOF_NAME, sink.getvalue(), scores.num_rows)


def keep_marginals(models: Models, attempt: Attempt) -> FileEntry | None:
    """Store the pool rows that rows are corrupted with, for `label`; None where none is."""
    if models.marginals is None:
        return None
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_pandas(models.marginals, preserve_index=False), sink, write_page_checksum=True
    )
    return models.store.write_file(attempt, MARGINALS_NAME, sink.getvalue(), len(models.marginals))


def may_count(models: Models) -> NDArray[np.bool_]:
    """Return which labeled rows would not be withheld if they were the pool's, (n_labeled,)."""
    inside, asked = models.setting.support, _kept_table(models.store)
    counts = np.ones(asked.num_rows, dtype=bool) if inside is None else inside[1].copy()
    if INVALID in asked.column_names:
        counts &= asked.column(INVALID).is_null().to_numpy()
    return counts


def kept_cross_fit(models: Models) -> tuple[NDArray[np.int32], CrossFit]:
    """Return true codes and the stored out-of-fold scores with their adjustments; no models."""
    codes, kept = _kept_scores(models.store)
    return codes, adjusted(models.adjustment(1), kept, codes)


def adjusted(adjustment: Adjustment | None, fitted: CrossFit, codes: NDArray[np.int32]) -> CrossFit:
    """Add what happens to model 1's scores, for each fold as if its rows were unknown.

    Parameters
    ----------
    adjustment
        Of model 1.
    fitted
        Its out-of-fold scores.
    codes
        ndarray of shape (n_labeled,): the true class indices.
    """
    if adjustment is None:
        return fitted
    of_folds = [adjustment] * (int(fitted.folds.max(initial=-1)) + 1)
    if adjustment.calibration is not None:
        method = adjustment.calibration.method
        of_folds = [
            Adjustment(calibration, adjustment.prior)
            for calibration in fit_per_fold(method, fitted.P, codes, fitted.folds)
        ]
    return replace(fitted, adjustments=tuple(of_folds))


def _kept_scores(store: RoundStore) -> tuple[NDArray[np.int32], CrossFit]:
    """Return codes and out-of-fold scores as model 1's manifest names them."""
    scores = _kept_table(store)
    P = np.stack(scores.column(CLASS_SCORES).to_numpy())
    codes, folds = (scores.column(name).to_numpy() for name in (CODE, FOLD))
    numbers = None
    if VALUE in scores.column_names:
        numbers = np.column_stack([scores.column(name).to_numpy() for name in _OF_NUMBERS])
    return codes.astype(np.int32), CrossFit((), folds, P, numbers=numbers)


def _kept_table(store: RoundStore) -> pa.Table:
    entry = store.models[0].oof_scores
    assert entry is not None
    try:
        return read_bytes(store.read_file(entry))
    except pa.ArrowException as error:
        raise damaged(entry.path, f"is not a whole Parquet file: {error}") from error


def oof_metrics(codes: NDArray[np.int32], P: NDArray[np.float64]) -> Metrics:
    """Measure out-of-fold scores; rows without one, of NaN, are left out, abstentions are wrong."""
    known = np.isfinite(P).all(axis=1)
    codes, P = codes[known], P[known]
    predicted = np.where(P.any(axis=1), P.argmax(axis=1), -1).astype(np.int32)
    return metrics_of(codes, predicted, p_of_true(codes, P), P.shape[1])


def measure_student(
    models: Models,
    pseudo: pa.Table | None,
    weights: NDArray[np.float64],
    teacher: CrossFit,
    measured: NDArray[np.bool_],
) -> tuple[Metrics, LossComparison | ErrorComparison]:
    """Score labeled rows with students that have not seen them, and compare with the teacher.

    Parameters
    ----------
    models
        Of the run.
    pseudo
        The pool rows that the student learns from; None for no row.
    weights
        ndarray of shape (n_pseudo,): what they weighed in its fit.
    teacher
        The teacher's out-of-fold scores and what happens to them.
    measured
        ndarray of shape (n_labeled,): which labeled rows to compare on, all with a fold.
    """
    setting, inputs = models.setting, models.setting.inputs
    if inputs.numbers is not None:
        said = _student_of_numbers(models, pseudo, weights)
        return _compared(setting, teacher, said, measured)
    rows, classes, prior = setting.labeled, inputs.classes, models.prior
    student = models.ready(models.student)
    if pseudo is None or not pseudo.num_rows:
        P = student.cross_fit(rows, setting.folds, classes).P
        if prior is not None:
            P = rounded(correct(P, shares(rows.codes, len(classes)), prior))
    else:
        # The same models again, where another process has fitted them.
        of_folds = models.cross_fit or cross_fit_labeled(models)
        P = cross_fit_student(
            student.fit,
            replace(of_folds, adjustments=teacher.adjustments, folds=setting.folds),
            rows,
            to_frame(pseudo, inputs.features),
            weights,
            classes,
            seen=models.input(pseudo),
            soft=setting.weighting.labels == "soft",
            prior=prior,
            keys=(key_columns(inputs.labeled, inputs.keys), key_columns(pseudo, inputs.keys)),
        )
    codes = rows.codes[measured]
    compared = compare_scores(teacher.adjusted[measured], P[measured], codes)
    return oof_metrics(codes, P[measured]), compared


def _student_of_numbers(
    models: Models, pseudo: pa.Table | None, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Say numbers of labeled rows with students that have not seen them, of shape (n, 4)."""
    setting, inputs = models.setting, models.setting.inputs
    rows, student = setting.labeled, models.ready(models.student)
    if pseudo is None or not pseudo.num_rows:
        said = student.cross_fit(rows, setting.folds, inputs.classes).numbers
        assert said is not None
        return said
    return cross_fit_number_student(
        student.fit,
        models.cross_fit or cross_fit_labeled(models),
        rows,
        to_frame(pseudo, inputs.features),
        weights,
        inputs.classes,
        seen=models.input(pseudo),
        keys=(key_columns(inputs.labeled, inputs.keys), key_columns(pseudo, inputs.keys)),
    )


def _compared(
    setting: Setting, teacher: CrossFit, said: NDArray[np.float64], measured: NDArray[np.bool_]
) -> tuple[Metrics, ErrorComparison]:
    """Compare what a student and its teacher say of labeled rows that neither has seen."""
    task, y = setting.inputs.numbers, setting.labeled.values
    assert task is not None
    assert y is not None
    assert teacher.numbers is not None
    before, new = (np.abs(y - numbers[:, 0])[measured] for numbers in (teacher.numbers, said))
    return number_metrics(y[measured], said[measured], task), compare_errors(1, before, new)
