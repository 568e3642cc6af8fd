from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.guard import (
    Comparison,
    compare,
    compare_losses,
    log_losses,
)


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


def test_lower_loss_improves_and_says_how_sure_that_is() -> None:
    best, new = np.array([0.5, 0.7, 0.6, 0.8]), np.array([0.4, 0.5, 0.5, 0.6])
    found = compare_losses(best, new)
    assert found.improved
    assert (found.best, found.new) == (pytest.approx(0.65), pytest.approx(0.5))
    assert found.z == pytest.approx(-0.15 / (0.057735 / 2), rel=1e-4)
    assert not compare_losses(new, best).improved


def test_same_model_does_not_improve_on_itself() -> None:
    loss = np.array([0.5])
    assert compare_losses(loss, loss).to_dict() == {
        "n": 1,
        "best": 0.5,
        "new": 0.5,
        "standard_error": 0.0,
        "z": 0.0,
        "improved": False,
    }


def test_loss_of_a_certain_mistake_is_bounded() -> None:
    P = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert log_losses(P, np.array([1, 0], dtype=np.int32)).round(4).tolist() == [13.8155, 0.6931]
