"""Warnings about what may be trusted: the certificate, the student, the labeled rows."""

from __future__ import annotations

from collections.abc import Sequence

from spark_pseudolabel.core.adjustment import PriorCorrection
from spark_pseudolabel.core.facts import Compared, Comparison, ErrorComparison, NotCompared
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.core.trust.certificate import Promise, why_impossible
from spark_pseudolabel.core.trust.guard import MARGIN
from spark_pseudolabel.core.trust.priors import MIN_ROWS_PER_CLASS
from spark_pseudolabel.job.decide import (
    DRAWN_PER_CLASS,
    GROUPS_DIFFER,
    NO_POOL_GROUPS,
    PRIOR_DISAGREES,
    SHIFT,
    UNTESTED_LABELS,
    untested,
    untested_labels,
)
from spark_pseudolabel.job.label_errors import (
    duplicate_rows,
    duplicates,
    given_labels,
    suspicious_labels,
)
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.shift import predicted_prior, shift_warning
from spark_pseudolabel.report import promises, words
from spark_pseudolabel.report.document import Certificate, CertifiedClaim, Notice, label_key
from spark_pseudolabel.store.facts import Reliabilities
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.wording import counted

_NAMED = 5
HARMFUL_ECE = 0.02
"""By so much the expected calibration error of a few hundred rows differs from draw to draw."""


_OF_GROUPS = {
    NO_POOL_GROUPS: "labeled.group names a column that the pool lacks. How many independent groups "
    "its rows are from decides what can be said about them: give the pool the column.",
    GROUPS_DIFFER: "the groups of labeled rows are of other sizes than those of the pool, far "
    "beyond chance, so they are no random sample of them. Label whole groups drawn at random; "
    "rows that were drawn one by one, whatever their group, need no labeled.group.",
}


def trust_warnings(models: Models, end: Finish, certificate: Certificate | None) -> list[Notice]:
    """Return what deserves a look before labels or the final model are relied on."""
    setting, config, first = models.setting, models.setting.config, models.store.models[0]
    prior, warnings = models.prior_correction, []
    shift = first.training.shift
    if shift is not None and shift.shifted:
        warnings.append(shift_warning(config, shift))
    if (copies := duplicates(setting)) is not None:
        warnings.append(duplicate_rows(copies))
    labels = given_labels(first)
    if labels is not None and not labels.explained:
        warnings.append(suspicious_labels(labels))
    refused = certificate is not None and certificate.refused is not None
    declared = config.drawn == "per_class"
    # That the pool is unlike the labeled rows is reported with its consequence.
    untold = certificate is not None and certificate.refused != SHIFT
    if certificate is not None and untold and not certificate.claimed:
        names = untested_labels(setting)
        held_out = certificate.source == "held_out"
        table = held_out and config.validation.is_table
        warnings.append(
            not_certified(
                certificate,
                names,
                declared=declared,
                numbers=setting.inputs.numbers is not None,
                tested="validation" if held_out else "labeled",
                missing="validation" if table else "labeled",
                pool=setting.inputs.pool_rows,
            )
        )
    elif certificate is None and prior is not None and prior.source == "given":
        predicted = predicted_prior(models)
        if predicted is not None and predicted.drawn_per_class:
            warnings.append(_prior_disagrees(predicted.p_value, ""))
    if prior is None:
        warnings += harmful_calibration(setting.calibration, first.reliability)
    if prior is not None and prior.source == "estimated":
        warnings.append(_estimated(setting.inputs.classes, prior))
    elif declared and prior is None and not refused:
        warnings.append(
            Notice.about(
                DRAWN_PER_CLASS,
                "The labeled rows are a class-balanced sample. Figures on validation rows "
                "weigh classes as these rows do, not as the pool does, and so do confidences: "
                f"estimating the pool's class shares takes {MIN_ROWS_PER_CLASS} labeled rows of "
                "each label. Give unlabeled.prior, or label more rows.",
            )
        )
    return warnings + _unused_student(models, end)


