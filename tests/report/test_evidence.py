"""Other cuts and confused classes: every number follows from the document."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from spark_pseudolabel.report import evidence
from spark_pseudolabel.report.document import Report
from tests.report.builders import make_report, with_mistakes


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (8, 10), (415, 600), (1, 1)])
def test_the_interval_is_scipys(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert evidence.wilson(right, n) == pytest.approx((expected.low, expected.high))


def test_a_cut_tells_its_rows_and_how_right_they_would_be() -> None:
    report = make_report()
    found = evidence.other_cuts(Report.model_validate(with_mistakes(report)))
    assert found is not None
    assert found.head[3:] == ["tested", "right", "precision", "95% interval"]
    counts = report["rounds"][0]["histogram"]["counts"].values()
    at_90 = next(line for line in found.body if line[0] == "0.9")
    assert at_90[1] == f"{sum(sum(bins[90:]) for bins in counts):,}"
    assert at_90[3:6] == ["300", "290", "96.7%"]
    assert at_90[6] == "94.0% to 98.2%"
    assert [line[3:5] for line in found.body if line[0] == "0.99"] == [["0", "0"]]


def test_without_rows_to_test_on_a_cut_tells_its_rows_alone() -> None:
    found = evidence.other_cuts(Report.model_validate(make_report()))
    assert found is not None
    assert found.head == ["cut", "rows at or above it", "of the pool"]
    assert evidence.tested_on(Report.model_validate(make_report())) == ""
    assert evidence.other_cuts(Report.model_validate(make_report(n_rounds=0))) is None


def test_confused_classes_come_with_their_share() -> None:
    report = Report.model_validate(with_mistakes(make_report()))
    found = evidence.confused(report)
    assert found is not None
    assert found.body == [
        ["<=50K", ">50K", "30", "10.0%", "75.0%"],
        [">50K", "<=50K", "10", "5.0%", "25.0%"],
    ]
    assert (
        evidence.confused_on(report) == "Seed model (model-0001) on 500 labeled rows, out of fold"
    )
    assert evidence.pairs_left_out(report) == 0


def test_many_confused_classes_are_cut_short_and_counted() -> None:
    classes = list(range(8))
    pairs = [(a, b) for a in classes for b in classes if a != b][:50]
    report = with_mistakes(make_report(classes))
    confused = [{"given": a, "predicted": b, "rows": 2} for a, b in pairs]
    report["seed"]["mistakes"] |= {"confused": confused, "by_class": dict.fromkeys(classes, 20)}
    data = Report.model_validate(report)
    found = evidence.confused(data)
    assert found is not None
    assert len(found.body) + evidence.pairs_left_out(data) == 50
