from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaincinv

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.trust.band import band, broken_somewhere, local_level, most_counted
from spark_pseudolabel.core.trust.evidence import CalibrationRows, Dependence
from spark_pseudolabel.core.trust.finite_population import most_wrong
from spark_pseudolabel.core.trust.units import GroupSizes
from spark_pseudolabel.evaluate.certificates import counts_of

RISK = 0.05
SLACK = 2 * np.sqrt(RISK * (1 - RISK))


def drawn(seed: int, n: int, kind: str) -> CalibrationRows:
    """Draw scored rows whose errors grow with their rank: few at first, many, or about even."""
    chance = np.random.default_rng(seed)
    rank = chance.random(n)
    wrong = {"few": 0.3 * rank**4, "many": 0.05 + 0.6 * rank, "even": 0 * rank + 0.1}[kind]
    codes = chance.integers(0, 2, n).astype(np.int32)
    return CalibrationRows(codes, np.round(1 - rank / 2, 6), chance.random(n) >= wrong)


def dealt(rows: CalibrationRows, n: int) -> tuple[CalibrationRows, CalibrationRows]:
    """Return the first n rows to test, the others as the pool."""
    tested, pool = (
        CalibrationRows(rows.codes[part], rows.confidence[part], rows.right[part])
        for part in (slice(n), slice(n, None))
    )
    return tested, pool


def true_wrong(pool: CalibrationRows, bins: tuple[int, ...]) -> np.ndarray:
    above = np.floor(pool.confidence * 1000 + 1e-9)[:, np.newaxis] >= np.array(bins)
    count: np.ndarray = (above & ~pool.right[:, np.newaxis]).sum(axis=0)
    return count


def broken_in_walks(n: int, pool: int, level: float) -> float:
    """Return the exact probability that a walk of wrong rows leaves its bounds somewhere.

    Each next wrong row is a tested one as often as a tested one is left among all; the bound of k
    tested ones is broken where more wrong ones of the pool come before the next tested one.
    """
    arrived, broken = np.zeros(pool + 1), 0.0
    arrived[0] = 1.0
    for k in range(n + 1):
        most = most_wrong(k, n, pool, level) if k < most_counted(n) else pool
        onward, following = 0.0, np.zeros(pool + 1)
        for others in range(pool + 1):
            here = arrived[others] + onward
            left = n + pool - k - others
            if others > most:
                broken, onward = broken + here, 0.0
            elif left:
                following[others] = here * (n - k) / left
                onward = here - following[others]
        arrived = following
    return broken


@pytest.mark.parametrize(("n", "pool"), [(40, 10), (40, 40), (60, 200), (100, 30), (20, 400)])
def test_bounds_hold_at_all_cuts_together_in_pools_of_any_size(n: int, pool: int) -> None:
    # Exactly, whatever the model and its errors are; nearly all of the risk in a large pool.
    broken = broken_in_walks(n, pool, local_level(n, RISK))
    assert broken <= RISK
    assert broken > 0.015


@pytest.mark.parametrize("n", [1, 7, 50, 500])
def test_level_of_an_endless_pool_is_exact(n: int) -> None:
    level = local_level(n, RISK)
    counts = range(most_counted(n))
    assert 0.97 * RISK <= broken_somewhere(counts, n, level) <= RISK


def test_level_is_that_of_a_round_number_of_rows() -> None:
    assert local_level(1234, RISK) == local_level(1300, RISK) < local_level(1200, RISK)
    assert [local_level(n, RISK) for n in (99, 101)] == [
        local_level(99, RISK),
        local_level(110, RISK),
    ]


def test_probability_of_a_broken_bound_is_that_of_ordered_uniform_numbers() -> None:
    n, level = 30, 0.02
    counts = [0, 1, 4, 9]
    chance = np.random.default_rng(0)
    ordered = np.sort(chance.random((40_000, n)), axis=1)
    bounds = [most_wrong(k, n, 10**7, level) / 10**7 for k in counts]
    broken = (ordered[:, counts] > bounds).any(axis=1).mean()
    assert broken_somewhere(counts, n, level) == pytest.approx(broken, abs=0.003)


