"""The first step of a round: train a model on labeled and accepted rows, measure, commit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CODE, HASH, IN_ROUND, SCORE
from spark_pseudolabel.config.checks import feigned
from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.facts import Compared, Comparison, LossComparison, NotCompared
from spark_pseudolabel.core.features import odd_numbers, to_frame
from spark_pseudolabel.core.kernel import score
from spark_pseudolabel.core.rounds import best_model
from spark_pseudolabel.core.sampling import hash_limits, low_limits, quotas, within
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import labeled_rows, training_rows
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.core.trust.calibration import reliability
from spark_pseudolabel.core.trust.guard import compare
from spark_pseudolabel.core.trust.metrics import Metrics, metrics_of, p_of_true
from spark_pseudolabel.errors import InputError, PseudoLabelError, StoredStateError
from spark_pseudolabel.job.adjust import adjusted, adjustment_of, kept_cross_fit, like_pool
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.label_errors import check_given_labels
from spark_pseudolabel.job.out_of_fold import (
    cross_fit_labeled,
    keep_scores,
    measure_student,
    oof_metrics,
)
from spark_pseudolabel.job.shift import measure_shift, pool_sample, predict_sample
from spark_pseudolabel.output.state import model_facts
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.store.artifact import check_storable
from spark_pseudolabel.store.facts import Reliabilities, Training
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.manifest import FittedModel, RoundManifest
from spark_pseudolabel.store.store import Attempt

Limits = list[int | None] | None
_SAMPLE = 20


def check_learners(run: Run) -> None:
    """Refuse, before anything is fitted, estimators that can't be stored or weighted.

    Raises
    ------
    InputError
        Naming the type that is not trusted, the parameter that feigns other class shares than
        those a correction starts from, or the estimator without ``sample_weight``.
    """
    makers = [run.teacher] if run.student is run.teacher else [run.teacher, run.student]
    for maker in makers:
        for estimator in maker.estimators:
            # An estimator of the user's own may hold types that show only once it is fitted.
            own = estimator is run.estimator
            check_storable(estimator, run.trusted, _sample(run) if own else None)
            if run.estimates_prior and (params := feigned(estimator.get_params(deep=True))):
                raise InputError(
                    f"{params[0]} must be left out with labeled.drawn: per_class: scores are "
                    "corrected from the class shares of the rows that a model has learned from, "
                    "and it pretends others.",
                    code="feigned_shares",
                )
    if run.weighting.needed and not run.student.takes_weights:
        raise InputError(
            f"{run.student.name} takes no sample_weight, which training.pseudo_weight, "
            "training.max_pseudo_weight and soft labels need. Choose another estimator.",
            code="no_sample_weight",
        )


def _sample(run: Run) -> tuple[Any, Any]:
    """Return a few labeled rows of every class, to fit a throw-away copy on."""
    inputs = run.inputs
    codes = inputs.labeled.column(CODE).to_numpy()
    rows = [np.flatnonzero(codes == code)[:_SAMPLE] for code in range(len(inputs.classes))]
    few = inputs.labeled.take(np.concatenate(rows))
    y = np.asarray(inputs.classes)[few.column(CODE).to_numpy()]
    return to_frame(few, inputs.features), y


def fit_model(run: Run, number: int) -> None:
    """Train model `number` on labeled and accepted rows, measure and commit it."""
    started = time.monotonic()
    attempt = run.store.new_attempt("model", number)
    with run.events.stage(number - 1, "fit"), described(run.spark, f"model {number} · fit"):
        fitted = _fitted(run, number, attempt)
    seconds = round(time.monotonic() - started, 3)
    manifest = run.store.commit_model(attempt, _with(fitted, seconds={"fit": seconds}))
    validation = manifest.validation
    run.events.event(
        "model",
        number=number,
        rows=manifest.training.rows,
        validation=None if validation is None else asdict(validation),
        seconds=seconds,
    )


def _fitted(run: Run, number: int, attempt: Attempt) -> FittedModel:
    """Make a model; return what its manifest says of it."""
    if number == 1:
        return _seed(run, attempt)
    if number > 1 and run.config.one_round:
        return _learn_from_teacher(run, number, attempt)
    return _repeat(run, number) if _nothing_new(run, number) else _train(run, number, attempt)


def _nothing_new(run: Run, number: int) -> bool:
    """Whether a model would see the very rows that the one before it was fitted on."""
    maker = run.maker(number)
    if number == 1 or maker is not run.maker(number - 1):
        return False
    return not run.store.rounds[-1].counts.changed and not maker.warm


def _with(fitted: FittedModel, **changes: object) -> FittedModel:
    return fitted.model_copy(update=changes)


def _repeat(run: Run, number: int) -> FittedModel:
    before = run.store.models[number - 2]
    return FittedModel(
        artifact=before.artifact,
        classes=before.classes,
        label_type=before.label_type,
        key_types=before.key_types,
        features=before.features,
        training=before.training,
        validation=before.validation,
        adjustment=before.adjustment,
        reliability=before.reliability,
    )


def _seed(run: Run, attempt: Attempt) -> FittedModel:
    """Make model 1, after a look whether the rows it learns from stand for the pool."""
    run.ready(run.teacher)  # draws the larger sample first
    sample = pool_sample(run)
    shift = measure_shift(run, sample)
    honest = run.config.cross_fitted
    fitted = _cross_fit(run, attempt, sample) if honest else _train(run, 1, attempt)
    return _with(fitted, training=fitted.training.model_copy(update={"shift": shift}))


def _cross_fit(run: Run, attempt: Attempt, sample: pa.Table | None) -> FittedModel:
    """Make model 1 as the mean of models that have each not seen one fold of the labeled rows."""
    rows = labeled_rows(run.inputs.labeled, run.inputs.features)
    failpoint("train.collected")
    with _fit_errors(run, run.teacher, rows):
        fitted = cross_fit_labeled(run, rows)
    failpoint("model.fitted")
    model = fitted.mean_model(run.inputs.classes)
    if run.config.student is not None:
        run.cross_fitted = fitted
    adjustment = adjustment_of(run, 1, rows, fitted)
    made = _committed(run, 1, attempt, model, rows, None, adjustment)
    hygiene, suspects = check_given_labels(run, attempt, rows.codes, fitted.P)
    told: dict[str, object] = {"hygiene": hygiene}
    honest = adjusted(run, fitted, rows.codes)
    if sample is not None:
        told["sampled_by_code"] = predict_sample(run, honest, sample)
    oof, reliabilities = _measure_out_of_fold(run, honest, rows.codes)
    return _with(
        made,
        training=made.training.model_copy(update=told),
        oof=oof,
        reliability=reliabilities,
        suspects=suspects,
        oof_scores=keep_scores(run, attempt, fitted),
    )


def _measure_out_of_fold(
    run: Run, fitted: CrossFit, codes: NDArray[np.int32]
) -> tuple[Metrics | None, Reliabilities]:
    """Measure model 1 on labeled rows, each by models and adjustments that have not seen it."""
    kept = like_pool(run, run.inputs.labeled, fitted.held_out)
    P, codes = fitted.adjusted[kept], codes[kept]
    oof = oof_metrics(codes, P) if kept.any() else None
    after = reliability(P, codes) if fitted.adjustments else None
    return oof, Reliabilities(raw=reliability(fitted.P[kept], codes), adjusted=after)


def _learn_from_teacher(run: Run, number: int, attempt: Attempt) -> FittedModel:
    """Fit the student, if there is one; where it may be worse, the teacher stays.

    The labels are the teacher's and stand, unless no certificate says so and the student drops.
    """
    if run.config.student is None:
        return _teacher_again(run, number, None)
    if not run.inputs.validation.num_rows and not kept_cross_fit(run)[1].held_out.any():
        return _teacher_again(run, number, NotCompared(1, "unmeasured"))
    if model_facts(run.store)[0].shifted and run.prior is None:
        # Labeled rows can't tell what a student makes of a pool that is unlike them. Where classes
        # are declared to be mixed otherwise, that alone makes them differ.
        return _teacher_again(run, number, NotCompared(1, "shift"))
    fitted = _train(run, number, attempt)
    against = fitted.training.against_best
    if not isinstance(against, Comparison | LossComparison) or against.usable:
        return fitted
    if against.dropped and not run.config.certified:
        return fitted
    return _teacher_again(run, number, replace(against, dropped=False, refused="worse"))


def _teacher_again(run: Run, number: int, against: Compared | None) -> FittedModel:
    """Keep the model that gave the labels as the final one; it has learned from none of them."""
    before = run.store.models[number - 2]
    run.keep_model(number, run.model(number - 1), run.adjustment(number - 1))
    no_row = (None,) * len(run.inputs.classes)
    changes = {"hash_limits": no_row, "against_best": against}
    training = before.training.model_copy(update=changes)
    return _with(_repeat(run, number), training=training, oof=before.oof)


def _train(run: Run, number: int, attempt: Attempt) -> FittedModel:
    inputs, maker = run.inputs, run.ready(run.maker(number))
    limits, pseudo = _rows_of_rounds(run)
    row_weights, weights = _weights(run, pseudo)
    rows = training_rows(
        inputs.labeled, pseudo, inputs.features, inputs.keys, run.weighting, weights
    )
    failpoint("train.collected")
    before = run.model(number - 1) if number > 1 and maker.warm else None
    with _fit_errors(run, maker, rows):
        model = maker.fit(rows, inputs.classes, before)
    failpoint("model.fitted")
    adjustment = adjustment_of(run, number, rows)
    made = _committed(run, number, attempt, model, rows, limits, adjustment, row_weights)
    if number == 1 or not run.config.cross_fitted or inputs.validation.num_rows:
        return made
    _, teacher = kept_cross_fit(run)
    measured = like_pool(run, inputs.labeled, teacher.held_out)
    with _fit_errors(run, maker, rows):
        metrics, losses = measure_student(run, pseudo, weights, teacher, measured)
    training = made.training.model_copy(update={"against_best": losses})
    return _with(made, training=training, oof=metrics)


@contextmanager
def _fit_errors(run: Run, maker: Teacher, rows: TrainingRows) -> Iterator[None]:
    """Tell what a fit can't cope with as an error of the input: another try would not help."""
    try:
        yield
    except (MemoryError, OSError, PseudoLabelError):
        raise
    except Exception as error:
        raise _refused(run, maker.name, rows, error) from error


