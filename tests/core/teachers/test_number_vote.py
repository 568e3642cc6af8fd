from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.teachers.number_vote import PRIOR_ROWS, mean_weights


def said(n: int, *noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    y = chance.normal(size=n)
    return np.array([y + size * chance.normal(size=n) for size in noise]), y


def test_many_rows_weigh_members_by_the_inverse_of_their_variance() -> None:
    each, y = said(20_000, 1.0, 2.0, 4.0)
    precision = np.array([1.0, 1 / 4, 1 / 16])
    assert mean_weights(each, y) == pytest.approx(precision / precision.sum(), abs=0.02)


def test_no_weights_with_the_same_sum_have_a_lower_penalized_error() -> None:
    each, y = said(60, 1.0, 1.5, 3.0)
    each[2] += 0.5 * (each[0] - y)  # errors that go together
    wrong = each - y
    best = (wrong**2).mean(axis=1).min()

    def loss(weights: np.ndarray) -> float:
        away = ((weights - 1 / 3) ** 2).sum()
        return float(((weights @ wrong) ** 2).sum() / best + PRIOR_ROWS * 3 * away)

    found = mean_weights(each, y)
    grid = [(a / 50, b / 50) for a in range(51) for b in range(51 - a)]
    assert loss(found) <= min(loss(np.array([a, b, 1 - a - b])) for a, b in grid) + 1e-6


def test_few_rows_change_less_than_many() -> None:
    of_few = [mean_weights(*said(4, 1.0, 2.0, seed=seed))[0] for seed in range(20)]
    assert 0.5 < np.mean(of_few) < 0.79
    assert mean_weights(*said(2000, 1.0, 2.0))[0] == pytest.approx(0.8, abs=0.03)


def test_rows_without_a_number_do_not_count() -> None:
    each, y = said(50, 1.0, 2.0)
    more = np.concatenate([each, [[np.nan], [7.0]]], axis=1)
    assert (mean_weights(more, np.append(y, 0.0)) == mean_weights(each, y)).all()


@pytest.mark.parametrize("size", [1e-6, 1e9])
def test_weights_do_not_depend_on_the_unit(size: float) -> None:
    each, y = said(50, 1.0, 2.0)
    assert mean_weights(each * size, y * size) == pytest.approx(mean_weights(each, y), abs=1e-4)


def test_a_member_that_is_always_right_has_all_weight() -> None:
    y = np.arange(30.0)
    assert mean_weights(np.array([y, y, y + 1]), y).tolist() == [0.5, 0.5, 0.0]
    assert mean_weights(np.array([y + 1]), y).tolist() == [1.0]
