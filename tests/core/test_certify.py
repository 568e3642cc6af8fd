from __future__ import annotations

import json
from typing import Literal

import numpy as np
import pytest

from spark_pseudolabel.core.certify import (
    CalibrationRows,
    Certificate,
    Promise,
    certify,
    rows_needed,
    why_impossible,
)
from spark_pseudolabel.core.counts import Counts, bin_of
from spark_pseudolabel.core.crossfit import NEVER_HELD_OUT, fold_of
from spark_pseudolabel.core.finite import p_value
from spark_pseudolabel.evaluate.certificates import counts_of
from spark_pseudolabel.report.document import Certificate as CertificateDocument
from spark_pseudolabel.report.document import document
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
    # 4 of 100 wrong: of 50 rows 3 wrong ones are too many, and chance alone makes that often.
    rows = CalibrationRows(np.zeros(100, np.int32), np.full(100, 0.9), np.arange(100) % 25 > 0)
    small, large = (
        counts_of(CalibrationRows(np.zeros(n, np.int32), np.full(n, 0.9), np.ones(n, bool)), 2)
        for n in (50, 50_000)
    )
    assert certify(Promise(), small, rows).claims[0].more_labels is None
    assert certify(Promise(), large, rows).claims[0].more_labels is not None


@pytest.mark.parametrize(("wrong", "n", "pool"), [(1, 90, 500), (2, 100, 10**9), (0, 12, 77)])
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


def test_certificate_is_plain_json() -> None:
    pool, rows = calibrated(500, 0)
    found: Certificate = certify(Promise(per="class"), pool.counts(), rows)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["claims"][1]["codes"] == [1]
    assert data["precision"] == 0.95


@pytest.mark.parametrize("per", ["all", "class"])
def test_certificate_fits_the_schema_of_the_report(per: str) -> None:
    pool, rows = calibrated(500, 0)
    data = certify(Promise(per=per), pool.counts(), rows).to_dict()  # type: ignore[arg-type]
    claims = [claim | {"labels": claim["codes"]} for claim in data["claims"]]
    for claim in claims:
        del claim["codes"]
    assert document(CertificateDocument, data | {"claims": claims})["per"] == per


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
    assert after.to_dict()["n_only_ones"] == 3
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
