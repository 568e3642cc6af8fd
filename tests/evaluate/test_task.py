from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.evaluate.data import load
from spark_pseudolabel.evaluate.task import SHIFTS, draw


def test_same_seed_deals_out_the_same_rows() -> None:
    data = load("wine", None)
    first, again, other = (draw(data, 20, seed, n_pool=50, n_test=50) for seed in (0, 0, 1))
    assert first.pool.equals(again.pool)
    assert not first.pool.equals(other.pool)


def test_rows_are_dealt_out_once() -> None:
    task = draw(load("digits", None), 100, 0, n_pool=500, n_test=500)
    rows = [tuple(row) for part in (task.labeled.X, task.pool, task.test) for row in part.values]
    assert len(set(rows)) == len(rows) == 1100


def test_random_labels_hold_every_class_twice() -> None:
    task = draw(load("imbalance", None), 6, 3, n_pool=100, n_test=100)
    assert len(task.labeled.codes) == 6
    assert np.bincount(task.labeled.codes).min() >= 2


def test_labels_drawn_per_class_are_even() -> None:
    task = draw(load("imbalance", None), 30, 0, per_class=True, n_pool=100, n_test=100)
    assert np.bincount(task.labeled.codes).tolist() == [30, 30]


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_changes_the_pool_alone(shift: str) -> None:
    task = draw(load("wine", None), 20, 0, n_pool=50, n_test=50)
    changed = SHIFTS[shift](task)
    assert not changed.pool.equals(task.pool)
    assert changed.test is task.test
    assert changed.labeled is task.labeled


def test_set_that_needs_files_says_so() -> None:
    with pytest.raises(ValueError, match="--data"):
        load("adult", None)
    with pytest.raises(ValueError, match="must be one of"):
        load("nothing", None)
