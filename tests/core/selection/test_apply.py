from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import CODE, INVALID, SCORE
from spark_pseudolabel.core.selection.apply import accepted_mask, candidate_codes
from spark_pseudolabel.core.selection.plan import Cut, Plan

PLANS = {
    "nothing": (None, None, None),
    "above": (Cut(0.7), Cut(0.7), Cut(0.7)),
    "all": (Cut(0.0, "all"), Cut(0.0, "all"), Cut(0.0, "all")),
    "by class": (Cut(0.9), None, Cut(0.5, "all")),
    "ties by key": (Cut(0.7, ("b", 3)), Cut(0.7, ("b", 3)), Cut(0.7, ("b", 3))),
}


@pytest.mark.parametrize("cuts", PLANS.values(), ids=PLANS)
def test_decides_as_the_plan_does_row_by_row(cuts: tuple[Cut | None, ...]) -> None:
    chance = np.random.default_rng(0)
    n = 500
    scored = pa.table(
        {
            "file": chance.choice(["a", "b", "c"], n),
            "row": chance.integers(0, 6, n),
            CODE: pa.array(chance.integers(0, 3, n).astype(np.int32)),
            SCORE: np.round(chance.uniform(0.5, 1.0, n), 1),
            INVALID: pa.nulls(n, pa.string()),
        }
    )
    plan = Plan({}, cuts)
    expected = [
        plan.accepts(row[CODE], row[SCORE], (row["file"], row["row"])) for row in scored.to_pylist()
    ]
    assert accepted_mask(plan, scored, ("file", "row")).tolist() == expected


def test_a_row_with_a_reason_is_never_accepted() -> None:
    scored = pa.table(
        {
            "id": [1, 2, 3],
            CODE: pa.array([None, 0, 1], pa.int32()),
            SCORE: pa.array([None, 1.0, 1.0], pa.float64()),
            INVALID: ["invalid", "withheld", None],
        }
    )
    plan = Plan({}, (Cut(0.0, "all"), Cut(0.0, "all")))
    assert accepted_mask(plan, scored, ("id",)).tolist() == [False, False, True]
    assert candidate_codes(scored).tolist() == [-1, -1, 1]