def harmful_calibration(method: str | None, reliability: Reliabilities | None) -> list[Notice]:
    """Warn where confidences tell the share of right labels less well than before."""
    if method is None or reliability is None or reliability.adjusted is None:
        return []
    before, after = reliability.raw.ece, reliability.adjusted.ece
    if before is None or after is None or after <= before + HARMFUL_ECE:
        return []
    return [
        Notice.about(
            "harmful_calibration",
            f"calibration: {method} made confidences worse: on labeled rows it has not "
            f"seen they are off by {after:.3f} on average, and by {before:.3f} without it. "
            "Say none, or isotonic where there are hundreds of rows of each label.",
            before=before,
            after=after,
        )
    ]


def _prior_disagrees(chance: float, consequence: str) -> Notice:
    """Say that the given prior is not what the pool looks like."""
    return Notice.about(
        PRIOR_DISAGREES,
        "The pool does not look as unlabeled.prior says: labeled rows mixed in these "
        "shares are predicted in other shares than the pool's rows, far beyond chance "
        f"(p = {chance:.2g}).{consequence} Correct the prior, or leave it out and "
        "label rows drawn at random from the pool.",
        p_value=chance,
    )


def _estimated(classes: Sequence[Label], prior: PriorCorrection) -> Notice:
    shares = dict(zip(map(label_key, classes), prior.prior, strict=True))
    largest = sorted(shares.items(), key=lambda item: -item[1])[:_NAMED]
    others = f", and {len(shares) - _NAMED} others" if len(shares) > _NAMED else ""
    return Notice.about(
        "prior_estimated",
        "The labeled rows are a class-balanced sample; the pool's class shares are estimated: "
        + ", ".join(f"{name} {share:.1%}" for name, share in largest)
        + f"{others}. Scores are corrected to them. If they are far from what you know of the "
        "pool, give unlabeled.prior.",
        shares=shares,
    )


def not_certified(
    certificate: Certificate,
    untested_names: Sequence[str],
    *,
    declared: bool,
    numbers: bool = False,
    tested: str = "labeled",
    missing: str = "labeled",
    pool: int | None = None,
) -> Notice:
    """Say why nothing is certified, and what it would take.

    Parameters
    ----------
    certificate
        As in the report.
    untested_names
        Labels without a row to test.
    declared
        Whether the labels are said to be a class-balanced sample.
    numbers
        Whether labels are numbers, which people are not asked about.
    tested, missing
        What rows were tested, and what rows more are wanted of: labeled or validation.
    pool
        Pool rows there are; None: many.
    """
    goal = words.goal(certificate)
    refused, predicted = certificate.refused, certificate.prior_shift
    if refused == UNTESTED_LABELS:
        return Notice.about(
            UNTESTED_LABELS,
            f"{goal[0].upper()}{goal[1:]} can't be certified, and no label is "
            f"published: {untested(untested_names)}",
            labels=list(untested_names),
        )
    if refused == PRIOR_DISAGREES and predicted is not None:
        consequence = f" {goal[0].upper()}{goal[1:]} can't be certified: no label is published."
        return _prior_disagrees(predicted.p_value, consequence)
    if refused in _OF_GROUPS:
        return Notice.about(
            refused,
            f"{goal[0].upper()}{goal[1:]} can't be certified, and no label is "
            f"published: {_OF_GROUPS[refused]}",
        )
    if refused is not None:
        why = "labeled.drawn says that their classes are not distributed as the pool's"
        if not declared and predicted is not None:
            why = (
                f"Predicted classes differ far beyond chance (p = {predicted.p_value:.2g}), as "
                "they do where the labels are a class-balanced sample"
            )
        return Notice.about(
            refused,
            f"The labeled rows are not drawn as the pool is: {goal} can't be "
            f"certified, and no label is published. {why}. Give unlabeled.prior, the share of "
            "every label in the pool, or label rows drawn at random from it.",
        )
    n_tested = certificate.n_calibration
    outlook = " ".join(
        _in_words(claim, certificate, missing, numbers) for claim in certificate.claims
    )
    promise = Promise(certificate.precision, certificate.certainty, best=certificate.best)
    if few := why_impossible(promise, n_tested, tested, pool):
        # Of fewer rows than any claim takes, no outlook says anything but an estimate of more.
        known = any(claim.more_labels is not None for claim in certificate.claims)
        outlook = f"{few[0].upper()}{few[1:]} " + (outlook if known else "Label more rows.")
    other = promises.other_promise(certificate)
    other = f"{other} " if other else ""
    return Notice.about(
        "not_certified",
        f"{goal[0].upper()}{goal[1:]} cannot be certified with "
        f"{counted(n_tested, f'{tested} row')} tested, and no label is published. {other}{outlook}",
        labels_needed=[
            {"labels": claim.labels, "more_labels": claim.more_labels, "outlook": claim.outlook}
            for claim in certificate.claims
        ],
    )


