from __future__ import annotations


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
