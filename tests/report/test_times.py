"""Where a run's time went."""

from __future__ import annotations

import pytest

from spark_pseudolabel.report.document import Report
from spark_pseudolabel.report.times import by_round, in_round, outside_rounds
from tests.report.builders import make_report


def test_stages_and_what_is_outside_of_them_are_the_whole_time() -> None:
    report = Report.model_validate(make_report())
    inside = sum(map(in_round, report.rounds))
    assert inside + outside_rounds(report) == pytest.approx(report.elapsed_s)
    found = by_round(report)
    assert found is not None
    assert found[0].body[0] == (
        ["1", "3.21 s", "1.90 s", "0.41 s", "0.28 s", "5.80 s", "20,000", "10,526"]
    )


def test_a_run_that_went_on_took_no_negative_time() -> None:
    assert outside_rounds(Report.model_validate(make_report() | {"elapsed_s": 1.0})) == 0


def test_of_many_rounds_some_are_left_out() -> None:
    found = by_round(Report.model_validate(make_report(n_rounds=60)))
    assert found is not None
    table, missing = found
    assert (missing, len(table.body)) == (20, 41)
    assert by_round(Report.model_validate(make_report(n_rounds=0))) is None
