"""The report of a run, put together from its manifests."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import TypeVar

from spark_pseudolabel.config import public
from spark_pseudolabel.core import facts
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.label_errors import duplicates, given_labels
from spark_pseudolabel.job.outcome import Measured, class_shares, outcome_warnings
from spark_pseudolabel.job.shift import predicted_prior, shift_action
from spark_pseudolabel.job.warn import trust_warnings
from spark_pseudolabel.report.document import (
    Adjustment,
    Certificate,
    CertifiedClaim,
    ClassResult,
    Flips,
    Histogram,
    LabelCheck,
    MeasuredShift,
    Metrics,
    ModelResult,
    Notice,
    Paths,
    PoolPrior,
    PredictedPrior,
    Reliability,
    Report,
    Round,
    Rows,
    Seconds,
    Shift,
    TestMetrics,
    label_key,
)
from spark_pseudolabel.spark.direct.pool import DirectPool
from spark_pseudolabel.spark.evaluation import HeldOutRows, labels_against_truth
from spark_pseudolabel.store.layout import REPORT_HTML, REPORT_JSON, model_name
from spark_pseudolabel.store.manifest import ModelManifest, RoundManifest
from spark_pseudolabel.version import VERSION

Value = TypeVar("Value")

HISTOGRAM_BINS = 100
LIBRARIES = ("pyspark", "pyarrow", "pandas", "numpy", "scikit-learn", "skops")


def make_report(run: Run, end: Finish, elapsed_s: float) -> Report:
    """Return the document of ``report.json``; scores the test table if there is one."""
    models = run.store.models
    seed, final = (_model(run, models[number], end) for number in (0, end.best_round))
    certificate, shares = _certificate(run), class_shares(run, end)
    measured = Measured(final, certificate, shares)
    return Report(
        run_id=run.store.run_id,
        termination_condition=end.reason,
        n_iter=end.n_iter,
        best_round=end.best_round,
        classes=list(run.inputs.classes),
        rounds=[_round(run, manifest, end) for manifest in run.store.rounds],
        seed=seed,
        final=final,
        rows=_rows(run, end),
        prior=_prior(run),
        certificate=certificate,
        shift=_shift(run),
        given_labels=given_labels(run),
        duplicates=duplicates(run),
        class_shares=shares,
        warnings=_warnings(run, end, measured),
        paths=_paths(run.config.output.path),
        config=public(run.config),
        environment=_environment(run),
        elapsed_s=round(elapsed_s, 3),
    )


def _prior(run: Run) -> PoolPrior | None:
    if run.prior is None:
        return None
    return PoolPrior(shares=_by_class(run, run.prior.prior), source=run.prior.source)


def _certificate(run: Run) -> Certificate | None:
    """Return the certificate with labels in place of their indices."""
    kept = run.store.rounds[-1].certificate if run.store.rounds else None
    if kept is None:
        return None
    classes = run.inputs.classes
    return Certificate(
        claimed=kept.claimed,
        precision=kept.precision,
        certainty=kept.certainty,
        per=kept.per,
        source=kept.source,
        n_calibration=kept.n_calibration,
        n_only_ones=kept.n_only_ones,
        n_pool=kept.n_pool,
        coverage=kept.coverage,
        claims=[_claim(run, claim) for claim in kept.claims],
        refused=kept.refused,
        by_class=[
            ClassResult(
                class_=classes[result.code],
                n=result.n,
                wrong=result.wrong,
                lower=result.lower,
                upper=result.upper,
                published=result.published,
            )
            for result in kept.by_class
        ],
        prior_shift=PredictedPrior.from_fact(kept.prior_shift),
        prior=None if kept.prior is None else list(kept.prior),
        shift=MeasuredShift.from_optional(kept.shift),
        inside_only=kept.inside_only,
        withheld=kept.withheld,
    )


def _claim(run: Run, claim: facts.Claim) -> CertifiedClaim:
    return CertifiedClaim(
        labels=[run.inputs.classes[code] for code in claim.codes],
        cut=claim.cut,
        n=claim.n,
        wrong=claim.wrong,
        p_value=claim.p_value,
        level=claim.level,
        bound=claim.bound,
        rows=claim.rows,
        more_labels=claim.more_labels,
        outlook=claim.outlook,
    )


def _shift(run: Run) -> Shift | None:
    """Return what was measured before anything was scored, and what the first scores add."""
    kept = run.store.models[0].training.shift
    if kept is None:
        return None
    return Shift(
        auc=kept.auc,
        auc_limit=kept.auc_limit,
        outside=kept.outside,
        shifted=kept.shifted,
        action=shift_action(run),
        n_labeled=kept.n_labeled,
        n_pool=kept.n_pool,
        psi=dict(kept.psi),
        outside_by_chance=kept.outside_by_chance,
        inside=MeasuredShift.from_optional(kept.inside),
        unseen=dict(kept.unseen),
        prior_shift=PredictedPrior.from_optional(predicted_prior(run)),
    )


def _round(run: Run, manifest: RoundManifest, end: Finish) -> Round:
    following = run.store.models[manifest.number]
    decided_by = run.store.models[manifest.number - 1]
    counts, cuts = manifest.counts, manifest.plan.cuts
    return Round(
        round=manifest.number,
        model=model_name(manifest.number),
        candidates=counts.candidates,
        accepted=counts.accepted,
        rejected=counts.rejected,
        invalid=counts.invalid,
        abstained=counts.abstained,
        withheld=counts.withheld,
        trained_on=following.training.rows_pseudo,
        accepted_by_class=_by_class(run, counts.accepted_by_code),
        flips=Flips.from_optional(counts.flips),
        threshold_by_class=_by_class(
            run, [None if cut is None else cut.confidence for cut in cuts]
        ),
        used=manifest.number <= end.best_round,
        validation=Metrics.from_optional(following.validation),
        seconds=Seconds.model_validate({**decided_by.seconds, **manifest.seconds}),
        histogram=Histogram(
            bins=HISTOGRAM_BINS,
            counts=_by_class(run, manifest.histogram.coarse(HISTOGRAM_BINS).tolist()),
        ),
        reliability=Reliability.from_optional(decided_by.reliability),
    )


def _by_class(run: Run, values: Sequence[Value]) -> dict[str, Value]:
    keys = [label_key(label) for label in run.inputs.classes]
    return dict(zip(keys, values, strict=True))


def _model(run: Run, manifest: ModelManifest, end: Finish) -> ModelResult:
    return ModelResult(
        model=model_name(manifest.number),
        validation=Metrics.from_optional(manifest.validation),
        chosen_from=_chosen_from(run, end) if manifest.number == end.best_round + 1 else 1,
        oof=Metrics.from_optional(manifest.oof),
        test=_test(run, manifest.number, end),
        adjustment=Adjustment.from_optional(manifest.adjustment),
    )


def _chosen_from(run: Run, end: Finish) -> int:
    """Count the models that the final one was the best of, on the rows that measure it."""
    n_models = len(run.store.models)
    measured = run.inputs.validation.num_rows > 0 or run.config.cross_fitted
    chosen = end.reason in ("validation_drop", "oof_drop") or run.limits.keep_best
    student = run.config.one_round and run.config.student is not None
    return n_models if measured and (chosen or student) else 1


def _test(run: Run, number: int, end: Finish) -> TestMetrics | None:
    if run.inputs.test is None:
        return None
    scorer = run.scorer(number, probabilities=True)
    metrics = run.inputs.test.evaluate(scorer, run.inputs.classes)
    is_final = number == end.best_round + 1
    return TestMetrics(
        n=metrics.n,
        accuracy=metrics.accuracy,
        balanced_accuracy=metrics.balanced_accuracy,
        f1_macro=metrics.f1_macro,
        log_loss=metrics.log_loss,
        majority=metrics.majority,
        labels=_label_check(run, end) if is_final else None,
    )


def _label_check(run: Run, end: Finish) -> LabelCheck | None:
    if run.config.id is None or run.inputs.test is None:
        return None
    checked = _against_truth(run, run.published_rounds(end.best_round), run.inputs.test)
    n, correct = checked["n"], checked["correct"]
    return LabelCheck(n=n, correct=correct, precision=correct / n) if n else None


def _against_truth(run: Run, rounds: Sequence[RoundManifest], test: HeldOutRows) -> dict[str, int]:
    truth = test.truth(run.inputs.classes)
    if truth is not None and isinstance(run.pool, DirectPool):
        return run.pool.check(rounds, truth)
    return labels_against_truth(
        run.stored.accepted(rounds), test, run.inputs.keys, run.inputs.classes
    )


def _rows(run: Run, end: Finish) -> Rows:
    used = run.published_rounds(end.best_round)
    accepted = sum(manifest.counts.accepted for manifest in used)
    invalid = sum(manifest.counts.invalid for manifest in used)
    # On what a model abstained once, the next one may have a say.
    abstained = used[-1].counts.abstained if used else 0
    return Rows(
        labeled=run.inputs.labeled.num_rows,
        validation=run.inputs.validation.num_rows,
        pool=run.inputs.pool_rows,
        accepted=accepted,
        rejected=run.inputs.pool_rows - accepted - invalid - abstained,
        invalid=invalid,
        abstained=abstained,
        # What was withheld once is a candidate again, and withheld again.
        withheld=used[-1].counts.withheld if used else 0,
    )


def _warnings(run: Run, end: Finish, measured: Measured) -> list[Notice]:
    warnings = [Notice.about(note.code, note.message) for note in run.inputs.notes]
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
    warnings += trust_warnings(run, end, measured.certificate)
    rows = _rows(run, end)
    if rows.invalid:
        warnings.append(
            Notice.about(
                "invalid_rows",
                f"{rows.invalid:,} rows could not be scored. They and the reasons are in invalid/.",
            )
        )
    k = getattr(run.config.selection, "k", None)
    if run.like_sklearn and k is not None and k > run.inputs.pool_rows > 0:
        warnings.append(
            Notice.about(
                "k_best_too_large",
                f"selection.k is {k}, larger than the pool of "
                f"{run.inputs.pool_rows} rows: all rows are labeled in round 1.",
            )
        )
    warnings += _silent_classes(run, end, rows.accepted)
    return warnings + outcome_warnings(measured)


def _silent_classes(run: Run, end: Finish, accepted: int) -> list[Notice]:
    if not accepted:
        return []
    totals = [
        sum(column)
        for column in zip(
            *(m.counts.accepted_by_code for m in run.published_rounds(end.best_round)),
            strict=True,
        )
    ]
    silent = [label for label, n in zip(run.inputs.classes, totals, strict=True) if n == 0]
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


def _paths(out: str) -> Paths:
    root = out.rstrip("/")
    return Paths(
        labels=f"{root}/labels",
        undecided=f"{root}/undecided",
        training=f"{root}/training",
        invalid=f"{root}/invalid",
        suspects=f"{root}/suspects",
        model=f"{root}/model/model.skops",
        report_html=f"{root}/{REPORT_HTML}",
        report_json=f"{root}/{REPORT_JSON}",
    )


def _environment(run: Run) -> dict[str, object]:
    return {
        "spark_pseudolabel": VERSION,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "spark_master": run.spark.sparkContext.master,
        "spark_app_id": run.spark.sparkContext.applicationId,
    }
