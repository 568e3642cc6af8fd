from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.guard import (
    Comparison,
    compare,
    compare_scores,
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
        "usable": True,
    }


def _sure_of_class_0(*p: float) -> np.ndarray:
    return np.column_stack([p, 1 - np.array(p)])


ALL_0 = np.zeros(4, dtype=np.int32)


def test_lower_loss_improves_and_says_how_sure_that_is() -> None:
    best, new = _sure_of_class_0(0.6, 0.5, 0.5, 0.4), _sure_of_class_0(0.7, 0.6, 0.6, 0.6)
    found = compare_scores(best, new, ALL_0)
    assert found.improved
    assert found.best == pytest.approx(-np.log([0.6, 0.5, 0.5, 0.4]).mean())
    assert found.new == pytest.approx(-np.log([0.7, 0.6, 0.6, 0.6]).mean())
    assert (found.worse, found.better) == (0, 1)
    assert found.z == pytest.approx((found.new - found.best) / found.standard_error)
    assert not compare_scores(new, best, ALL_0).improved


@pytest.mark.parametrize(
    ("best", "new", "usable"),
    [
        ((0.6, 0.6, 0.6, 0.6), (0.7, 0.7, 0.7, 0.8), True),
        ((0.6, 0.6, 0.6, 0.6), (0.7, 0.7, 0.7, 0.51), False),  # lower by 0.95 standard errors
        ((0.6, 0.6, 0.6, 0.6), (0.9, 0.9, 0.9, 0.49), False),  # surely lower, one more is wrong
        ((0.6, 0.6, 0.6, 0.49), (0.9, 0.9, 0.49, 0.9), True),  # as many are right
        ((0.6, 0.6, 0.6, 0.6), (0.5, 0.5, 0.5, 0.5), False),
        ((0.6,), (0.9,), False),  # one row says nothing of chance
    ],
)
def test_student_takes_the_place_of_its_teacher_only_where_it_is_surely_better(
    best: tuple[float, ...], new: tuple[float, ...], usable: bool
) -> None:
    codes = np.zeros(len(best), dtype=np.int32)
    assert compare_scores(_sure_of_class_0(*best), _sure_of_class_0(*new), codes).usable is usable


def test_same_model_does_not_improve_on_itself() -> None:
    P = _sure_of_class_0(0.6, 0.5, 0.5, 0.4)
    found = compare_scores(P, P, ALL_0)
    assert (found.z, found.improved, found.usable) == (0.0, False, False)


def test_loss_of_a_certain_mistake_is_bounded() -> None:
    P = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert log_losses(P, np.array([1, 0], dtype=np.int32)).round(4).tolist() == [13.8155, 0.6931]