def _in_words(claim: CertifiedClaim, certificate: Certificate, kind: str, numbers: bool) -> str:
    of = f"For {claim.labels[0]!r}" if certificate.per == "class" else "For all labels"
    if claim.more_labels is not None:
        least = f", for {certificate.precision:g}" if certificate.best else ""
        more = counted(claim.more_labels, f"more {kind} row")
        return f"{of} it would take about {more}{least}."
    why, remedies = _OUTLOOKS[claim.outlook or "unclear"]
    if not numbers:
        remedies = (
            *remedies,
            "a person who is asked about the surest rows (review export --certify)",
        )
    listed = f"{', '.join(remedies[:-1])}, or {remedies[-1]}"
    return f"{of} {why.format(kind=kind)} What would do: {listed}."


_OUTLOOKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "model": (
        "more {kind} rows would not do, by these: at every cut the model errs too often.",
        ("a better model", "other features", "a lower precision"),
    ),
    "pool": (
        "more {kind} rows would not do: the pool is so small that chance alone breaks the promise "
        "with such a model.",
        ("a larger pool", "a better model", "a lower precision"),
    ),
    "unclear": (
        "these rows do not tell whether more {kind} ones would do: errors are not clearly rarer "
        "than allowed at any cut.",
        ("a better model", "other features", "a lower precision"),
    ),
}


def _unused_student(models: Models, end: Finish) -> list[Notice]:
    if len(models.store.models) < 2:
        return []
    against = models.store.models[1].training.against_best
    if against is None or (end.reason != "oof_drop" and not against.refused):
        return []
    labels = (
        "Its labels are not used"
        if end.reason == "oof_drop"
        else "The published labels, which its teacher gave, are not touched by that"
    )
    final = f"the final model is {model_name(end.best_round + 1)}, the teacher's."
    return [
        Notice.about("student_not_used", f"{why_unused(against)} {labels}; {final}"),
    ]


def why_unused(against: Compared) -> str:
    """Say which condition a student failed to take its teacher's place, with its numbers."""
    if isinstance(against, NotCompared):
        why = {
            "unmeasured": "no label has two rows to measure it on",
            "shift": "the pool is unlike the labeled rows",
            "class_missing": "a label has no row to learn from",
        }
        return f"No student was fitted: {why[against.refused]}."
    if isinstance(against, ErrorComparison):
        return (
            "The student's mean absolute error on rows it had not seen is not surely smaller than "
            f"its teacher's: {against.new:.6g} after {against.best:.6g}, on {against.n:,} rows "
            f"(p = {against.p_better:.2g})."
        )
    right = f"right alone on {against.better:,}, its teacher alone on {against.worse:,}"
    if isinstance(against, Comparison):
        return f"The student is not surely right on more validation rows than its teacher: {right}."
    losses = f"{against.new:.4f} after {against.best:.4f}"
    if not against.improved:
        return f"The student's log loss on rows it had not seen is not lower: {losses}."
    if against.better < against.worse:
        return (
            f"The student's log loss on rows it had not seen is lower, {losses}, but it is right "
            f"on fewer of them than its teacher: {right}."
        )
    if against.best - against.new <= MARGIN * against.standard_error:
        return (
            f"The student's log loss on rows it had not seen is lower, {losses}, but by no more "
            f"than the standard error of the difference, {against.standard_error:.4f}: it may "
            "be chance."
        )
    return (
        f"The student's log loss on rows it had not seen is lower, {losses}, but that it is right "
        f"more often than its teacher may be chance: {right}."
    )
