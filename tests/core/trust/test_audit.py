"""The audit: bounds on the number of wrong labels, against brute force and in simulated audits."""

import math
from fractions import Fraction

import numpy as np
import pytest

from spark_pseudolabel.core.trust.audit import (
    Asked,
    Bounds,
    Prior,
    bounds,
    is_shown,
    level_of,
    limit_of,
    log_ratio,
    more_answers,
    settled,
)


def beta_binomial(k: int, n: int, a: int, b: int) -> Fraction:
    """Return the probability of k, for whole a and b."""

    def beta(x: int, y: int) -> Fraction:
        return Fraction(math.factorial(x - 1) * math.factorial(y - 1), math.factorial(x + y - 1))

    return math.comb(n, k) * beta(k + a, n - k + b) / beta(a, b)


def ratio(w: int, asked: Asked, a: int, b: int) -> Fraction:
    """Return prior over posterior, from the definition."""
    left = asked.rows - asked.answers
    posterior = beta_binomial(
        w - asked.wrong, left, a + asked.wrong, b + asked.answers - asked.wrong
    )
    return beta_binomial(w, asked.rows, a, b) / posterior


ASKED = [
    Asked(60),
    Asked(60, 1, 0),
    Asked(60, 1, 1),
    Asked(60, 20, 0),
    Asked(60, 20, 3),
    Asked(60, 45, 45),
    Asked(60, 59, 2),
    Asked(60, 60, 2),
    Asked(1, 1, 1),
    Asked(400, 150, 4),
]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize(("a", "b"), [(1, 30), (1, 1), (3, 5)])
def test_bounds_are_those_of_brute_force(asked, a, b):
    possible = range(asked.wrong, asked.rows - asked.answers + asked.wrong + 1)
    ratios = [ratio(w, asked, a, b) for w in possible]
    assert log_ratio(np.array(possible), *vars(asked).values(), Prior(a, b)) == pytest.approx(
        [math.log(r) for r in ratios], abs=1e-9
    )
    for level in (0.05, 0.3):
        left = [w for w, r in zip(possible, ratios, strict=True) if r < 1 / Fraction(level)]
        assert left == list(range(left[0], left[-1] + 1))  # unimodal: what is possible is a range
        assert bounds(asked, level, Prior(a, b)) == Bounds(left[0], left[-1])


def test_all_answers_leave_one_number():
    assert bounds(Asked(500, 500, 7), 0.05, Prior()) == Bounds(7, 7)


def test_no_answer_leaves_every_number_and_no_row_leaves_none():
    assert bounds(Asked(500), 0.05, Prior()) == Bounds(0, 500)
    assert bounds(Asked(0), 0.05, Prior()) == Bounds(0, 0)


@pytest.mark.parametrize("w", [4_227_281, 20_000_000, 55_041_642, 999_000_000])
def test_a_billion_rows_lose_less_than_the_slack(w):
    rows, t, s = 10**9, 300, 6
    paths = math.fsum(
        [math.log(rows - i) for i in range(t)]
        + [-math.log(w - i) for i in range(s)]
        + [-math.log(rows - w - i) for i in range(t - s)]
    )
    betas = [math.lgamma(1 + s) + math.lgamma(30 + t - s) - math.lgamma(31 + t), -math.log(1 / 30)]
    exact = paths + math.fsum(betas)
    slack = limit_of(0.05, rows) - math.log(20)
    assert abs(float(log_ratio(w, rows, t, s, Prior())) - exact) < slack < 0.001


def test_levels_of_all_audits_add_up_to_the_risk():
    assert level_of(1) == pytest.approx(0.0304, abs=5e-5)
    assert sum(level_of(r) for r in range(1, 100_000)) == pytest.approx(0.05, abs=1e-6)


def test_shown_refuted_and_open():
    level, prior = level_of(1), Prior()
    assert is_shown(Asked(20_000, 95, 0), 0.95, level, prior) is None
    assert is_shown(Asked(20_000, 96, 0), 0.95, level, prior) is True
    assert is_shown(Asked(20_000, 60, 20), 0.95, level, prior) is False
    assert settled(Bounds(0, 1), 20, 0.95) is True  # one of twenty may be wrong
    assert settled(Bounds(0, 2), 20, 0.95) is None


@pytest.mark.parametrize(
    "asked",
    [Asked(20_000), Asked(20_000, 50, 0), Asked(20_000, 100, 2), Asked(20_000, 100, 12), Asked(70)],
)
def test_as_many_more_answers_settle_at_the_same_rate_and_hardly_fewer(asked):
    more = more_answers(asked, 0.95, level_of(1), Prior())
    rate = asked.wrong / max(1, asked.answers)

    def after(n: int, *, luck: bool) -> bool | None:
        t = asked.answers + n
        wrong = math.floor(rate * t) if luck == (rate < 0.05) else math.ceil(rate * t)
        return is_shown(Asked(asked.rows, t, wrong), 0.95, level_of(1), Prior())

    assert after(more, luck=True) is (rate < 0.05)
    assert after(int(0.7 * more), luck=False) is None


def test_what_is_settled_takes_no_more_answers():
    assert more_answers(Asked(20_000, 96, 0), 0.95, level_of(1), Prior()) == 0
    assert more_answers(Asked(10, 10, 1), 0.95, level_of(1), Prior()) == 0
    # Just as many wrong as are allowed: only all rows tell.
    assert more_answers(Asked(2_000, 100, 5), 0.95, level_of(1), Prior()) > 1_800


def test_bounds_hold_after_every_answer_of_many_audits():
    # 400 sets with 6 % wrong, all 400 answers looked at one by one.
    chance, rows, wrong, level = np.random.default_rng(0), 2000, 120, 0.05
    marked = np.zeros(rows, dtype=np.int64)
    marked[:wrong] = 1
    orders = chance.permuted(np.tile(marked, (400, 1)), axis=1)[:, :400]
    so_far, t = orders.cumsum(axis=1), np.arange(1, 401)
    ratios = log_ratio(wrong, rows, t, so_far, Prior())
    failed = (ratios >= limit_of(level, rows)).any(axis=1)
    assert failed.mean() <= 0.05
    # The same by the bounds themselves, after the answers at which one run fails.
    run = int(ratios.max(axis=1).argmax())
    at = int(ratios[run].argmax())
    of = bounds(Asked(rows, at + 1, int(so_far[run, at])), level, Prior())
    assert (of.lower <= wrong <= of.upper) is not bool(failed[run])
