"""What speaks against published labels, from the parts of a report."""

from __future__ import annotations

import pytest

from spark_pseudolabel.job.outcome import Measured, outcome_warnings
from spark_pseudolabel.report.document import (
    Certificate,
    ClassResult,
    ClassShares,
    LabelCheck,
    Metrics,
    ModelResult,
    TestMetrics,
)


def shares(*, collapsed: bool) -> list[ClassShares]:
    no, yes = (0.887, 0.999, 0.99906), (0.113, 0.001, 0.00094)
    return [
        ClassShares(
            class_=label,
            labeled=labeled,
            predicted=predicted,
            published=published,
            collapsed=collapsed and label == "yes",
        )
        for label, (labeled, predicted, published) in (("no", no), ("yes", yes))
    ]


def metrics(n: int, accuracy: float, majority: float) -> Metrics:
    return Metrics(
        n=n,
        accuracy=accuracy,
        balanced_accuracy=None,
        f1_macro=None,
        log_loss=None,
        majority=majority,
    )


SHARES, EVEN = shares(collapsed=True), shares(collapsed=False)
USEFUL, USELESS = metrics(400, 0.95, 0.8), metrics(400, 0.884, 0.883)


def result(upper: float = 0.9, published: int = 35) -> ClassResult:
    return ClassResult(class_="yes", n=40, wrong=9, lower=0.6, upper=upper, published=published)


def certified(*by_class: ClassResult) -> Certificate:
    return Certificate(
        claimed=True,
        precision=0.95,
        certainty=0.95,
        per="all",
        source="out_of_fold",
        n_calibration=400,
        n_pool=1000,
        coverage=0.5,
        claims=[],
        refused=None,
        by_class=list(by_class),
    )


def final(oof: Metrics = USEFUL, test: TestMetrics | None = None) -> ModelResult:
    return ModelResult(model="model-0002", oof=oof, test=test)


def checked(n: int, correct: int) -> TestMetrics:
    labels = LabelCheck(n=n, correct=correct, precision=correct / n)
    return TestMetrics(**dict(USEFUL), labels=labels)


@pytest.mark.parametrize(
    ("measured", "codes"),
    [
        (Measured(final(), certified(), EVEN), []),
        (Measured(final(), None, SHARES), ["class_collapsed"]),
        (Measured(final(oof=USELESS), None, EVEN), ["hardly_better"]),
        # The strongest evidence counts: rows that no model and no choice has seen.
        (Measured(final(oof=USELESS, test=checked(100, 95)), None, EVEN), []),
        (Measured(final(), certified(result()), EVEN), ["class_below_precision"]),
        (Measured(final(), certified(result(upper=0.96)), EVEN), []),
        (Measured(final(), certified(result(published=0)), EVEN), []),
        (
            Measured(final(test=checked(1000, 807)), certified(), EVEN),
            ["certificate_contradicted"],
        ),
        (Measured(final(test=checked(100, 92)), certified(), EVEN), []),  # as chance may have it
        (Measured(final(test=checked(1000, 807)), None, EVEN), []),
        (Measured(final(oof=USELESS), None, []), []),  # nothing is published
    ],
)
def test_what_is_measured_is_held_against_the_labels(measured: Measured, codes: list[str]) -> None:
    found = outcome_warnings(measured)
    assert [one.code for one in found] == codes
    assert all(one.message.endswith((".", "it.")) for one in found)


def test_collapsed_class_is_named_with_its_shares() -> None:
    (warning,) = outcome_warnings(Measured(final(), certified(), SHARES))
    assert warning.as_json()["classes"] == ["yes"]
    assert "'yes' is 0.09% of the published and 0.10% of the predicted" in warning.message
    assert "11.3% of the labeled rows" in warning.message
