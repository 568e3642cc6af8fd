from __future__ import annotations

import pytest

from spark_pseudolabel.core.selection.plan import Plan
from tests.core.candidates import plan_for, rows_of

FREEMATCH = {"policy": "freematch"}


def confidences(plan: Plan) -> list[float | None]:
    return [None if cut is None else cut.confidence for cut in plan.cuts]


def test_freematch_threshold_is_the_mean_confidence_of_the_largest_class() -> None:
    plan = plan_for(FREEMATCH, rows_of([0.9] * 6, [0.7] * 4, []), 1)
    assert confidences(plan) == pytest.approx([0.82, 0.82 * 2.8 / 5.4, 1 / 3])
