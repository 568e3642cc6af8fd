"""What a run has left: reasons that add up, and rows just below the cut."""

from __future__ import annotations

from typing import Any

from spark_pseudolabel.report.document import Report
from spark_pseudolabel.report.leftover import near_cut, reasons, why_left
from tests.report.builders import empty_pool, make_report, with_shift


def _report(report: dict[str, Any]) -> Report:
    return Report.model_validate(report)


def test_reasons_add_up_to_the_rows_without_a_label() -> None:
    report = _report(with_shift(make_report()))
    found = reasons(report)
    assert sum(each.rows for each in found) == report.rows.pool - report.rows.accepted
    assert {each.name for each in found} == {"below the cut", "withheld", "invalid"}
    assert [each.rows for each in found] == sorted((each.rows for each in found), reverse=True)


def test_where_every_row_has_a_label_nothing_is_left() -> None:
    assert why_left(_report(empty_pool(make_report()))) is None
    assert near_cut(_report(make_report(n_rounds=0))) is None


def test_rows_just_below_the_cut_are_counted_by_whole_bins() -> None:
    report = make_report()
    last = report["rounds"][1]  # the third one is not used
    found = near_cut(_report(report))
    assert found is not None
    by_class = {line[0]: line[1:] for line in found.body}
    for name, bins in last["histogram"]["counts"].items():
        left = sum(bins) - last["accepted_by_class"][name]
        near = [sum(bins[90 - n : 90]) for n in (2, 5, 10, 20)]
        assert by_class[name] == [f"{left:,}", "0.900", *(f"{n:,}" for n in near)]


def test_a_class_without_a_cut_has_rows_and_no_distance() -> None:
    report = make_report(n_rounds=1, discard_last=False)
    only = report["rounds"][0]
    only |= {"accepted": 0, "accepted_by_class": {}, "threshold_by_class": {}}
    found = near_cut(_report(report))
    assert found is not None
    assert all(line[2:] == ["-"] * 5 for line in found.body)
