from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from spark_pseudolabel.core.selection.counts import Counts, bin_of
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT, fold_of
from spark_pseudolabel.core.trust.certificate import (
    CalibrationRows,
    Promise,
    certify,
    rows_needed,
    why_impossible,
)
from spark_pseudolabel.core.trust.evidence import Dependence
from spark_pseudolabel.core.trust.finite_population import most_wrong, p_value
from spark_pseudolabel.core.trust.units import GroupSizes, first_of
from spark_pseudolabel.evaluate.certificates import counts_of
from tests.core.candidates import Rows

RULE = {"policy": "certified"}
GROUPS_OF = {"all": [[0, 1]], "class": [[0], [1]]}


def calibrated(
    n: int, seed: int, n_classes: int = 2, power: float = 3.0
) -> tuple[Rows, CalibrationRows]:
    """Draw pool and calibration rows whose confidence is the probability of being right."""
    chance = np.random.default_rng(seed)

    def draw(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low = 1 / n_classes
        confidence = np.round(1 - (1 - low) * chance.random(size) ** power, 6)
        codes = chance.integers(0, n_classes, size).astype(np.int32)
        return codes, confidence, chance.random(size) < confidence

    codes, confidence, _ = draw(4 * n)
    pool = Rows(codes.astype(np.int64), confidence, tuple((i,) for i in range(4 * n)), n_classes)
    return pool, CalibrationRows(*draw(n))


@pytest.mark.parametrize(
    ("precision", "certainty", "needed"),
    [
        (0.90, 0.95, [29, 46, 61, 103]),
        (0.95, 0.90, [45, 77, 105, 184]),
        (0.95, 0.95, [59, 93, 124, 208]),
        (0.98, 0.95, [149, 236, 313, 523]),
        (0.99, 0.95, [299, 473, 628, 1049]),
    ],
)
def test_rows_needed_are_those_of_the_exact_binomial_test(
    precision: float, certainty: float, needed: list[int]
) -> None:
    promise = Promise(precision, certainty)
    assert [rows_needed(promise.error, promise.risk, k) for k in (0, 1, 2, 5)] == needed


@pytest.mark.parametrize(("n", "wrong"), [(59, 0), (93, 1), (208, 5)])
def test_one_row_less_fails(n: int, wrong: int) -> None:
    assert p_value(wrong, n, 0.05) <= 0.05 < p_value(wrong, n - 1, 0.05)


def test_no_rows_prove_nothing() -> None:
    assert p_value(0, 0, 0.05) == 1.0
    nothing = CalibrationRows(*(np.array([], dtype) for dtype in (np.int32, float, bool)))
    found = certify(Promise(), calibrated(50, 0)[0].counts(), nothing)
    assert not found.claimed
    assert [claim.more_labels for claim in found.claims] == [59]


def test_one_row_of_each_label_says_nothing_of_how_often_a_model_errs() -> None:
    alone = CalibrationRows(*(np.array([], dtype) for dtype in (np.int32, float, bool)), 2)
    found = certify(Promise(), calibrated(50, 0)[0].counts(), alone)
    assert not found.claimed
    assert [claim.more_labels for claim in found.claims] == [59]


def test_empty_pool_claims_nothing() -> None:
    found = certify(Promise(), Counts.from_rows(2, []), calibrated(200, 0)[1])
    assert not found.claimed
    assert found.coverage == 0.0


@pytest.mark.parametrize("per", ["all", "class"])
@pytest.mark.parametrize("seed", range(5))
def test_plan_publishes_exactly_the_rows_the_certificate_counts(per: str, seed: int) -> None:
    pool, rows = calibrated(2000, seed)
    found = certify(Promise(per=per), pool.counts(), rows)  # type: ignore[arg-type]
    plan = found.plan(RULE, 2)
    accepted = [
        plan.accepts(int(code), confidence, key)
        for code, confidence, key in zip(pool.codes, pool.confidences, pool.keys, strict=True)
    ]
    assert sum(accepted) == sum(claim.rows for claim in found.claims) > 0
    assert found.coverage == pytest.approx(np.mean(accepted))


def test_bin_edges_and_rounded_confidences_are_the_same_numbers() -> None:
    edges = np.arange(1001) / 1000
    assert (np.round(edges, 6) == edges).all()
    assert (bin_of(edges) == np.arange(1001)).all()


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_changes_nothing(seed: int) -> None:
    pool, rows = calibrated(500, seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = CalibrationRows(rows.codes[order], rows.confidence[order], rows.right[order])
    assert certify(Promise(), pool.shuffled(1).counts(), shuffled) == certify(
        Promise(), pool.counts(), rows
    )


@pytest.mark.parametrize(
    ("n", "n_pool", "per"),
    [(500, 50, "all"), (500, 500, "all"), (2000, 500, "all"), (2000, 1000, "class")],
)
def test_promise_about_the_published_rows_is_broken_in_at_most_five_percent_of_draws(
    n: int, n_pool: int, per: Literal["all", "class"]
) -> None:
    broken = claimed = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        codes = chance.integers(0, 2, n + n_pool).astype(np.int32)
        confidence = np.round(1 - chance.random(n + n_pool) ** 3 / 2, 6)
        right = chance.random(n + n_pool) < confidence
        rows, pool = (
            CalibrationRows(codes[of], confidence[of], right[of])
            for of in (slice(n), slice(n, None))
        )
        plan = certify(Promise(per=per), counts_of(pool, 2), rows).plan(RULE, 2)
        cuts = np.array([2.0 if cut is None else cut.confidence for cut in plan.cuts])
        accepted = pool.confidence >= cuts[pool.codes]
        of_claims = [accepted & np.isin(pool.codes, of) for of in GROUPS_OF[per]]
        claimed += accepted.any()
        broken += any(of.any() and pool.right[of].mean() < 0.95 for of in of_claims)
    assert broken <= 16  # 5 % of 200 and two standard deviations
    assert claimed > 100


def test_classes_share_the_risk_so_that_all_claims_hold_together() -> None:
    pool, rows = calibrated(2000, 0)
    found = certify(Promise(per="class"), pool.counts(), rows)
    assert [claim.level for claim in found.claims] == pytest.approx([0.025, 0.025])


def test_class_too_rare_to_be_shown_takes_no_risk_from_the_others() -> None:
    pool, rows = calibrated(2000, 0, n_classes=3)
    rare = pool.codes == 2
    codes = np.where(rare & (np.cumsum(rare) > 40), 0, pool.codes)
    few = Rows(codes, pool.confidences, pool.keys, 3)
    found = certify(Promise(per="class"), few.counts(), rows)
    assert [claim.cut is None for claim in found.claims] == [False, False, True]
    assert found.claims[0].level == pytest.approx(0.025)
    assert found.plan(RULE, 3).cuts[2] is None


def test_too_few_rows_say_how_many_are_missing() -> None:
    pool, rows = calibrated(4000, 0)
    few = CalibrationRows(rows.codes[:90], rows.confidence[:90], rows.right[:90])
    found = certify(Promise(), pool.counts(), few)
    assert not found.claimed
    more = found.claims[0].more_labels
    assert more is None or 20 < more < 2000


def test_estimate_of_missing_labels_is_about_what_it_takes() -> None:
    # All calibration rows right: 59 accepted ones are needed, at any cut.
    pool, rows = calibrated(4000, 0)
    right = CalibrationRows(rows.codes[:50], rows.confidence[:50], np.ones(50, dtype=bool))
    assert certify(Promise(), pool.counts(), right).claims[0].more_labels == 9


def test_missing_labels_are_counted_as_the_given_ones_are() -> None:
    # A fifth of what was labeled is tested: 9 tested rows more take 45 labels.
    pool, rows = calibrated(4000, 0)
    right = CalibrationRows(rows.codes[:50], rows.confidence[:50], np.ones(50, dtype=bool))
    found = certify(Promise(), pool.counts(), right, "held_out", labels=250)
    assert found.claims[0].more_labels == 45
    assert "validation rows" in (why_impossible(Promise(), 50, "validation") or "")


def test_model_that_is_never_sure_needs_more_than_labels() -> None:
    pool, rows = calibrated(1000, 0)
    bad = CalibrationRows(rows.codes, rows.confidence, np.arange(1000) % 5 > 0)
    found = certify(Promise(), pool.counts(), bad)
    assert not found.claimed
    assert found.claims[0].more_labels is None


def test_refused_certificate_publishes_nothing_whatever_the_numbers() -> None:
    pool, rows = calibrated(2000, 0)
    found = certify(Promise(), pool.counts(), rows, refused="drawn_per_class")
    assert (found.claimed, found.coverage, found.plan(RULE, 2).cuts) == (False, 0.0, (None, None))
    assert [(claim.cut, claim.rows, claim.more_labels) for claim in found.claims] == [
        (None, 0, None)
    ]


def test_impossible_promise_is_known_before_any_fit() -> None:
    assert why_impossible(Promise(0.99), 299) is None
    assert "299" in (why_impossible(Promise(0.99), 298) or "")


def test_single_pool_row_is_shown_to_be_right_by_fewer_rows() -> None:
    assert why_impossible(Promise(), 19, pool=1) is None
    assert "at least 19" in (why_impossible(Promise(), 18, pool=10) or "")
    assert "at least 59" in (why_impossible(Promise(), 19, pool=20) or "")


def test_pool_too_small_for_its_model_is_not_helped_by_labels() -> None:
    # 13 of 400 wrong: of 50 rows 3 wrong ones are too many, and chance alone makes that often.
    rows = CalibrationRows(np.zeros(400, np.int32), np.full(400, 0.9), np.arange(400) >= 13)
    small, large = (
        counts_of(CalibrationRows(np.zeros(n, np.int32), np.full(n, 0.9), np.ones(n, bool)), 2)
        for n in (50, 50_000)
    )
    assert certify(Promise(), small, rows).claims[0].more_labels is None
    assert certify(Promise(), large, rows).claims[0].more_labels is not None


@pytest.mark.parametrize(("wrong", "n", "pool"), [(1, 90, 500), (1, 80, 10**9), (0, 12, 77)])
def test_missing_rows_are_the_fewest_that_pass_at_the_same_rate(
    wrong: int, n: int, pool: int
) -> None:
    rows = CalibrationRows(np.zeros(n, np.int32), np.full(n, 0.9), np.arange(n) >= wrong)
    counts = Counts(np.zeros((2, 1001), dtype=np.int64))
    counts.n[0, 900] = pool
    more = certify(Promise(), counts, rows).claims[0].more_labels
    total = next(
        size
        for size in range(1, 10_000)
        if p_value(int(np.ceil(wrong / n * size - 1e-9)), size, 1 - 0.95, pool) <= 1 - 0.95
    )
    assert more == total - n


def test_calibration_rows_take_the_first_of_equal_classes() -> None:
    P = np.array([[0.5, 0.5], [0.2, 0.8]])
    rows = CalibrationRows.from_scores(P, np.array([0, 0], dtype=np.int32))
    assert rows.codes.tolist() == [0, 1]
    assert rows.confidence.tolist() == [0.5, 0.8]
    assert rows.right.tolist() == [True, False]


def long_tail(n: int, chance: np.random.Generator) -> np.ndarray:
    """Draw labels, 90 % of them of two classes and 10 % of 400 others."""
    rare = chance.integers(2, 402, n)
    return np.where(chance.random(n) < 0.9, chance.integers(0, 2, n), rare).astype(np.int32)


def test_long_tail_of_labels_breaks_no_promise() -> None:
    broken = 0
    for seed in range(40):
        chance = np.random.default_rng(seed)
        labeled, pool = long_tail(500, chance), long_tail(20_000, chance)
        alone = fold_of(labeled, chance.permutation(500).astype(np.int64)) == NEVER_HELD_OUT
        tested = labeled[~alone]
        # All that a model could know it knows; it is as sure of what it could not.
        sure = np.round(chance.uniform(0.5, 1.0, len(tested)), 6)
        right = np.ones(len(tested), dtype=bool)
        rows = CalibrationRows(np.minimum(tested, 2), sure, right, only_ones=int(alone.sum()))
        known, confidence = np.isin(pool, labeled), np.round(chance.uniform(0.5, 1.0, 20_000), 6)
        said = CalibrationRows(np.where(known, np.minimum(pool, 2), 0), confidence, known)
        cut = certify(Promise(), counts_of(said, 3), rows).claims[0].cut
        broken += cut is not None and known[confidence >= cut].mean() < 0.95
    assert broken <= 2


@pytest.mark.parametrize("per", ["all", "class"])
def test_row_that_is_the_only_one_of_its_label_is_wrong_in_every_claim(per: str) -> None:
    pool, rows = calibrated(2000, 0)
    more = CalibrationRows(rows.codes, rows.confidence, rows.right, only_ones=3)
    before, after = (certify(Promise(per=per), pool.counts(), one) for one in (rows, more))  # type: ignore[arg-type]
    assert after.n_calibration == before.n_calibration + 3
    assert after.n_only_ones == 3
    assert all(claim.wrong >= 3 for claim in after.claims)


@pytest.mark.parametrize(
    ("per", "by_class", "n_rows"),
    [
        ("class", [54_291_098, 45_708_902], 2000),
        ("all", [999_999_999, 1], 155),
        ("all", [500_000_000, 500_000_000], 155),
    ],
)
def test_pool_of_any_size_has_a_sequence_of_cuts(
    per: str, by_class: list[int], n_rows: int
) -> None:
    pool = Counts(np.zeros((2, 1001), dtype=np.int64))
    pool.n[:, 950] = by_class
    codes = (np.arange(n_rows) % 2).astype(np.int32)
    rows = CalibrationRows(codes, np.full(n_rows, 0.95), np.ones(n_rows, dtype=bool))
    found = certify(Promise(per=per), pool, rows)  # type: ignore[arg-type]
    assert found.claimed
    assert found.coverage == 1.0


def test_copies_count_once_and_values_that_many_rows_share_not_less() -> None:
    pool, rows = calibrated(2000, 0)
    units, hashes = np.repeat(np.arange(1000), 2), np.arange(2000, dtype=np.int64)
    twice = CalibrationRows(
        rows.codes.repeat(2)[:2000],
        rows.confidence.repeat(2)[:2000],
        rows.right.repeat(2)[:2000],
        dependence=Dependence(units, hashes),
    )
    half = CalibrationRows(rows.codes[:1000], rows.confidence[:1000], rows.right[:1000])
    once, alone = (certify(Promise(), pool.counts(), one) for one in (twice, half))
    assert len(twice) == once.n_calibration == 1000
    assert [(c.n, c.wrong) for c in once.claims] == [(c.n, c.wrong) for c in alone.claims]
    # 30 % of all rows are equal, and wrong: as one row they would not count.
    wrong = np.arange(2000) < 600
    common = CalibrationRows(
        np.zeros(2000, np.int32),
        np.full(2000, 0.9),
        ~wrong,
        dependence=Dependence(np.where(wrong, 0, np.arange(2000)), hashes),
    )
    assert not certify(Promise(), pool.counts(), common).claimed


def sessions(n: int, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw sessions of 1 to 3 rows, one in ten of 20, whose rows are wrong in one of eight."""
    sizes = np.where(chance.random(n) < 0.1, 20, chance.integers(1, 4, n))
    right = ~((sizes == 20) & (chance.random(n) < 0.13))
    groups = np.repeat(np.arange(n), sizes)
    return groups, right[groups]


@pytest.mark.parametrize("n_pool", [100, 2000])
def test_sessions_whose_errors_follow_their_size_break_no_promise(n_pool: int) -> None:
    broken = as_rows = 0
    for seed in range(100):
        chance = np.random.default_rng(seed)
        (units, right), (groups, truth) = (sessions(n, chance) for n in (2000, n_pool))
        rows = CalibrationRows(np.zeros(len(units), np.int32), np.full(len(units), 0.9), right)
        pool = CalibrationRows(np.zeros(len(groups), np.int32), np.full(len(groups), 0.9), truth)
        sizes = np.bincount(np.bincount(groups))
        told = GroupSizes({n: int(count) for n, count in enumerate(sizes) if n and count})
        hashes = chance.permutation(len(units)).astype(np.int64)
        grouped = replace(rows, dependence=Dependence(units, hashes, told))
        one_each = first_of(units, hashes)
        for_each = CalibrationRows(rows.codes[one_each], rows.confidence[one_each], right[one_each])
        found, naive = (certify(Promise(), counts_of(pool, 2), one) for one in (grouped, for_each))
        broken += found.claimed and truth.mean() < 0.95
        as_rows += naive.claimed and truth.mean() < 0.95
    assert broken <= 9  # 5 % of 100 and two standard deviations
    assert as_rows > 60  # one row of each session speaks of sessions, not of rows


@pytest.mark.parametrize("size", [1, 5])
def test_sessions_of_one_size_are_as_good_as_their_number(size: int) -> None:
    groups = np.repeat(np.arange(200), size)
    n = len(groups)
    rows = CalibrationRows(
        np.zeros(n, np.int32),
        np.full(n, 0.9),
        np.ones(n, bool),
        dependence=Dependence(groups, np.arange(n, dtype=np.int64), GroupSizes({size: 1000})),
    )
    counts = Counts(np.zeros((2, 1001), dtype=np.int64))
    counts.n[0, 900] = 1000 * size
    found = certify(Promise(), counts, rows)
    assert found.claims[0].n == found.n_calibration == 200
    assert found.claims[0].bound == pytest.approx(1 - most_wrong(0, 200, 1000, 1 - 0.95) / 1000)


def test_each_class_says_what_was_found_of_it() -> None:
    codes = np.repeat([0, 1], [1900, 100]).astype(np.int32)
    right = np.ones(2000, dtype=bool)
    right[-18:] = False
    rows = CalibrationRows(codes, np.full(2000, 0.9), right)
    found = certify(Promise(), counts_of(rows, 3), rows)
    assert found.claimed
    assert [(c.code, c.n, c.wrong, c.published) for c in found.by_class] == [
        (0, 1900, 0, 1900),
        (1, 100, 18, 100),
        (2, 0, 0, 0),
    ]
    assert found.by_class[0].lower > 0.99
    assert found.by_class[1].upper < 0.95
    assert (found.by_class[2].lower, found.by_class[2].upper) == (0.0, 1.0)
    assert certify(Promise(), counts_of(rows, 3), rows, refused="shift").by_class == ()


@pytest.mark.parametrize(
    ("wrong", "n", "n_pool", "outlook"),
    [
        (60, 400, 4000, "model"),
        (22, 400, 4000, "unclear"),
        (13, 400, 4000, "labels"),
        (0, 30, 4000, "labels"),
        (10, 400, 60, "pool"),
    ],
)
def test_labels_are_asked_for_only_where_they_would_do(
    wrong: int, n: int, n_pool: int, outlook: str
) -> None:
    rows = CalibrationRows(np.zeros(n, np.int32), np.full(n, 0.9), np.arange(n) >= wrong)
    counts = Counts(np.zeros((2, 1001), dtype=np.int64))
    counts.n[0, 900] = n_pool
    claim = certify(Promise(), counts, rows).claims[0]
    assert claim.cut is None
    assert claim.outlook == outlook
    assert (claim.more_labels is None) == (outlook != "labels")
