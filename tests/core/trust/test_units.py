from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spark_pseudolabel.core.trust.units import (
    GroupSizes,
    copies_among,
    equal_rows,
    first_of,
    units_of,
)


def test_equal_values_are_equal_however_they_are_missing_or_signed() -> None:
    rows = pd.DataFrame(
        {
            "a": [0.0, -0.0, np.nan, -np.nan, 1.0, 0.0],
            "b": pd.Series(["x", "x", None, np.nan, "x", "y"], dtype=object),
        }
    )
    assert equal_rows(rows).tolist() == [0, 0, 1, 1, 2, 3]


def test_columns_that_swap_their_values_are_not_equal() -> None:
    assert equal_rows(pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})).tolist() == [0, 1]


def test_copies_are_counted_with_an_example() -> None:
    found = copies_among(np.array([3, 1, 3, 0, 1, 3, 2]))
    assert found is not None
    assert (found.rows, found.groups, found.example) == (5, 2, (0, 2, 5))
    assert copies_among(np.arange(4)) is None


def test_copies_join_the_groups_they_are_in() -> None:
    units = units_of(np.array([0, 1, 0, 2, 3]), np.array([0, 0, 1, 1, 2]))
    assert units.tolist() == [0, 0, 0, 0, 1]


def test_row_with_the_lowest_hash_speaks_for_its_unit() -> None:
    assert first_of(np.array([7, 2, 7, 2]), np.array([3, 9, -4, 8])).tolist() == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("seed", range(3))
def test_any_rows_of_a_pool_are_of_as_many_groups_at_least(seed: int) -> None:
    chance = np.random.default_rng(seed)
    sizes = chance.integers(1, 20, 50)
    pool = GroupSizes({int(n): int((sizes == n).sum()) for n in np.unique(sizes)})
    assert (pool.rows, pool.largest, pool.n_groups) == (sizes.sum(), sizes.max(), 50)
    groups = np.repeat(np.arange(50), sizes)
    for rows in (1, 30, 200, int(sizes.sum())):
        some = np.bincount(chance.choice(groups, rows, replace=False))
        assert pool.effective(rows) <= rows**2 / (some**2).sum() + 1e-9
    assert pool.effective(pool.rows) == int(pool.rows**2 / (sizes**2).sum())


def test_groups_of_other_sizes_are_noticed() -> None:
    chance = np.random.default_rng(0)
    pool = GroupSizes(dict.fromkeys(range(1, 11), 100))
    assert not any(pool.unlike(chance.integers(1, 11, 60)) for _ in range(50))
    assert pool.unlike(np.ones(60, dtype=int))