def _refused(run: Run, name: str, rows: TrainingRows, error: Exception) -> InputError:
    """Blame the values that an estimator may not take, by column and id, or say what it said."""
    said = next(iter(str(error).splitlines()), "") or type(error).__name__
    labeled = run.inputs.labeled
    if odd := odd_numbers(to_frame(labeled, run.inputs.features)):
        key = [f"{name} {labeled.column(name)[odd[0].row].as_py()!r}" for name in run.inputs.keys]
        where = f"the labeled row with {', '.join(key)}"
    elif odd := odd_numbers(rows.X):
        where = "a row of the pool that is to be learned from"
    else:
        return InputError(f"{name} can't be fitted on these rows: {said}", code="fit_failed")
    others = f", and {len(odd) - 1:,} more such values" if len(odd) > 1 else ""
    return InputError(
        f"{name} can't be fitted: column {odd[0].column!r} has {odd[0].value} in {where}{others} "
        f"({said}). Let them be null, or leave the column out by features.exclude.",
        code="fit_failed",
        where=odd[0].column,
    )


def _committed(
    run: Run,
    number: int,
    attempt: Attempt,
    model: BaseEstimator,
    rows: TrainingRows,
    limits: Limits,
    adjustment: Adjustment | None,
    weights: RowWeights | None = None,
) -> FittedModel:
    """Store and measure a fitted model; return what its manifest says of it."""
    artifact = run.store.write_model(attempt, model, run.trusted)
    run.keep_model(number, model, adjustment)
    validation, against_best = _measure(run, number)
    return FittedModel(
        artifact=artifact,
        classes=run.inputs.classes,
        label_type=run.inputs.label_type,
        key_types=run.inputs.key_types,
        features=run.inputs.features,
        training=Training(
            rows=run.inputs.labeled.num_rows + rows.n_pseudo,
            rows_pseudo=rows.n_pseudo,
            hash_limits=None if limits is None else tuple(limits),
            weights=weights or RowWeights(),
            sha256=rows.sha256(),
            reference=None if run.reference is None else run.reference.of_pool,
            against_best=against_best,
        ),
        validation=validation if validation.n else None,
        adjustment=adjustment,
    )


