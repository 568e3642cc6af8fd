"""The first step of a round: train a model on labeled and accepted rows, measure, commit."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CODE, VALUE
from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.facts import (
    Compared,
    Comparison,
    ErrorComparison,
    LossComparison,
    Mistakes,
    NotCompared,
    Residuals,
    RulesFound,
)
from spark_pseudolabel.core.kernel import Scores, score
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.rounds import best_model
from spark_pseudolabel.core.sampling import HashLimits
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.teachers.training import LearnedRows, TrainingRows
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.core.trust.calibration import reliability
from spark_pseudolabel.core.trust.guard import compare, compare_errors
from spark_pseudolabel.core.trust.metrics import Metrics, metrics_of, p_of_true
from spark_pseudolabel.core.trust.mistakes import mistakes_of
from spark_pseudolabel.core.trust.number_metrics import number_metrics
from spark_pseudolabel.core.trust.residuals import residuals_of
from spark_pseudolabel.job.adjust import adjustment_of
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.label_errors import check_given_labels
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.out_of_fold import (
    adjusted,
    cross_fit_labeled,
    keep_marginals,
    keep_scores,
    kept_cross_fit,
    measure_student,
    oof_metrics,
    true_codes,
)
from spark_pseudolabel.job.shift import measure_shift, pool_sample, predict_sample, shift_warning
from spark_pseudolabel.job.teachers import taught_by
from spark_pseudolabel.job.training import Trainer, fit_errors
from spark_pseudolabel.output.state import model_facts
from spark_pseudolabel.progress import Events
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.store.facts import Reliabilities, Training
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.manifest import FittedModel
from spark_pseudolabel.store.store import Attempt


def fit_model(run: Run, number: int) -> None:
    """Train model `number` on labeled and accepted rows, measure and commit it."""
    started = time.monotonic()
    attempt = run.store.new_attempt("model", number)
    step = _Step(number, attempt, run.models, run.trainer, run.events)
    with run.events.stage(number - 1, "fit"), described(run.spark, f"model {number} · fit"):
        fitted = step.fit()
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


@dataclass(frozen=True)
class _Step:
    """The making of one model.

    Parameters
    ----------
    number
        Of the model.
    attempt
        Where its files go.
    models
        Those before it, and who makes it.
    trainer
        Who brings rows and maker together.
    events
        Who is warned.
    """

    number: int
    attempt: Attempt
    models: Models
    trainer: Trainer
    events: Events

    def fit(self) -> FittedModel:
        """Make the model; return what its manifest says about it."""
        if self.number == 1:
            return self._seed()
        if self.models.setting.config.one_round:
            return self._learn_from_teacher()
        return self._repeat() if self._nothing_new() else self._train()

    def _nothing_new(self) -> bool:
        """Whether the model would see the very rows that the one before it was fitted on."""
        maker = self.models.maker(self.number)
        if maker is not self.models.maker(self.number - 1):
            return False
        return not self.models.store.rounds[-1].counts.changed and not maker.warm

    def _repeat(self) -> FittedModel:
        before = self.models.store.models[self.number - 2]
        return FittedModel(
            artifact=before.artifact,
            classes=before.classes,
            label_type=before.label_type,
            key_types=before.key_types,
            features=before.features,
            training=before.training,
            validation=before.validation,
            voters=before.voters,
            adjustment=before.adjustment,
            reliability=before.reliability,
            mistakes=before.mistakes,
            **_said_if_there({"numbers": before.numbers, "residuals": before.residuals}),
        )

    def _seed(self) -> FittedModel:
        """Make model 1, after a look whether the rows it learns from stand for the pool."""
        models, config = self.models, self.models.setting.config
        models.ready(models.teacher)  # draws the larger sample first
        sample = pool_sample(models)
        shift = measure_shift(models.setting, sample)
        if shift is not None and shift.shifted:
            self.events.event("warning", **shift_warning(config, shift).model_dump())
        fitted = self._cross_fit(sample) if config.cross_fitted else self._train_seed()
        return _with(fitted, training=fitted.training.model_copy(update={"shift": shift}))

    def _train_seed(self) -> FittedModel:
        """Make model 1 of all labeled rows at once, or without any."""
        return _with_rules(self._train(), self._found(None))

    def _found(self, fitted: CrossFit | None) -> RulesFound | None:
        """Return what the rules have come to, if these make model 1."""
        models, inputs = self.models, self.models.setting.inputs
        maker = models.ready(models.teacher)
        found = maker.found(models.labeled, inputs.classes, fitted)
        return None if found is None else replace(found, columns=inputs.rule_columns)

    def _cross_fit(self, sample: pa.Table | None) -> FittedModel:
        """Make model 1 as the mean of models that have each not seen one fold of labeled rows."""
        models, setting = self.models, self.models.setting
        inputs, rows = setting.inputs, setting.labeled
        failpoint("train.collected")
        with fit_errors(inputs, models.teacher.name, rows):
            fitted = cross_fit_labeled(models)
        models.voters = fitted.voters
        failpoint("model.fitted")
        model = fitted.mean_model(inputs.classes)
        if setting.config.student is not None:
            models.cross_fit = fitted
        adjustment = adjustment_of(models, 1, rows, fitted)
        fitted_model = self._made(model, rows, adjustment)
        codes = true_codes(setting, rows, fitted)
        facts: dict[str, object] = {
            "teacher": taught_by(setting.config, models.ready(models.teacher), fitted),
        }
        suspects = None
        if inputs.numbers is None:
            facts["hygiene"], suspects = check_given_labels(
                models.store, self.attempt, inputs, codes, fitted.P
            )
        out_of_fold = adjusted(adjustment, fitted, codes)
        if sample is not None:
            facts["sampled_by_code"] = predict_sample(models, out_of_fold, sample)
        measured = _measure_out_of_fold(models, out_of_fold, codes)
        fitted_model = _with(
            fitted_model,
            training=fitted_model.training.model_copy(update=facts),
            oof=measured.metrics,
            reliability=measured.reliabilities,
            mistakes=measured.mistakes,
            **_said_if_there({"residuals": measured.residuals}),
            suspects=suspects,
            oof_scores=keep_scores(models, self.attempt, out_of_fold, codes),
        )
        return _with_rules(fitted_model, self._found(fitted))

    def _learn_from_teacher(self) -> FittedModel:
        """Fit the student, if there is one; where it may be worse, the teacher stays.

        The labels are the teacher's and stand, unless it is a committee, no certificate says so,
        and the student drops.
        """
        models, setting = self.models, self.models.setting
        if setting.config.student is None:
            return self._teacher_again(None)
        if models.teacher.transductive:
            # Only a student can score other rows, be it better or worse than the graph.
            fitted = self._train()
            against = fitted.training.against_best
            if against is None:
                return fitted
            kept = fitted.training.model_copy(
                update={"against_best": replace(against, dropped=False)}
            )
            return _with(fitted, training=kept)
        if setting.config.labeled is None:
            every = all(models.store.rounds[-1].counts.by_code(setting.learned_rows))
            return self._train() if every else self._teacher_again(NotCompared(1, "class_missing"))
        if not setting.inputs.validation.num_rows and not kept_cross_fit(models)[1].held_out.any():
            return self._teacher_again(NotCompared(1, "unmeasured"))
        if model_facts(models.store)[0].shifted and models.prior is None:
            # Labeled rows can't tell what a student makes of a pool that is unlike them. Where
            # classes are declared to be mixed otherwise, that alone makes them differ.
            return self._teacher_again(NotCompared(1, "shift"))
        fitted = self._train()
        against = fitted.training.against_best
        compared = Comparison | LossComparison | ErrorComparison
        if not isinstance(against, compared) or against.usable:
            return fitted
        teacher = setting.config.teacher
        stands = setting.config.certified or (teacher is not None and teacher.labels_stand)
        if against.dropped and not stands:
            return fitted
        return self._teacher_again(replace(against, dropped=False, refused="worse"))

    def _teacher_again(self, against: Compared | None) -> FittedModel:
        """Keep the model that gave the labels as the final one; it has learned from no pool row."""
        models, last = self.models, self.number - 1
        before = models.store.models[last - 1]
        models.keep(self.number, models.model(last), models.adjustment(last))
        no_row = (None,) * len(models.setting.inputs.classes)
        changes = {"hash_limits": no_row, "against_best": against}
        training = before.training.model_copy(update=changes)
        return _with(self._repeat(), training=training, oof=before.oof)

    def _train(self) -> FittedModel:
        models, setting = self.models, self.models.setting
        maker = models.ready(models.maker(self.number))
        goes_on = self.number > 1 and maker.warm
        trained = self.trainer.train(maker, models.model(self.number - 1) if goes_on else None)
        rows = trained.rows
        adjustment = adjustment_of(models, self.number, rows)
        fitted_model = self._made(
            trained.model, rows, adjustment, trained.limits, trained.weighting
        )
        measured_otherwise = not setting.config.cross_fitted or setting.inputs.validation.num_rows
        if self.number == 1 or measured_otherwise:
            return fitted_model
        _, teacher = kept_cross_fit(models)
        measured = setting.mixed_as(models.prior, setting.inputs.labeled, teacher.held_out)
        if not measured.any():  # no class has two labeled rows that differ
            return fitted_model
        on_driver = rows if isinstance(rows, TrainingRows) else None
        with fit_errors(setting.inputs, maker.name, on_driver):
            pseudo = trained.pseudo
            metrics, losses = measure_student(
                models, pseudo.table, pseudo.weights, teacher, measured
            )
        training = fitted_model.training.model_copy(update={"against_best": losses})
        return _with(fitted_model, training=training, oof=metrics)

    def _made(
        self,
        model: BaseEstimator,
        rows: LearnedRows,
        adjustment: Adjustment | None,
        limits: HashLimits = None,
        weighting: RowWeights | None = None,
    ) -> FittedModel:
        """Store and measure a fitted model; return what its manifest says about it."""
        models, inputs = self.models, self.models.setting.inputs
        artifact = models.store.write_model(self.attempt, model, models.trusted)
        models.keep(self.number, model, adjustment)
        measured = _measure(models, self.number)
        found = models.voters if self.number == 1 else None
        return FittedModel(
            artifact=artifact,
            classes=inputs.classes,
            label_type=inputs.label_type,
            key_types=inputs.key_types,
            features=models.setting.features_of(self.number),
            training=Training(
                rows=inputs.labeled.num_rows + rows.n_pseudo,
                rows_pseudo=rows.n_pseudo,
                hash_limits=None if limits is None else tuple(limits),
                weights=weighting or RowWeights(),
                sha256=rows.sha256(),
                reference=None if models.reference is None else models.reference.pool_rows,
                against_best=measured.against_best,
            ),
            validation=measured.metrics if measured.metrics.n else None,
            mistakes=measured.mistakes,
            marginals=keep_marginals(models, self.attempt) if self.number == 1 else None,
            voters=found or models.maker(self.number).voters,
            adjustment=adjustment,
            **_said_if_there({"numbers": inputs.numbers, "residuals": measured.residuals}),
        )


def _said_if_there(facts: dict[str, object]) -> dict[str, Any]:
    """Leave out facts that are none: what is not found out is not written."""
    return {name: value for name, value in facts.items() if value is not None}


def _with(fitted: FittedModel, **changes: object) -> FittedModel:
    return fitted.model_copy(update=changes)


def _with_rules(fitted: FittedModel, found: RulesFound | None) -> FittedModel:
    if found is None:
        return fitted
    return _with(fitted, training=fitted.training.model_copy(update={"rules": found}))


@dataclass(frozen=True)
class _OutOfFold:
    """What labeled rows say of model 1.

    Parameters
    ----------
    metrics
        Its figures; None where no row has a score.
    reliabilities
        Its confidences against the truth.
    mistakes
        What it says of them; None where no row has a score.
    residuals
        Its errors on them, where labels are numbers.
    """

    metrics: Metrics | None
    reliabilities: Reliabilities
    mistakes: Mistakes | None
    residuals: Residuals | None = None


def _measure_out_of_fold(models: Models, fitted: CrossFit, codes: NDArray[np.int32]) -> _OutOfFold:
    """Measure model 1 on labeled rows, each by models and adjustments that have not seen it."""
    setting = models.setting
    measured = setting.mixed_as(models.prior, setting.inputs.labeled, fitted.held_out)
    P, codes = fitted.adjusted[measured], codes[measured]
    task, y = setting.inputs.numbers, setting.labeled.values
    oof = residuals = None
    if measured.any() and task is not None:
        assert y is not None
        assert fitted.numbers is not None
        said = y[measured], fitted.numbers[measured], task
        oof, residuals = number_metrics(*said), residuals_of(*said, "oof")
    elif measured.any():
        oof = oof_metrics(codes, P)
    after = reliability(P, codes) if fitted.adjustments else None
    return _OutOfFold(
        metrics=oof,
        reliabilities=Reliabilities(raw=reliability(fitted.P[measured], codes), adjusted=after),
        mistakes=mistakes_of(codes, P, "oof"),
        residuals=residuals,
    )


@dataclass(frozen=True)
class _Measured:
    """A new model on the validation rows.

    Parameters
    ----------
    metrics
        Its figures.
    mistakes, residuals
        What it says of them; None without a row, the latter also where labels are classes.
    against_best
        The best model before it on the same rows; None: there is none.
    """

    metrics: Metrics
    mistakes: Mistakes | None = None
    residuals: Residuals | None = None
    against_best: Comparison | ErrorComparison | None = None


def _measure(models: Models, number: int) -> _Measured:
    """Measure a new model on the validation rows, and against the best one before it."""
    inputs = models.setting.inputs
    if inputs.numbers is not None:
        return _measure_numbers(models, number, inputs.numbers)
    measured = models.setting.mixed_as(models.prior, inputs.validation)
    codes = inputs.validation.column(CODE).to_numpy()[measured]
    scores = _validation_scores(models, number)
    predicted, P = scores.code[measured], scores.probabilities[measured]
    metrics = metrics_of(codes, predicted, p_of_true(codes, P), len(inputs.classes))
    mistakes = mistakes_of(codes, P, "validation") if metrics.n else None
    if number == 1 or metrics.n == 0:
        return _Measured(metrics, mistakes)
    best = best_model(model_facts(models.store)).number
    best_right = _validation_scores(models, best).code[measured] == codes
    against_best = compare(best, best_right, predicted == codes)
    return _Measured(metrics, mistakes, against_best=against_best)


def _measure_numbers(models: Models, number: int, task: NumberTask) -> _Measured:
    """Measure a new model of numbers on the validation rows, as :func:`_measure` does."""
    rows = models.setting.inputs.validation
    y = rows.column(VALUE).to_numpy()
    said = _validation_scores(models, number).said
    metrics = number_metrics(y, said, task)
    if metrics.n == 0:
        return _Measured(metrics)
    mistakes = mistakes_of(task.codes(y, said[:, 0]), said[:, 1:2], "validation")
    residuals = residuals_of(y, said, task, "validation")
    if number == 1:
        return _Measured(metrics, mistakes, residuals)
    best = best_model(model_facts(models.store)).number
    of_best = _validation_scores(models, best).said
    errors = [np.abs(y - numbers[:, 0]) for numbers in (of_best, said)]
    return _Measured(metrics, mistakes, residuals, compare_errors(best, *errors))


def _validation_scores(models: Models, number: int) -> Scores:
    """Score the validation rows."""
    rows = models.setting.inputs.validation
    return score(rows, models.scorer(number, probabilities=True, table="validation"))
