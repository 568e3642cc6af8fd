from __future__ import annotations

from typing import Any

import pytest

from tests.core.candidates import Rows, plan_for


def percentile(step: float) -> dict[str, Any]:
    return {"policy": "percentile", "step": step}


@pytest.mark.parametrize(
    ("step", "n", "by_round"),
    [
        (0.2, 10, [2, 4, 6, 8, 10, 10]),
        (0.3, 10, [3, 6, 9, 10]),
        (0.25, 7, [2, 4, 6, 7]),
        (0.2, 3, [1, 2, 2, 3, 3]),
        (1.0, 4, [4, 4]),
        # 0.07 * 100 and 0.55 * 100 are a little more than 7 and 55 as doubles.
        (0.07, 100, [7, 14, 21, 28]),
        (0.55, 100, [55, 100]),
        (1 / 3, 3, [1, 2, 3]),
    ],
)
def test_percentile_takes_a_growing_share(step: float, n: int, by_round: list[int]) -> None:
    rows = Rows.of(*[(0, (i + 1) / 200, i) for i in range(n)])
    found = [
        len(rows.accepted(plan_for(percentile(step), rows, round_)))
        for round_ in range(1, len(by_round) + 1)
    ]
    assert found == by_round
