from __future__ import annotations

from tests.report.builders import make_metrics, make_report


def test_few_rows_are_drawn_in_few_bins() -> None:
    from spark_pseudolabel.report.document import Histogram
    from spark_pseudolabel.report.figures import readable_bins

    def bins(n: int, stored: int = 100) -> int:
        return readable_bins(Histogram(bins=stored, counts={"a": [0] * (stored - 1) + [n]}))

    assert [bins(n) for n in (0, 999, 1_000, 10_000)] == [20, 20, 50, 100]
    assert bins(5, stored=30) == 30


def test_an_axis_of_few_rounds_has_a_tick_for_each() -> None:
    from spark_pseudolabel.report.figures import whole_numbers

    assert list(whole_numbers(1, 1).tick_values(0.5, 1.5)) == [1]
    assert list(whole_numbers(0, 3).tick_values(-0.5, 3.5)) == [0, 1, 2, 3]
    assert all(tick == int(tick) for tick in whole_numbers(1, 40).tick_values(0.5, 40.5))


def test_no_axis_goes_beyond_what_there_is() -> None:
    from spark_pseudolabel.report.document import Report
    from spark_pseudolabel.report.figures import draw_metrics

    report = make_report()
    for r in report["rounds"]:
        r["validation"] = make_metrics(1.0)
    accuracy, log_loss = draw_metrics(Report.model_validate(report))
    assert accuracy.axes[0].get_ylim()[1] <= 1
    assert log_loss.axes[0].get_ylim()[0] >= 0


def test_bars_of_one_round_have_one_tick_and_whole_numbers() -> None:
    from spark_pseudolabel.report.document import Report
    from spark_pseudolabel.report.figures import draw_accepted

    panels = draw_accepted(Report.model_validate(make_report(n_rounds=1, discard_last=False)))
    for panel in panels:
        assert list(panel.axes[0].get_xticks()) == [1]
        assert all(tick == int(tick) for tick in panel.axes[0].get_yticks())
    assert len({panel.axes[0].get_ylim() for panel in panels}) == 1
