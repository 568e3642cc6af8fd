from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.validation_split import group_validation_mask, validation_mask


def split(n_by_class: list[int], fraction: float) -> list[int]:
    """Split shuffled rows and return the validation rows per class."""
    codes = np.repeat(np.arange(len(n_by_class)), n_by_class).astype(np.int32)
    chance = np.random.default_rng(0)
    codes = chance.permutation(codes)
    mask = validation_mask(codes, chance.permutation(len(codes)), fraction)
    return np.bincount(codes[mask], minlength=len(n_by_class)).tolist()


@pytest.mark.parametrize(
    ("n_by_class", "fraction", "expected"),
    [
        ([10, 20], 0.2, [2, 4]),
        ([7, 8], 0.2, [1, 2]),  # 1.4 and 1.6
        ([2, 3], 0.2, [1, 1]),  # at least 1 where there are 2
        ([1, 100], 0.2, [0, 20]),  # a single row is trained on
        ([2, 2], 0.9, [1, 1]),  # at least 1 to train on
        ([10, 10], 0.99, [9, 9]),
        ([10, 10], 0.0, [0, 0]),
        ([100, 5], 0.01, [1, 1]),
    ],
)
def test_rows_per_class(n_by_class: list[int], fraction: float, expected: list[int]) -> None:
    assert split(n_by_class, fraction) == expected


def test_rows_with_the_lowest_hash_are_taken() -> None:
    codes = np.array([0, 1, 0, 1, 0, 1, 0, 1], dtype=np.int32)
    hashes = np.array([4, -3, 1, 8, -9, 5, 7, 2])
    assert validation_mask(codes, hashes, 0.5).tolist() == [
        False, True, True, False, True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_split_follows_the_rows_in_any_order(seed: int) -> None:
    chance = np.random.default_rng(seed)
    codes = chance.integers(0, 3, 60).astype(np.int32)
    hashes = chance.permutation(60)
    order = chance.permutation(60)
    mask = validation_mask(codes, hashes, 0.3)
    assert (validation_mask(codes[order], hashes[order], 0.3) == mask[order]).all()


def random_groups(seed: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    chance = np.random.default_rng(seed)
    index = chance.integers(0, 30, 200)
    hashes = chance.permutation(30)[index]
    return chance.integers(0, 2, 200).astype(np.int32), [f"g{i}" for i in index], hashes


@pytest.mark.parametrize("seed", range(10))
def test_groups_are_never_split(seed: int) -> None:
    codes, groups, hashes = random_groups(seed)
    mask = group_validation_mask(codes, groups, hashes, 0.2)
    inside = {group for group, taken in zip(groups, mask, strict=True) if taken}
    outside = {group for group, taken in zip(groups, mask, strict=True) if not taken}
    assert inside
    assert not inside & outside


@pytest.mark.parametrize("seed", range(10))
def test_groups_come_near_the_share_of_each_class(seed: int) -> None:
    codes, groups, hashes = random_groups(seed)
    taken = codes[group_validation_mask(codes, groups, hashes, 0.2)]
    for code in (0, 1):
        assert abs((taken == code).sum() - 0.2 * (codes == code).sum()) <= 6


def test_group_split_follows_the_rows_in_any_order() -> None:
    codes, groups, hashes = random_groups(0)
    order = np.random.default_rng(1).permutation(len(codes))
    mask = group_validation_mask(codes, groups, hashes, 0.2)
    shuffled = group_validation_mask(codes[order], [groups[i] for i in order], hashes[order], 0.2)
    assert (shuffled == mask[order]).all()


@pytest.mark.parametrize(
    ("sizes", "taken"), [([50, 50], 50), ([90, 10], 10), ([70, 30], 30), ([99, 1], 1)]
)
def test_groups_that_are_all_too_large_give_the_one_that_goes_least_beyond(
    sizes: list[int], taken: int
) -> None:
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes).tolist()
    hashes = np.repeat(np.arange(len(sizes)), sizes)
    mask = group_validation_mask(np.zeros(100, dtype=np.int32), groups, hashes, 0.2)
    assert mask.sum() == taken


@pytest.mark.parametrize("groups", ["aaaa", "aabb"])
def test_groups_with_all_of_a_class_each_leave_nothing_to_validate(groups: str) -> None:
    codes = np.array([0, 0, 1, 1], dtype=np.int32)
    assert not group_validation_mask(codes, list(groups), np.array([1, 1, 2, 2]), 0.5).any()


def test_group_that_holds_all_of_a_class_is_trained_on() -> None:
    codes = np.array([0, 0, 0, 0, 1, 1], dtype=np.int32)
    groups = ["a", "b", "c", "d", "e", "e"]
    mask = group_validation_mask(codes, groups, np.array([3, 4, 5, 6, 1, 1]), 0.5)
    assert mask.tolist() == [True, True, False, False, False, False]


def test_groups_of_any_type_and_without_name_stay_whole() -> None:
    codes = np.zeros(6, dtype=np.int32)
    mask = group_validation_mask(codes, [1, 1, None, None, 2, 2], np.array([2, 2, 1, 1, 3, 3]), 0.3)
    assert mask.tolist() == [False, False, True, True, False, False]


def test_no_fraction_takes_no_group() -> None:
    codes = np.zeros(2, dtype=np.int32)
    assert not group_validation_mask(codes, ["a", "b"], np.array([1, 2]), 0.0).any()
