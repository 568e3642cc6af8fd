from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.trust.guard import (
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
        (4, 0, False),  # 1 / 16: may be chance
        (5, 0, True),  # 1 / 32
        (5, 5, False),
        (9, 3, False),  # 299 / 4096
        (10, 3, True),  # 378 / 8192
        (550, 500, False),  # 0.065
        (560, 500, True),  # 0.035
    ],
)
def test_drop_is_what_chance_does_not_explain(worse: int, better: int, dropped: bool) -> None:
    best = np.array([True] * worse + [False] * better + [True, False] * 10)
    new = np.array([False] * worse + [True] * better + [True, False] * 10)
    found = compare(4, best, new)
    assert (found.model, found.worse, found.better) == (4, worse, better)
    assert found.dropped is dropped


def test_no_validation_rows_never_drop() -> None:
    none = np.array([], dtype=bool)
    assert compare(1, none, none) == Comparison(1, 0, 0, dropped=False, usable=False)


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


SIX = (0.6,) * 6 + (0.45,) * 6
"""A teacher that has six of twelve rows right."""


@pytest.mark.parametrize(
    ("new", "usable"),
    [
        ((0.7,) * 6 + (0.55,) * 5 + (0.4,), True),  # five more are right: 1 in 32
        ((0.7,) * 6 + (0.55,) * 4 + (0.4,) * 2, False),  # four more: 1 in 16
        ((0.9,) * 6 + (0.45,) * 6, False),  # only more sure of what it says
        ((0.51,) * 12, False),  # six more are right, its errors are about as large
        ((0.9,) * 6 + (0.55,) * 5 + (1e-6,), False),  # the same, and one mistake that is certain
        ((0.45,) * 6 + (0.6,) * 6, False),  # as many are right
    ],
)
def test_student_takes_the_place_of_its_teacher_only_where_it_is_surely_better(
    new: tuple[float, ...], usable: bool
) -> None:
    codes = np.zeros(12, dtype=np.int32)
    assert compare_scores(_sure_of_class_0(*SIX), _sure_of_class_0(*new), codes).usable is usable


def test_one_row_says_nothing_of_chance() -> None:
    codes = np.zeros(1, dtype=np.int32)
    assert not compare_scores(_sure_of_class_0(0.4), _sure_of_class_0(0.9), codes).usable


@pytest.mark.parametrize(
    ("better", "worse", "usable"), [(0, 0, False), (4, 0, False), (5, 0, True)]
)
def test_student_is_surely_right_on_more_validation_rows(
    better: int, worse: int, usable: bool
) -> None:
    best = np.array([True] * worse + [False] * better, dtype=bool)
    assert compare(1, best, ~best).usable is usable


def test_hard_zeros_of_a_teacher_are_no_merit_of_its_student() -> None:
    # Trees that vote 0 for one right label in ten, a student that says 0.05 there, and errs more.
    teacher = _sure_of_class_0(*[1.0, 0.8, 0.6, 0.8, 1.0, 0.8, 0.8, 0.6, 1.0, 0.0] * 20)
    student = _sure_of_class_0(*[0.9, 0.8, 0.45, 0.8, 0.9, 0.8, 0.8, 0.6, 0.9, 0.05] * 20)
    found = compare_scores(teacher, student, np.zeros(200, dtype=np.int32))
    assert found.improved
    assert found.z < -3
    assert not found.usable


def test_same_model_does_not_improve_on_itself() -> None:
    P = _sure_of_class_0(0.6, 0.5, 0.5, 0.4)
    found = compare_scores(P, P, ALL_0)
    assert (found.z, found.improved, found.usable) == (0.0, False, False)


def test_loss_of_a_certain_mistake_is_bounded() -> None:
    P = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert log_losses(P, np.array([1, 0], dtype=np.int32)).round(4).tolist() == [13.8155, 0.6931]
