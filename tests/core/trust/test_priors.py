from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.trust.priors import (
    correct,
    estimate_prior,
    may_estimate,
    missing,
    shares,
    thinned,
)

EVEN = np.full(3, 1 / 3)


def balanced_scores(prior: list[float], n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows under a prior with the exact posteriors of a model learned on balanced rows."""
    chance = np.random.default_rng(0)
    codes = chance.choice(len(prior), n, p=prior)
    distance = chance.normal(size=(n, len(prior)))
    distance[np.arange(n), codes] += 2.0
    likelihood = np.exp(2.0 * distance)
    return likelihood / likelihood.sum(axis=1, keepdims=True), codes


def test_em_finds_the_prior_of_the_pool() -> None:
    P, _ = balanced_scores([0.8, 0.15, 0.05])
    assert estimate_prior(P, EVEN) == pytest.approx([0.8, 0.15, 0.05], abs=0.03)


def test_known_prior_corrects_the_labels() -> None:
    P, codes = balanced_scores([0.9, 0.05, 0.05])
    corrected = correct(P, EVEN, np.array([0.9, 0.05, 0.05]))
    right = (P.argmax(axis=1) == codes).mean()
    assert (corrected.argmax(axis=1) == codes).mean() > right + 0.02


def test_row_that_the_prior_rules_out_stays_as_it_was() -> None:
    P = np.array([[0.0, 1.0]])
    assert (correct(P, np.array([0.5, 0.5]), np.array([1.0, 0.0])) == P).all()


def test_shares_count_each_row_by_its_weight() -> None:
    codes = np.array([0, 1, 1, 0], dtype=np.int32)
    assert shares(codes, 3).tolist() == [0.5, 0.5, 0.0]
    assert shares(codes, 2, np.array([1.0, 3.0, 3.0, 1.0])).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("drawn", "labeled", "allowed"),
    [
        ("per_class", [50, 50], True),
        ("per_class", [50, 49], False),
        ("random", [500, 500], False),
    ],
)
def test_prior_is_estimated_only_where_declared_and_with_enough_rows(
    drawn: str, labeled: list[int], allowed: bool
) -> None:
    assert may_estimate(drawn, labeled) is allowed


def test_thinned_rows_follow_the_prior() -> None:
    codes = np.repeat([0, 1, 2], 100).astype(np.int32)
    hashes = np.random.default_rng(0).permutation(300).astype(np.int64)
    kept = thinned(codes, hashes, np.array([0.8, 0.15, 0.05]))
    assert np.bincount(codes[kept]).tolist() == [100, 19, 6]
    order = np.random.default_rng(1).permutation(300)
    assert (thinned(codes[order], hashes[order], np.array([0.8, 0.15, 0.05])) == kept[order]).all()


def many_rare(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of 26 classes, 150 each, of which the pool holds 25 rarely, and their prior."""
    codes = np.repeat(np.arange(26), 150).astype(np.int32)
    hashes = np.random.default_rng(seed).integers(-(2**63), 2**63, len(codes), dtype=np.int64)
    return codes, hashes, np.array([0.875, *[0.005] * 25])


@pytest.mark.parametrize("seed", range(20))
def test_rare_classes_keep_their_share_of_the_rows_together(seed: int) -> None:
    codes, hashes, prior = many_rare(seed)
    kept = np.bincount(codes[thinned(codes, hashes, prior)], minlength=26)
    assert kept.sum() == 171
    assert (np.abs(kept - 150 / 0.875 * prior) <= 1).all()


def test_every_rare_class_has_its_turn() -> None:
    kept = np.zeros(26)
    for seed in range(200):
        codes, hashes, prior = many_rare(seed)
        kept += np.bincount(codes[thinned(codes, hashes, prior)], minlength=26)
    assert kept[1:] / 200 == pytest.approx(171 * 0.005, abs=0.12)


def test_only_a_class_with_a_share_is_missed() -> None:
    codes = np.array([2, -1], dtype=np.int32)
    assert missing(codes, np.array([0.0, 0.5, 0.5, 0.0])) == [1]


def test_thinning_keeps_rows_whose_label_is_unknown() -> None:
    codes = np.array([0, -1, 1, 0], dtype=np.int32)
    kept = thinned(codes, np.arange(4, dtype=np.int64), np.array([0.5, 0.5]))
    assert kept.tolist() == [True, True, True, False]


def test_class_that_the_pool_does_not_hold_is_left_out() -> None:
    codes = np.array([0, 0, 1], dtype=np.int32)
    kept = thinned(codes, np.arange(3, dtype=np.int64), np.array([1.0, 0.0]))
    assert kept.tolist() == [True, True, False]