def _rows_of_rounds(run: Run) -> tuple[Limits, pa.Table | None]:
    """Fetch the pool rows to learn from; also return up to which hash they are."""
    rounds = run.published_rounds(len(run.store.rounds))
    return _pseudo_rows(run, rounds) if rounds else (None, None)


def _pseudo_rows(run: Run, rounds: Sequence[RoundManifest]) -> tuple[Limits, pa.Table | None]:
    """Fetch the accepted rows that the next model sees: those with the lowest hash, by class."""
    kind = run.learned_rows
    by_code = np.sum([r.counts.by_code(kind) for r in rounds], axis=0).tolist()
    max_rows = run.config.training.max_rows
    room = None if max_rows is None else max(0, max_rows - run.inputs.labeled.num_rows)
    if room is None or sum(by_code) <= room:
        return None, run.pool.fetch(rounds, None, kind)
    shares = quotas(by_code, room)
    if not any(shares):
        return [None] * len(shares), None
    slack, rows = 1.0, None
    while rows is None or _too_few(rows, shares):
        if slack > 2 * sum(by_code):  # all rows were asked for
            raise StoredStateError(
                f"The committed rounds must hold {sum(by_code):,} {kind} rows of the pool, and "
                "fewer were found: files of the output or of the pool are not what they were. "
                "`verify --deep` tells more.",
                code="rows_lost",
                where=run.store.root,
            )
        rows = run.pool.fetch(rounds, low_limits(by_code, room, slack), kind)
        slack *= 2  # hashes are even: once is nearly always enough
    codes, hashes = (rows.column(name).to_numpy() for name in (CODE, HASH))
    limits = hash_limits(codes, hashes, shares)
    # All of them are here: to fetch them again would be one more scan, where Spark reads the pool.
    return limits, rows.filter(pa.array(within(codes, hashes, limits)))


