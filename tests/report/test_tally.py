"""Numbers and words that text and page share."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from spark_pseudolabel.report import document, tally, words
from spark_pseudolabel.report.document import Report
from tests.report.builders import make_report


def test_accepted_rows_are_those_of_the_used_rounds() -> None:
    report = Report.model_validate(make_report())
    assert sum(tally.accepted_by_class(report).values()) == report.rows.accepted


def test_with_relabel_the_last_used_round_has_all_labels() -> None:
    relabel = {"rounds": {"max": 5, "relabel": True}}
    report = Report.model_validate(make_report(["a", "b"]) | {"config": relabel})
    assert tally.accepted_by_class(report) == report.rounds[1].accepted_by_class


def test_rows_above_a_cut_are_counted_in_whole_bins() -> None:
    report = Report.model_validate(make_report(["a", "b"]))
    first = tally.first_scored(report)
    assert first is report.rounds[0]
    assert tally.confident(first, "a", 0.9) == first.accepted_by_class["a"]
    assert tally.confident(first, "no such class", 0.9) == 0


@pytest.mark.parametrize(
    ("seed", "final", "n", "change"),
    [
        (0.90, 0.91, 100, "+1.0 points, within noise"),
        (0.90, 0.91, 100_000, "+1.0 points"),
        (0.91, 0.90, 100_000, "-1.0 points"),
        (0.90, 0.90, 100_000, "+0.0 points, within noise"),
    ],
)
def test_a_gain_says_whether_it_is_noise(seed: float, final: float, n: int, change: str) -> None:
    assert words.Comparison("test", n, seed, final).change == change


@pytest.mark.parametrize("module", [document, tally, words], ids=lambda module: module.__name__)
def test_examples_run(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
