from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from spark_pseudolabel.columns import CODE, SCORE
from spark_pseudolabel.core.decide import accepted_mask
from spark_pseudolabel.core.rules import Cut, Plan

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
        }
    )
    plan = Plan({}, cuts)
    expected = [
        plan.accepts(row[CODE], row[SCORE], (row["file"], row["row"])) for row in scored.to_pylist()
    ]
    assert accepted_mask(plan, scored, ("file", "row")).tolist() == expected


def test_an_invalid_row_is_never_accepted() -> None:
    scored = pa.table(
        {"id": [1], CODE: pa.array([None], pa.int32()), SCORE: pa.array([None], pa.float64())}
    )
    plan = Plan({}, (Cut(0.0, "all"), Cut(0.0, "all")))
    assert accepted_mask(plan, scored, ("id",)).tolist() == [False]