def _weights(run: Run, pseudo: pa.Table | None) -> tuple[RowWeights, NDArray[np.float64]]:
    """Settle what pool rows weigh in a fit; also return the weight of each."""
    if pseudo is None:
        return RowWeights(), np.zeros(0)
    confidence, rounds = (pseudo.column(name).to_numpy() for name in (SCORE, IN_ROUND))
    pools = {one.number: one.histogram for one in run.store.rounds}
    found = run.weighting.pseudo.settled(confidence, rounds, pools, run.inputs.labeled.num_rows)
    return found, found.of(confidence, rounds)


def _too_few(rows: pa.Table, shares: Sequence[int]) -> bool:
    have = np.bincount(rows.column(CODE).to_numpy(), minlength=len(shares))
    return bool((have < np.asarray(shares)).any())


def _measure(run: Run, number: int) -> tuple[Metrics, Comparison | None]:
    """Measure a new model on the validation rows, and against the best one before it."""
    kept = like_pool(run, run.inputs.validation)
    codes = run.inputs.validation.column(CODE).to_numpy()[kept]
    predicted, P = _validation_scores(run, number, kept)
    metrics = metrics_of(codes, predicted, p_of_true(codes, P), len(run.inputs.classes))
    if number == 1 or metrics.n == 0:
        return metrics, None
    best = best_model(model_facts(run.store)).number
    best_right = _validation_scores(run, best, kept)[0] == codes
    return metrics, compare(best, best_right, predicted == codes)


def _validation_scores(
    run: Run, number: int, kept: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return predicted codes and probabilities of some validation rows."""
    scores = score(run.inputs.validation, run.scorer(number, probabilities=True))
    return scores.code[kept], scores.probabilities[kept]
