from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.guard import Comparison, compare


@pytest.mark.parametrize(
    ("worse", "better", "dropped"),
    [
        (0, 0, False),
        (0, 5, False),
        (2, 0, False),  # 2 / sqrt(2) = 1.41: may be chance
        (3, 0, True),  # 3 / sqrt(3) = 1.73
        (5, 5, False),
        (8, 3, False),  # 5 / sqrt(11) = 1.51
        (9, 3, True),  # 6 / sqrt(12) = 1.73
        (550, 500, False),  # 1.54
        (560, 500, True),  # 1.84
    ],
)
def test_drop_is_what_chance_does_not_explain(worse: int, better: int, dropped: bool) -> None:
    best = np.array([True] * worse + [False] * better + [True, False] * 10)
    new = np.array([False] * worse + [True] * better + [True, False] * 10)
    assert compare(4, best, new) == Comparison(4, worse, better, dropped)


def test_no_validation_rows_never_drop() -> None:
    none = np.array([], dtype=bool)
    assert compare(1, none, none).to_dict() == {
        "model": 1,
        "worse": 0,
        "better": 0,
        "dropped": False,
    }
