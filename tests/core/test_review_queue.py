"""Which rows are worth a minute, and sets of their keys."""

from __future__ import annotations

import numpy as np

from spark_pseudolabel.core.review_queue import shares, spread


def test_shares_never_exceed_what_there_is_and_lose_none() -> None:
    chance = np.random.default_rng(0)
    for _ in range(200):
        available = chance.integers(0, 20, size=chance.integers(1, 8)).tolist()
        n = int(chance.integers(0, 100))
        given = shares(n, available)
        assert sum(given) == min(n, sum(available))
        assert all(g <= a for g, a in zip(given, available, strict=True))
        open_groups = [g for g, a in zip(given, available, strict=True) if g < a]
        assert max(open_groups, default=0) - min(open_groups, default=0) <= 1


def test_rows_far_from_the_known_ones_come_first_and_copies_last() -> None:
    X = np.array([[0.0], [0.0], [5.0], [5.0], [9.0]])
    known = np.array([[0.1]])
    order = spread(X, np.ones(5), np.arange(5), 5, known).tolist()
    assert order[:2] == [4, 2]
    assert order[2:] == [0, 1, 3]


def test_of_two_rows_as_far_the_one_worth_more_is_chosen() -> None:
    X = np.array([[1.0], [-1.0]])
    assert spread(X, np.array([0.2, 0.9]), np.arange(2), 1, np.zeros((1, 1))).tolist() == [1]
