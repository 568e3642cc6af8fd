from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.sampling import hash_limits, low_limits, proportional_shares, within


@pytest.mark.parametrize(
    ("counts", "limit", "shares"),
    [
        ([90, 10], 50, [45, 5]),
        ([3, 2], 5, [3, 2]),
        ([3, 2], 100, [3, 2]),
        ([3, 2], 0, [0, 0]),
        ([5, 0, 5], 4, [2, 0, 2]),
        ([1, 1, 1], 2, [1, 1, 0]),  # the first of equals
        ([10, 7, 3], 7, [4, 2, 1]),  # 3.5, 2.45, 1.05
        ([1000, 1], 10, [10, 0]),
        ([], 10, []),
        ([0, 0], 10, [0, 0]),
    ],
)
def test_quotas(counts: list[int], limit: int, shares: list[int]) -> None:
    assert proportional_shares(counts, limit) == shares


@pytest.mark.parametrize("seed", range(20))
def test_quotas_add_up_and_stay_within_the_counts(seed: int) -> None:
    chance = np.random.default_rng(seed)
    counts = chance.integers(0, 1000, 6)
    limit = int(chance.integers(0, counts.sum() + 10))
    shares = proportional_shares(counts.tolist(), limit)
    assert sum(shares) == min(limit, counts.sum())
    assert (np.array(shares) <= counts).all()


CODES = np.array([0, 0, 0, 1, 1, 1], dtype=np.int32)
HASHES = np.array([30, -10, 20, 5, 5, 7])


@pytest.mark.parametrize(
    ("shares", "limits"),
    [
        ([0, 0], [None, None]),
        ([1, 0], [-10, None]),
        ([2, 3], [20, 7]),
        ([3, 3], [30, 7]),
        ([9, 9], [30, 7]),
        # Two rows of class 1 tie at 5: together they are too many for one place.
        ([1, 1], [-10, None]),
        ([1, 2], [-10, 5]),
        ([1, 0, 4], [-10, None, None]),  # a class without rows
    ],
)
def test_hash_limits(shares: list[int], limits: list[int | None]) -> None:
    assert hash_limits(CODES, HASHES, shares) == limits


def test_rows_within_the_limits_are_the_quota() -> None:
    chance = np.random.default_rng(0)
    codes = chance.integers(0, 3, 500).astype(np.int32)
    hashes = chance.integers(-(2**63), 2**63 - 1, 500)
    shares = proportional_shares(np.bincount(codes).tolist(), 100)
    limits = hash_limits(codes, hashes, shares)
    taken = [(hashes[codes == code] <= limit).sum() for code, limit in enumerate(limits)]
    assert taken == shares


def test_low_limits_hold_the_quota_and_with_slack_everything() -> None:
    chance = np.random.default_rng(0)
    n = [50_000, 3_000, 0]
    codes = np.repeat(np.arange(3), n)
    hashes = chance.integers(-(2**63), 2**63 - 1, sum(n))
    shares = proportional_shares(n, 10_000)
    once = np.bincount(codes[within(codes, hashes, low_limits(n, 10_000))], minlength=3)
    assert (once >= shares).all()
    assert once.sum() < 1.5 * 10_000
    assert within(codes, hashes, low_limits(n, 10_000, slack=64)).all()
