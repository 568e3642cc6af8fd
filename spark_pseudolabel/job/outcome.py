"""What speaks against the published labels, whatever was promised: compared at a run's end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.core.trust.collapse import collapsed, hardly_better
from spark_pseudolabel.core.trust.finite_population import p_value
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.report.document import (
    Certificate,
    ClassShares,
    ModelResult,
    Notice,
    NumberMetrics,
)
from spark_pseudolabel.wording import agreeing, counted

_NAMED = 5
_CHANCE = 0.05
_HARDLY = 0.05
"""Share of the variance that is as good as none."""


@dataclass(frozen=True)
class Measured:
    """Parts of a report that are held against each other.

    Parameters
    ----------
    final
        The final model, measured.
    certificate
        What is certified, or None.
    shares
        Classes among given, predicted and published labels.
    """

    final: ModelResult
    certificate: Certificate | None
    shares: Sequence[ClassShares]


def class_shares(models: Models, end: Finish) -> list[ClassShares]:
    """Compare classes among given, predicted and published labels; empty without published ones."""
    store, setting = models.store, models.setting
    rounds = setting.published(store.rounds, end.best_round)
    if setting.inputs.numbers is not None:
        return []
    published = np.sum([manifest.counts.accepted_by_code for manifest in rounds], axis=0)
    if not rounds or not published.sum():
        return []
    labeled = np.array(setting.labeled_by_class)
    if not labeled.sum() and models.prior is None:
        return []
    given = labeled / labeled.sum() if models.prior is None else models.prior
    scored = store.rounds[0].histogram.by_class
    low = collapsed(given.tolist(), published.tolist())
    return [
        ClassShares(
            class_=label,
            labeled=float(min(1.0, given[code])),
            predicted=float(scored[code] / max(1, scored.sum())),
            published=float(published[code] / published.sum()),
            collapsed=code in low,
        )
        for code, label in enumerate(setting.inputs.classes)
    ]


def outcome_warnings(measured: Measured) -> list[Notice]:
    """Return what deserves a look in the labels themselves."""
    warnings = [*_collapsed(measured.shares), *_hardly_better(measured)]
    if measured.certificate is not None and measured.certificate.claimed:
        warnings += _below(measured.certificate)
        warnings += _contradicted(measured.final, measured.certificate)
    return warnings


def _collapsed(shares: Sequence[ClassShares]) -> list[Notice]:
    # One without a single published row has its own warning.
    low = [share for share in shares if share.collapsed and share.published]
    if not low:
        return []
    named = "; ".join(
        f"{share.class_!r} is {share.published:.2%} of the published and {share.predicted:.2%} "
        f"of the predicted labels, and {share.labeled:.1%} of the labeled rows"
        for share in low[:_NAMED]
    )
    return [
        Notice.about(
            "class_collapsed",
            f"Rows of some classes are hardly published: {named}. Many of them are "
            "labeled otherwise or left out: a high precision over all says nothing of them. "
            "selection.per: class promises it of each class.",
            classes=[share.class_ for share in low],
        )
    ]


def _hardly_better(measured: Measured) -> list[Notice]:
    final = measured.final
    for metrics, rows in (
        (final.test, "test rows"),
        (final.validation, "validation rows"),
        (final.oof, "labeled rows"),
    ):
        if metrics is None or not metrics.n:
            continue
        if metrics.numbers is not None:
            return _no_better_than_mean(metrics.numbers, metrics.n, rows)
        accuracy, majority = metrics.accuracy, metrics.majority
        if not measured.shares or not hardly_better(accuracy, majority):
            return []
        return [
            Notice.about(
                "hardly_better",
                f"The final model is hardly better than always saying the most common "
                f"label: it is right on {accuracy:.1%} of {metrics.n:,} {rows}, and that label "
                f"alone on {majority:.1%}.",
            )
        ]
    return []


def _no_better_than_mean(numbers: NumberMetrics, n: int, rows: str) -> list[Notice]:
    if numbers.r2 is None or numbers.r2 > _HARDLY:
        return []
    return [
        Notice.about(
            "hardly_better",
            f"The final model is hardly better than always saying the mean of the labels: on "
            f"{n:,} {rows} it explains {max(numbers.r2, 0.0):.1%} of their variance.",
        )
    ]


def _below(certificate: Certificate) -> list[Notice]:
    """Warn of classes whose precision is below what is promised over all of them."""
    low = [
        result
        for result in certificate.by_class
        if result.published and result.upper < certificate.precision
    ]
    if not low:
        return []
    named = "; ".join(
        f"{result.class_!r} between {result.lower:.1%} and {result.upper:.1%} ({result.wrong:,} of "
        f"{counted(result.n, 'tested row')} wrong, {result.published:,} published)"
        for result in low[:_NAMED]
    )
    return [
        Notice.about(
            "class_below_precision",
            f"The promise of {certificate.precision:g} is one over all labels, and "
            f"these classes are below it: {named}. selection.per: class promises it of each.",
            classes=[result.class_ for result in low],
        )
    ]


def _contradicted(final: ModelResult, certificate: Certificate) -> list[Notice]:
    """Warn where test rows say that too many published labels are wrong, beyond chance."""
    checked = None if final.test is None else final.test.labels
    if checked is None:
        return []
    wrong = checked.n - checked.correct
    so_many = 1.0 - p_value(wrong - 1, checked.n, 1.0 - certificate.precision)
    if so_many > _CHANCE:
        return []
    return [
        Notice.about(
            "certificate_contradicted",
            f"A precision of {certificate.precision:g} is certified, and of "
            f"{counted(checked.n, 'published label')} that the test table can check {wrong:,} "
            f"{agreeing(wrong, 'is', 'are')} wrong "
            f"({checked.precision:.2%} right). Do not rely on the certificate: its labeled rows "
            "are no random sample of the pool, or the test table is not of the same kind.",
        )
    ]
