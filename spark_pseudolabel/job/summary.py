"""The report of a run, put together from its manifests."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import TypeVar

from pyspark.sql import SparkSession

from spark_pseudolabel.config import Config, public
from spark_pseudolabel.core import facts
from spark_pseudolabel.core.adjustment import PriorCorrection
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.label_errors import duplicates, given_labels
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.outcome import Measured, class_shares, outcome_warnings
from spark_pseudolabel.job.rules import rules_found, rules_warnings, teacher_of_rules
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.shift import predicted_prior, shift_action
from spark_pseudolabel.job.trainers import training_notices
from spark_pseudolabel.job.warn import trust_warnings
from spark_pseudolabel.report.document import (
    Adjustment,
    Certificate,
    CertifiedClaim,
    ClassResult,
    Confused,
    Flips,
    Histogram,
    Instead,
    LabelCheck,
    MeasuredShift,
    Metrics,
    MissingLabels,
    Mistakes,
    ModelResult,
    Notice,
    NumberMetrics,
    NumbersAsked,
    Paths,
    PinnedInput,
    PoolPrior,
    PredictedPrior,
    Reliability,
    Report,
    Residuals,
    Round,
    Rows,
    Seconds,
    Shift,
    Teacher,
    TeacherMember,
    TestMetrics,
    label_key,
)
from spark_pseudolabel.spark.backends import Backend
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.store.layout import REPORT_HTML, REPORT_JSON, model_name
from spark_pseudolabel.store.manifest import Artifact, ModelManifest, RoundManifest
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.version import VERSION
from spark_pseudolabel.wording import counted

Value = TypeVar("Value")

HISTOGRAM_BINS = 100
LIBRARIES = ("pyspark", "pyarrow", "pandas", "numpy", "scikit-learn", "skops")


def make_report(run: Run, end: Finish, elapsed_s: float) -> Report:
    """Return the document of ``report.json``; scores the test table if there is one."""
    models, store, config = run.models, run.store, run.setting.config
    classes = run.setting.inputs.classes
    seed, final = (
        _model(models, store.models[number], end, run.backend) for number in (0, end.best_round)
    )
    certificate, shares = _certificate(store, classes), class_shares(models, end)
    measured = Measured(final, certificate, shares)
    return Report(
        run_id=store.run_id,
        termination_condition=end.reason,
        n_iter=end.n_iter,
        best_round=end.best_round,
        classes=list(classes),
        numbers=numbers_asked(config, run.setting.inputs.numbers),
        rounds=[round_of(store, manifest, end) for manifest in store.rounds],
        seed=seed,
        final=final,
        rows=rows_of(run.setting, store, end),
        teacher=_teacher(store, classes),
        prior=_prior(models.prior_correction, classes),
        certificate=certificate,
        shift=_shift(models),
        given_labels=given_labels(store.models[0]),
        duplicates=duplicates(run.setting),
        class_shares=shares,
        warnings=_warnings(models, end, measured),
        paths=paths_of(config.output.path, store.models[end.best_round].artifact),
        pinned=pinned_inputs(run.setting.inputs),
        config=public(config),
        environment=environment_of(run.spark),
        elapsed_s=round(elapsed_s, 3),
    )


def pinned_inputs(inputs: Inputs) -> list[PinnedInput]:
    """Return the versions of inputs that keep a log."""
    return [
        PinnedInput(table=name, format=pinned.format, version=str(pinned.version))
        for name, pinned in inputs.frozen.pinned.items()
    ]


def numbers_asked(config: Config, task: NumberTask | None) -> NumbersAsked | None:
    """Return what is asked of labels that are numbers, as documents say it."""
    if task is None:
        return None
    return NumbersAsked(
        tolerance=task.tolerance,
        relative=task.relative,
        spelled=str(config.tolerance),
        interval=task.interval,
        integer=task.integer,
        mean=task.mean,
        sd=task.sd,
    )


def _teacher(store: RoundStore, classes: Sequence[Label]) -> Teacher | None:
    stored, rules = store.models[0].training.teacher, rules_found(store)
    abstained = store.rounds[0].counts.abstained if store.rounds else 0
    if rules is not None:
        return teacher_of_rules(rules, classes, abstained)
    if stored is None:
        return None
    return Teacher(
        kind=stored.kind,
        parameters=dict(stored.parameters),
        members=[TeacherMember.from_fact(member) for member in stored.members],
        abstained=abstained,
        recall=None if store.graph is None else store.graph.recall,
    )


def _prior(prior: PriorCorrection | None, classes: Sequence[Label]) -> PoolPrior | None:
    if prior is None:
        return None
    return PoolPrior(shares=_by_class(classes, prior.prior), source=prior.source)


def _certificate(store: RoundStore, classes: Sequence[Label]) -> Certificate | None:
    """Return the certificate with labels in place of their indices."""
    stored = store.rounds[-1].certificate if store.rounds else None
    if stored is None:
        return None
    return Certificate.from_fact(
        stored,
        claims=[
            CertifiedClaim.from_fact(claim, labels=[classes[code] for code in claim.codes])
            for claim in stored.claims
        ],
        by_class=[ClassResult.from_fact(of, class_=classes[of.code]) for of in stored.by_class],
        missing=[MissingLabels.from_fact(of, class_=classes[of.code]) for of in stored.missing],
        instead=_instead(stored.instead),
    )


def _instead(found: facts.Instead | None) -> Instead | None:
    if found is None:
        return None
    value = f"{found.precision:g}" if found.given else "best"
    return Instead(
        precision=found.precision, rows=found.rows, setting=f"selection.precision={value}"
    )


def _shift(models: Models) -> Shift | None:
    """Return what was measured before anything was scored, and what the first scores add."""
    stored = models.store.models[0].training.shift
    if stored is None:
        return None
    return Shift(
        auc=stored.auc,
        auc_limit=stored.auc_limit,
        outside=stored.outside,
        shifted=stored.shifted,
        action=shift_action(models.setting.config),
        n_labeled=stored.n_labeled,
        n_pool=stored.n_pool,
        psi=dict(stored.psi),
        outside_by_chance=stored.outside_by_chance,
        inside=MeasuredShift.from_optional(stored.inside),
        unseen=dict(stored.unseen),
        prior_shift=PredictedPrior.from_optional(predicted_prior(models)),
    )


def round_of(store: RoundStore, manifest: RoundManifest, end: Finish) -> Round:
    """Return what the report says about a round."""
    following = store.models[manifest.number]
    decided_by = store.models[manifest.number - 1]
    counts, cuts, classes = manifest.counts, manifest.plan.cuts, following.classes
    return Round(
        round=manifest.number,
        model=model_name(manifest.number),
        candidates=counts.candidates,
        accepted=counts.accepted,
        rejected=counts.rejected,
        invalid=counts.invalid,
        abstained=counts.abstained,
        withheld=counts.withheld,
        unstable=counts.unstable,
        disagreement=counts.disagreement,
        trained_on=following.training.rows_pseudo,
        accepted_by_class=_by_class(classes, counts.accepted_by_code),
        flips=Flips.from_optional(counts.flips),
        threshold_by_class=_by_class(
            classes, [None if cut is None else cut.confidence for cut in cuts]
        ),
        used=manifest.number <= end.best_round,
        validation=Metrics.from_optional(following.validation),
        seconds=Seconds.model_validate({**decided_by.seconds, **manifest.seconds}),
        histogram=Histogram(
            bins=HISTOGRAM_BINS,
            counts=_by_class(classes, manifest.histogram.coarse(HISTOGRAM_BINS).tolist()),
        ),
        reliability=Reliability.from_optional(decided_by.reliability),
    )


def _by_class(classes: Sequence[Label], values: Sequence[Value]) -> dict[str, Value]:
    return dict(zip(map(label_key, classes), values, strict=True))


def _model(models: Models, manifest: ModelManifest, end: Finish, backend: Backend) -> ModelResult:
    is_final = manifest.number == end.best_round + 1
    checked = _label_check(models, end, backend) if is_final else None
    return ModelResult(
        model=model_name(manifest.number),
        validation=Metrics.from_optional(manifest.validation),
        chosen_from=_chosen_from(models, end) if is_final else 1,
        oof=Metrics.from_optional(manifest.oof),
        test=_test(models, manifest.number, checked),
        adjustment=Adjustment.from_optional(manifest.adjustment),
        mistakes=_mistakes(manifest),
        residuals=Residuals.from_optional(manifest.residuals),
    )


def _mistakes(manifest: ModelManifest) -> Mistakes | None:
    """Return what a model says of rows that it has not seen, with labels for their indices."""
    found, classes = manifest.mistakes, manifest.classes
    if found is None:
        return None
    return Mistakes(
        source=found.source,
        n=list(found.n),
        right=list(found.right),
        by_class=_by_class(classes, found.by_code),
        confused=[
            Confused(given=classes[given], predicted=classes[predicted], rows=n)
            for given, predicted, n in found.pairs
        ],
    )


def _chosen_from(models: Models, end: Finish) -> int:
    """Count the models that the final one was the best of, on the rows that measure it."""
    setting, config = models.setting, models.setting.config
    measured = setting.inputs.validation.num_rows > 0 or config.cross_fitted
    chosen = end.reason in ("validation_drop", "oof_drop") or setting.limits.keep_best
    student = config.one_round and config.student is not None
    return len(models.store.models) if measured and (chosen or student) else 1


def _test(models: Models, number: int, checked: LabelCheck | None) -> TestMetrics | None:
    inputs = models.setting.inputs
    if inputs.test is None or models.store.models[number - 1].artifact.transductive:
        return None
    if inputs.numbers is not None:
        metrics = inputs.test.evaluate_numbers(models.scorer(number), inputs.numbers)
    else:
        metrics = inputs.test.evaluate(models.scorer(number, probabilities=True), inputs.classes)
    return TestMetrics(
        n=metrics.n,
        accuracy=metrics.accuracy,
        balanced_accuracy=metrics.balanced_accuracy,
        f1_macro=metrics.f1_macro,
        log_loss=metrics.log_loss,
        majority=metrics.majority,
        numbers=NumberMetrics.from_optional(metrics.numbers),
        labels=checked,
    )


def _label_check(models: Models, end: Finish, backend: Backend) -> LabelCheck | None:
    setting, test = models.setting, models.setting.inputs.test
    if setting.config.id is None or test is None:
        return None
    rounds = setting.published(models.store.rounds, end.best_round)
    checked = backend.check(rounds, test, setting.inputs.classes, setting.inputs.numbers)
    n, correct = checked["n"], checked["correct"]
    return LabelCheck(n=n, correct=correct, precision=correct / n) if n else None


def rows_of(setting: Setting, store: RoundStore, end: Finish) -> Rows:
    """Return where the rows went."""
    inputs, used = setting.inputs, setting.published(store.rounds, end.best_round)
    accepted = sum(manifest.counts.accepted for manifest in used)
    invalid = sum(manifest.counts.invalid for manifest in used)
    # On what a model abstained once, the next one may have a say.
    abstained = used[-1].counts.abstained if used else 0
    return Rows(
        labeled=inputs.labeled.num_rows,
        validation=inputs.validation.num_rows,
        pool=inputs.pool_rows,
        accepted=accepted,
        rejected=inputs.pool_rows - accepted - invalid - abstained,
        invalid=invalid,
        abstained=abstained,
        # What was withheld once is a candidate again, and withheld again.
        withheld=used[-1].counts.withheld if used else 0,
        unstable=used[-1].counts.unstable if used else 0,
        disagreement=used[-1].counts.disagreement if used else 0,
    )


def _warnings(models: Models, end: Finish, measured: Measured) -> list[Notice]:
    setting, n_pool = models.setting, models.setting.inputs.pool_rows
    warnings = [Notice.about(note.code, note.message) for note in setting.inputs.notes]
    if end.reason == "validation_drop":
        warnings.append(
            Notice.about(
                "validation_drop",
                f"Round {end.n_iter} made the model worse on the validation rows, "
                f"beyond noise. Rounds after {end.best_round} are not used; the final model is "
                f"{model_name(end.best_round + 1)}. It was chosen by these rows, so that its "
                "figures on them flatter it.",
            )
        )
    warnings += _adapted(models)
    warnings += training_notices(setting.config)
    warnings += trust_warnings(models, end, measured.certificate)
    warnings += rules_warnings(rules_found(models.store))
    rows = rows_of(setting, models.store, end)
    if rows.invalid:
        warnings.append(
            Notice.about(
                "invalid_rows",
                f"{counted(rows.invalid, 'row')} could not be scored: invalid/ has the reasons.",
            )
        )
    k = getattr(setting.config.selection, "k", None)
    if setting.like_sklearn and k is not None and k > n_pool > 0:
        warnings.append(
            Notice.about(
                "k_best_too_large",
                f"selection.k is {k}, larger than the pool of "
                f"{n_pool} rows: all rows are labeled in round 1.",
            )
        )
    warnings += _silent_classes(setting, models.store, end)
    return warnings + outcome_warnings(measured)


def _adapted(models: Models) -> list[Notice]:
    """Say which of a teacher's settings the rows have changed."""
    asked, used = models.setting.config.teacher, models.store.models[0].training.teacher
    if asked is None or used is None:
        return []
    wanted = asked.parameters
    changed = {
        key: value
        for key, value in used.parameters.items()
        # One graph among the members of a vote may have the anchors that there is room for.
        if key in wanted and value != wanted[key] and "." not in key
    }
    return [
        Notice.about(
            "teacher_adapted",
            f"teacher.{key} is {value:,} instead of {wanted[key]:,}: the rows of labeled and the "
            "sample of unlabeled allow no more.",
        )
        for key, value in changed.items()
    ]


