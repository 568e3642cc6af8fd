from __future__ import annotations

import math
from fractions import Fraction

import pytest

from spark_pseudolabel.core.trust.finite_population import (
    allowed_wrong,
    at_most,
    fewest_wrong,
    most_wrong,
    p_value,
)


def exact(k: int, n: int, marked: int, population: int) -> float:
    """Sum the hypergeometric probabilities in whole numbers."""
    ways = sum(math.comb(marked, i) * math.comb(population - marked, n - i) for i in range(k + 1))
    return float(Fraction(ways, math.comb(population, n)))


@pytest.mark.parametrize("pool", [1, 3, 19, 50, 500])
@pytest.mark.parametrize("n", [1, 20, 59, 500])
def test_tail_is_that_of_whole_numbers(n: int, pool: int) -> None:
    for wrong in {0, 1, min(7, n)}:
        for others in {0, 1, pool // 3, pool}:
            k, population = min(wrong, n), n + pool
            expected = exact(k, n, k + others, population)
            assert at_most(k, n, k + others, population) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("k", "n", "pool"), [(5, 208, 4 * 10**9), (60, 2000, 10**7)])
def test_tail_keeps_its_digits_in_large_pools(k: int, n: int, pool: int) -> None:
    marked, population = k + pool // 20 + 1, n + pool
    assert at_most(k, n, marked, population) == pytest.approx(
        _by_products(k, n, marked, population)
    )


def _by_products(k: int, n: int, marked: int, population: int) -> float:
    plain = population - marked
    term = math.exp(math.fsum(math.log1p(-marked / (population - t)) for t in range(n)))
    total = term
    for i in range(k):
        term *= (marked - i) * (n - i) / ((i + 1) * (plain - n + i + 1))
        total += term
    return total


def test_endless_pool_is_the_limit_of_large_ones() -> None:
    assert p_value(5, 208, 0.05, 4 * 10**9) == pytest.approx(p_value(5, 208, 0.05), rel=1e-6)


def test_nothing_tested_and_nothing_to_tell_of_prove_nothing() -> None:
    assert (p_value(0, 0, 0.05, 10), p_value(0, 59, 0.05, 0), p_value(0, 0, 0.05)) == (1, 1, 1)


@pytest.mark.parametrize(("wrong", "n", "pool"), [(0, 59, 100), (3, 200, 500), (30, 300, 40)])
def test_bounds_are_where_the_test_turns(wrong: int, n: int, pool: int) -> None:
    most, fewest = most_wrong(wrong, n, pool, 0.05), fewest_wrong(wrong, n, pool, 0.05)
    assert fewest <= most
    assert exact(wrong, n, wrong + most, n + pool) > 0.05
    assert most == pool or exact(wrong, n, wrong + most + 1, n + pool) <= 0.05
    assert fewest == 0 or 1 - exact(wrong - 1, n, wrong + fewest - 1, n + pool) <= 0.05


@pytest.mark.parametrize("pool", [17, 40, 333])
@pytest.mark.parametrize("wrong", [0, 2, 9])
def test_bound_and_test_say_the_same(wrong: int, pool: int) -> None:
    passes = p_value(wrong, 200, 0.1, pool) <= 0.05
    assert passes == (most_wrong(wrong, 200, pool, 0.05) <= allowed_wrong(0.1, pool))


def test_pool_that_is_all_wrong_needs_no_series() -> None:
    assert at_most(0, 5, 10, 10) == 0.0
    assert at_most(5, 5, 10, 10) == 1.0
