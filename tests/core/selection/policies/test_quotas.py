from __future__ import annotations

from typing import Any

import numpy as np

from tests.core.candidates import plan_for, rows_of

QUOTAS = {
    "policy": "quotas",
    "step": 0.2,
    "by": "labeled",
    "labeled": [80, 20, 5],
    "min_per_class": None,
    "max_per_class": None,
}


def test_quotas_follow_the_labeled_rows_within_caps_and_floors() -> None:
    rows = rows_of(*[list(np.linspace(0.5, 0.9, 35).round(6))] * 3)

    def accepted(**settings: Any) -> list[int]:
        found = [code for code, _ in rows.accepted(plan_for(QUOTAS | settings, rows, 1))]
        return [found.count(code) for code in range(3)]

    # A fifth of 105 rows is 21: 16, 4 and 1 by the labeled rows.
    assert accepted() == [16, 4, 1]
    assert accepted(min_per_class=3) == [16, 4, 3]
    assert accepted(max_per_class=10) == [10, 4, 1]
    assert accepted(by="uniform") == [7, 7, 7]


def test_quotas_grow_with_the_rounds() -> None:
    rows = rows_of([0.9] * 10, [0.8] * 10)
    rule = QUOTAS | {"labeled": [1, 1]}
    assert [len(rows.accepted(plan_for(rule, rows, r))) for r in (1, 3, 7)] == [4, 12, 20]