def test_level_falls_slowly_with_the_rows() -> None:
    levels = [local_level(n, RISK) for n in (30, 100, 300, 1000, 3000)]
    assert levels == sorted(levels, reverse=True)
    assert RISK / levels[-1] < 25  # as for 25 cuts that were named beforehand


@pytest.mark.parametrize("kind", ["few", "many", "even"])
def test_band_is_broken_anywhere_in_at_most_five_percent_of_draws(kind: str) -> None:
    draws, broken = 60, 0
    for seed in range(draws):
        rows, pool = dealt(drawn(seed, 750, kind), 150)
        found = band(rows, (0, 1), counts_of(pool, 2), RISK)
        broken += bool((true_wrong(pool, found.bins) > found.wrong + 1e-9).any())
    assert broken <= RISK * draws + SLACK * np.sqrt(draws)


@pytest.mark.parametrize("kind", ["few", "many"])
def test_bounds_go_with_the_rows_above_a_cut(kind: str) -> None:
    rows, pool = dealt(drawn(1, 5000, kind), 1000)
    found = band(rows, (0, 1), counts_of(pool, 2), RISK)
    assert list(found.bins) == sorted(found.bins, reverse=True)
    assert (np.diff(found.rows) > 0).all()
    assert (np.diff(found.wrong) >= 0).all()
    assert (np.diff(found.rows - found.wrong) >= 0).all()
    assert found.rows[-1] == 4000
    points = found.points(4000)
    assert points[-1].share == 1.0
    assert [p.lower for p in points] == pytest.approx(list(1 - found.wrong / found.rows))
    assert [round(p.cut * 1000) for p in points] == list(found.bins)


def test_loosest_cut_is_the_last_that_is_good_enough() -> None:
    rows, pool = dealt(drawn(1, 5000, "few"), 1000)
    found = band(rows, (0, 1), counts_of(pool, 2), RISK)
    at = found.loosest(0.05)
    assert at is not None
    assert found.wrong[at] <= 0.05 * found.rows[at]
    assert (found.wrong[at + 1 :] > 0.05 * found.rows[at + 1 :]).all()
    assert found.loosest(1e-6) is None


def test_band_of_a_class_is_about_its_rows_alone() -> None:
    rows, pool = dealt(drawn(1, 5000, "few"), 1000)
    counts = counts_of(pool, 2)
    of_one = band(rows, (1,), counts, RISK)
    only = CalibrationRows(
        *(part[rows.codes == 1] for part in (rows.codes, rows.confidence)),
        rows.right[rows.codes == 1],
    )
    assert of_one.rows[-1] == counts.by_class[1]
    assert (of_one.wrong == band(only, (1,), counts, RISK).wrong).all()


def test_nothing_is_known_without_rows_and_of_an_empty_pool() -> None:
    rows, pool = dealt(drawn(1, 100, "few"), 20)
    none = CalibrationRows(rows.codes[:0], rows.confidence[:0], rows.right[:0])
    found = band(none, (0, 1), counts_of(pool, 2), RISK)
    assert (found.wrong == found.rows).all()
    assert [point.lower for point in found.points(80)] == [0.0] * len(found.bins)
    empty = band(rows, (0, 1), Counts.from_rows(2, []), RISK)
    assert (empty.bins, empty.points(0), empty.loosest(0.5)) == ((), (), None)


def test_rows_that_are_the_only_one_of_their_label_lower_it_everywhere() -> None:
    rows, pool = dealt(drawn(1, 5000, "few"), 1000)
    alone = CalibrationRows(rows.codes, rows.confidence, rows.right, only_ones=20)
    of_all, with_them = (band(one, (0, 1), counts_of(pool, 2), RISK) for one in (rows, alone))
    assert (with_them.wrong > of_all.wrong).all()


def test_copies_do_not_raise_it() -> None:
    rows, pool = dealt(drawn(2, 4300, "few"), 300)
    again = np.tile(np.arange(300), 2)
    dependence = Dependence(again.astype(np.int64), np.arange(600, dtype=np.int64))
    twice = CalibrationRows(
        rows.codes[again], rows.confidence[again], rows.right[again], dependence=dependence
    )
    of_all, of_copies = (band(one, (0, 1), counts_of(pool, 2), RISK) for one in (rows, twice))
    assert (of_copies.wrong >= of_all.wrong - 1e-9).all()


