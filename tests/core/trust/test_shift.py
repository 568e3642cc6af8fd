from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.trust.shift import (
    prior_shift,
    psi,
    representativeness,
    unseen,
)
from spark_pseudolabel.core.trust.support import find_support, outside_by_chance
from tests.core.mixed_rows import FEATURES, frame

NUMBERS = (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"))


def hashes(n: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(n).astype(np.int64)


@pytest.mark.parametrize(("shift", "shifted"), [(0.0, False), (3.0, True)])
def test_gate_fires_where_the_pool_lies_elsewhere(shift: float, shifted: bool) -> None:
    found = representativeness(frame(150, 0), frame(300, 1, shift), FEATURES, hashes(450), 0)
    assert found.shifted is shifted
    assert (found.psi["a"] > 0.25) is shifted
    assert found.unseen == {"job": 0.0}


@pytest.mark.parametrize("n", [4, 10, 30])
def test_few_labeled_rows_raise_no_alarm_by_themselves(n: int) -> None:
    alarms, far = 0, 0
    for seed in range(40):
        rows = np.random.default_rng(seed).standard_cauchy((n + 200, 2))
        both = pd.DataFrame(rows, columns=["a", "b"])
        keys = np.random.default_rng(seed).permutation(n + 200).astype(np.int64)
        labeled, pool = both[:n], both[n:].reset_index(drop=True)
        support, _ = find_support(labeled, NUMBERS, keys[:n], 0)
        if (~support.holds(pool)).mean() > 0.1:
            far += 1
            alarms += not outside_by_chance(labeled, pool, NUMBERS, keys, seed)
    assert alarms <= 3  # 1 % of 40; more than 3 come once in 1,000 times
    assert far > 5 or n == 30


@pytest.mark.parametrize("n", [8, 30, 300])
def test_few_labeled_rows_are_enough_where_the_whole_pool_lies_elsewhere(n: int) -> None:
    labeled, pool = frame(n, 0), frame(300, 1, 8.0)
    assert not outside_by_chance(labeled, pool, FEATURES, hashes(n + 300), 0)


def test_rows_that_come_in_twos_are_closer_together_than_chance_has_it() -> None:
    labeled = pd.concat([frame(60, 0)] * 2, ignore_index=True)
    found = representativeness(labeled, frame(300, 1), FEATURES, hashes(420), 0)
    assert found.outside > 0.9
    assert found.shifted


def test_auc_of_four_rows_is_no_alarm_and_of_many_is_one_near_a_half() -> None:
    few = representativeness(frame(4, 0), frame(300, 1), FEATURES, hashes(304), 0)
    many = representativeness(frame(400, 0), frame(300, 1), FEATURES, hashes(700), 0)
    assert few.auc_limit == 1
    assert many.auc_limit < 0.62


def test_two_rows_tell_nothing() -> None:
    found = representativeness(frame(2, 0), frame(1, 1, 9.0), FEATURES, hashes(3), 0)
    assert found.auc == 0.5


def test_unseen_categories_are_counted_and_missing_ones_are_none() -> None:
    assert unseen(pd.Series(["x", "y", None]), pd.Series(["x", "z", None, "z"])) == 0.5


def test_same_column_is_stable_and_another_is_not() -> None:
    column, other = frame(2000, 0)["a"], frame(2000, 1)["a"]
    assert psi(column, other) < 0.02
    assert psi(column, other + 2) > 0.25
    assert psi(pd.Series(["x"] * 50 + [None] * 50), pd.Series(["x"] * 90 + [None] * 10)) > 0.25


@pytest.mark.parametrize(
    ("given", "labeled", "pool", "alarm"),
    [
        ([250, 250], [240, 260], [7600, 2400], True),  # class-balanced, unbalanced pool
        ([50, 50, 50], [60, 45, 45], [700, 650, 650], False),  # class-balanced, balanced pool
        ([380, 120], [390, 110], [7600, 2400], False),  # drawn at random
        ([50, 50], [52, 48], [5050, 4950], False),  # even by nature
        ([0, 0], [0, 0], [0, 0], False),
    ],
)
def test_labels_drawn_per_class_from_an_unbalanced_pool_are_noticed(
    given: list[int], labeled: list[int], pool: list[int], alarm: bool
) -> None:
    found = prior_shift(np.array(given), np.array(labeled), np.array(pool))
    assert found.drawn_per_class is alarm


def test_prior_that_the_pool_does_not_have_is_noticed() -> None:
    # Mixed nine to one as the prior says; predictions on the pool are near one to one.
    given, labeled = np.array([225, 25]), np.array([215, 35])
    assert prior_shift(given, labeled, np.array([1050, 950]), mixed=True).drawn_per_class
    assert not prior_shift(given, labeled, np.array([1720, 280]), mixed=True).drawn_per_class
    doubtful = np.array([1570, 430])  # beyond chance, by less than labels drawn at random need
    assert prior_shift(given, labeled, doubtful, mixed=True).drawn_per_class
    assert not prior_shift(given, labeled, doubtful).drawn_per_class


def test_natural_samples_raise_few_false_alarms() -> None:
    chance = np.random.default_rng(0)
    alarms = 0
    for _ in range(500):
        labeled = np.bincount(chance.choice(2, 500, p=[0.76, 0.24]), minlength=2)
        pool = np.bincount(chance.choice(2, 8000, p=[0.76, 0.24]), minlength=2)
        alarms += prior_shift(labeled, labeled, pool).drawn_per_class
    assert alarms <= 2


def test_a_column_without_values_on_one_side_is_compared_by_what_is_missing() -> None:
    full, empty = pd.Series(np.arange(100.0)), pd.Series(np.full(100, np.nan))
    assert psi(empty, empty) == 0.0
    assert psi(empty, full) > 1.0
    assert psi(full, empty) > 1.0