def _silent_classes(setting: Setting, store: RoundStore, end: Finish) -> list[Notice]:
    rounds = setting.published(store.rounds, end.best_round)
    totals = [sum(n) for n in zip(*(m.counts.accepted_by_code for m in rounds), strict=True)]
    if not sum(totals):
        return []
    silent = [label for label, n in zip(setting.inputs.classes, totals, strict=True) if n == 0]
    if not silent:
        return []
    return [
        Notice.about(
            "class_without_labels",
            f"No row got the label {' or '.join(map(repr, silent))}: the pool has none, "
            "or the model is not sure enough of any for this rule. `Where is the threshold?` in "
            "report.html shows how sure it is; more labeled rows of the class make it surer.",
            classes=silent,
        )
    ]


def paths_of(out: str, final: Artifact) -> Paths:
    """Return where the outputs are."""
    root = out.rstrip("/")
    return Paths(
        labels=f"{root}/labels",
        undecided=f"{root}/undecided",
        training=f"{root}/training",
        invalid=f"{root}/invalid",
        suspects=f"{root}/suspects",
        model=None if final.transductive else f"{root}/model/model.skops",
        report_html=f"{root}/{REPORT_HTML}",
        report_json=f"{root}/{REPORT_JSON}",
    )


def environment_of(spark: SparkSession) -> dict[str, object]:
    """Return versions and the machine."""
    return {
        "spark_pseudolabel": VERSION,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "spark_master": spark.sparkContext.master,
        "spark_app_id": spark.sparkContext.applicationId,
    }
