"""What a person reads in the terminal."""

from __future__ import annotations

import pytest

from spark_pseudolabel.report.text import render_text
from tests.report.builders import empty_pool, make_report, without_measures

REPORTS = {
    "two classes": make_report(),
    "26 classes": make_report([chr(ord("A") + i) for i in range(26)]),
    "int labels": make_report([0, 1, 2]),
    "bool labels": make_report([False, True]),
    "hostile names": make_report(["<script>", "\x1b[31mred", "a\nb", "x" * 300]),
    "no rounds": make_report(n_rounds=0),
    "many rounds": make_report(n_rounds=60),
    "empty pool": empty_pool(make_report()),
    "nothing measured": without_measures(make_report()),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_lines_are_short_and_hold_no_control_characters(report):
    lines = render_text(report).splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line.isascii() and line.isprintable() for line in lines)
