"""The first step of a round: train a model on labeled and accepted rows, measure, commit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from spark_pseudolabel.columns import CODE, HASH
from spark_pseudolabel.core.estimators import weights_supported
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.guard import compare
from spark_pseudolabel.core.kernel import Scores, score
from spark_pseudolabel.core.metrics import Metrics, metrics_of, p_of_true
from spark_pseudolabel.core.rounds import best_model
from spark_pseudolabel.core.sampling import hash_limits, low_limits, quotas
from spark_pseudolabel.core.training import TrainingRows, training_rows
from spark_pseudolabel.done import model_facts
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.store.artifact import check_storable
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import Attempt

Limits = list[int | None] | None
_SAMPLE = 20


def check_learners(run: Run) -> None:
    """Refuse, before anything is fitted, estimators that can't be stored or weighted.

    Raises
    ------
    InputError
        Naming the type that is not trusted, or the estimator without ``sample_weight``.
    """
    for learner in (run.teacher, run.student):
        # An estimator of the user's own may hold types that show only once it is fitted.
        check_storable(
            learner.estimator, run.trusted, _sample(run) if run.estimator is not None else None
        )
        if run.weighting.needed and not weights_supported(learner.estimator):
            raise InputError(
                f"{type(learner.estimator).__name__} takes no sample_weight, which "
                "training.pseudo_weight and soft labels need. Choose another estimator.",
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
        fields = _repeat(run, number) if _nothing_new(run, number) else _train(run, number, attempt)
    seconds = {"fit": round(time.monotonic() - started, 3)}
    manifest = run.store.commit_model(attempt, **fields, seconds=seconds)
    run.events.event(
        "model",
        number=number,
        rows=manifest.training["rows"],
        validation=manifest.validation,
        seconds=seconds["fit"],
    )


def _nothing_new(run: Run, number: int) -> bool:
    """Whether a model would see the very rows that the one before it was fitted on."""
    if number == 1 or run.learner(number) is not run.learner(number - 1):
        return False
    return not run.store.rounds[-1].counts["changed"] and not run.student.warm


def _repeat(run: Run, number: int) -> dict[str, Any]:
    before = run.store.models[number - 2]
    kept = ("artifact", "classes", "label_type", "features", "training", "validation")
    return {name: getattr(before, name) for name in kept}


def _train(run: Run, number: int, attempt: Attempt) -> dict[str, Any]:
    limits, rows = _training_rows(run)
    failpoint("train.collected")
    learner = run.learner(number)
    previous = run.model(number - 1) if number > 1 and learner.warm else None
    try:
        model = learner.fit(rows, run.inputs.classes, previous)
    except ValueError as error:
        raise InputError(
            f"{type(learner.estimator).__name__} can't be fitted on the labeled rows: "
            f"{str(error).splitlines()[0]}",
            code="fit_failed",
        ) from error
    failpoint("model.fitted")
    artifact = run.store.write_model(attempt, model, run.trusted)
    run.keep_model(number, model)
    validation, against_best = _measure(run, number)
    return {
        "artifact": artifact,
        "classes": run.inputs.classes,
        "label_type": run.inputs.label_type,
        "features": [feature.to_dict() for feature in run.inputs.features],
        "training": {
            "rows": run.inputs.labeled.num_rows + rows.n_pseudo,
            "rows_pseudo": rows.n_pseudo,
            "hash_limits": limits,
            "sha256": rows.sha256(),
            "against_best": against_best,
        },
        "validation": validation.to_dict() if validation.n else None,
    }


def _training_rows(run: Run) -> tuple[Limits, TrainingRows]:
    """Collect the training frame; also return up to which hash accepted rows are in it."""
    inputs = run.inputs
    rounds = run.published_rounds(len(run.store.rounds))
    limits, pseudo = _pseudo_rows(run, rounds) if rounds else (None, None)
    rows = training_rows(inputs.labeled, pseudo, inputs.features, inputs.keys, run.weighting)
    return limits, rows


def _pseudo_rows(run: Run, rounds: Sequence[RoundManifest]) -> tuple[Limits, pa.Table | None]:
    """Fetch the accepted rows that the next model sees: those with the lowest hash, by class."""
    by_code = np.sum([r.counts["accepted_by_code"] for r in rounds], axis=0).tolist()
    max_rows = run.config.training.max_rows
    room = None if max_rows is None else max(0, max_rows - run.inputs.labeled.num_rows)
    if room is None or sum(by_code) <= room:
        return None, run.pool.fetch(rounds, None)
    shares = quotas(by_code, room)
    rows = run.pool.fetch(rounds, low_limits(by_code, room))
    if rows is None or any(
        have < share for have, share in zip(_n_by_code(rows, len(shares)), shares, strict=True)
    ):
        # Hashes are even, so the slack makes this rare; when it happens, look at all rows.
        rows = run.pool.fetch(rounds, None)
    assert rows is not None
    limits = hash_limits(rows.column(CODE).to_numpy(), rows.column(HASH).to_numpy(), shares)
    return limits, run.pool.fetch(rounds, limits)


def _n_by_code(rows: pa.Table, n_classes: int) -> list[int]:
    n: list[int] = np.bincount(rows.column(CODE).to_numpy(), minlength=n_classes).tolist()
    return n


def _measure(run: Run, number: int) -> tuple[Metrics, dict[str, Any] | None]:
    """Measure a new model on the validation rows, and against the best one before it."""
    codes = run.inputs.validation.column(CODE).to_numpy()
    scores = _validation_scores(run, number)
    p_true = p_of_true(codes, scores.probabilities)
    metrics = metrics_of(codes, scores.code, p_true, len(run.inputs.classes))
    if number == 1 or metrics.n == 0:
        return metrics, None
    best = best_model(model_facts(run.store)).number
    best_right = _validation_scores(run, best).code == codes
    return metrics, compare(best, best_right, scores.code == codes).to_dict()


def _validation_scores(run: Run, number: int) -> Scores:
    return score(run.inputs.validation, run.scorer(number, probabilities=True))
