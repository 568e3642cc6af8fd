from __future__ import annotations

import pytest

from spark_pseudolabel.core.selection.plan import Cut, Plan
from tests.core.candidates import plan_for, rows_of

FLEXMATCH = {"policy": "flexmatch", "threshold": 0.95}


def confidences(plan: Plan) -> list[float | None]:
    return [None if cut is None else cut.confidence for cut in plan.cuts]


def test_flexmatch_lowers_the_threshold_of_classes_that_few_rows_reach() -> None:
    # sigma = 8 and 4 of 12 rows, none below: beta = 1 and 1/2, M = 1 and 1/3.
    plan = plan_for(FLEXMATCH, rows_of([0.99] * 8, [0.99] * 4), 1)
    assert plan.cuts == (Cut(0.95, "all"), Cut(0.5, "all"))


def test_flexmatch_warms_up_while_most_rows_are_unsure() -> None:
    # sigma = 2, below the threshold 8: beta = 1/4, M = 1/7.
    plan = plan_for(FLEXMATCH | {"threshold": 0.7}, rows_of([0.9] * 2 + [0.6] * 8, [], [], []), 1)
    assert confidences(plan)[0] == 0.25
    twice = plan_for(FLEXMATCH, rows_of([0.99] * 8, [0.99] * 6), 1)
    assert confidences(twice) == pytest.approx([0.95, 0.95 * 0.75 / 1.25])


def test_threshold_itself_counts_as_reached() -> None:
    plan = plan_for(FLEXMATCH, rows_of([0.95] * 4, [0.949999] * 4), 1)
    assert confidences(plan) == [0.95, 0.5]