def test_groups_count_once() -> None:
    rows, pool = dealt(drawn(3, 4300, "few"), 300)
    units = np.repeat(np.arange(60), 5).astype(np.int64)
    hashes = np.random.default_rng(0).permutation(300).astype(np.int64)
    grouped = CalibrationRows(
        rows.codes,
        rows.confidence,
        rows.right,
        dependence=Dependence(units, hashes, GroupSizes({5: 800})),
    )
    of_rows, of_groups = (band(one, (0, 1), counts_of(pool, 2), RISK) for one in (rows, grouped))
    assert of_groups.level > of_rows.level  # of fewer rows
    assert of_groups.wrong[-1] > of_rows.wrong[-1]


def test_order_of_rows_changes_nothing() -> None:
    rows, pool = dealt(drawn(4, 1500, "many"), 300)
    order = np.random.default_rng(1).permutation(300)
    shuffled = CalibrationRows(rows.codes[order], rows.confidence[order], rows.right[order])
    before, after = (band(one, (0, 1), counts_of(pool, 2), RISK) for one in (rows, shuffled))
    assert before.points(1200) == after.points(1200)


def test_many_errors_are_rounded_up_and_never_down() -> None:
    # From 400 errors on, not every number of them has a bound of its own.
    chance = np.random.default_rng(5)
    n = 2000
    rank = np.sort(chance.random(n))
    wrong = chance.random(n) < 0.35
    rows = CalibrationRows(np.zeros(n, np.int32), np.round(1 - rank / 2, 6), ~wrong)
    pool = CalibrationRows(np.zeros(n, np.int32), rows.confidence, rows.right)
    found = band(rows, (0,), counts_of(pool, 1), RISK)
    exact = most_wrong(int(wrong.sum()), n, n, found.level)
    assert exact <= found.wrong[-1] <= exact + 15


PROFILES = {
    "few": lambda rank: 0.3 * rank**4,
    "growing": lambda rank: 0.5 * rank**2,
    "even": lambda rank: 0.1 + 0.0 * rank,
    "steps": lambda rank: np.where(rank < 0.3, 0.01, np.where(rank < 0.7, 0.08, 0.4)),
    "worst first": lambda rank: 0.3 * (1 - rank),
}


@pytest.mark.parametrize("kind", PROFILES)
def test_bounds_of_an_endless_pool_hold_at_all_cuts_of_any_model(kind: str) -> None:
    # 2,000 draws of 500 tested rows at once, by the formulas that a large pool's bounds come to.
    draws, n, cuts = 2000, 500, 100
    error, chance = PROFILES[kind], np.random.default_rng(0)
    rank = chance.random((draws, n))
    wrong = chance.random((draws, n)) < error(rank)
    cell = (np.arange(draws)[:, np.newaxis] * cuts + (rank * cuts).astype(int)).ravel()
    tested, k = (
        np.bincount(cell, weights, draws * cuts).reshape(draws, cuts).cumsum(axis=1)
        for weights in (np.ones(draws * n), wrong.ravel().astype(float))
    )
    share = np.arange(1, cuts + 1) / cuts
    fine = (np.arange(100 * cuts) + 0.5) / (100 * cuts)
    true = np.cumsum(error(fine)).reshape(cuts, 100)[:, -1] / (100 * cuts)  # wrong, of all rows
    level = local_level(n, RISK)
    of_all = betaincinv(k + 1, n - k, 1 - level)
    of_cut = share * betaincinv(k + 1, np.maximum(tested - k, 1e-9), 1 - level)
    broken = [(bound < true).any(axis=1).mean() for bound in (of_all, np.maximum(of_all, of_cut))]
    assert max(broken) <= RISK + SLACK / np.sqrt(draws)
    assert broken[1] <= broken[0]
    assert broken[0] > 0.005  # a band that no draw breaks would be wider than it has to be
