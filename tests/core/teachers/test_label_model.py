from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.label_model import (
    KnownVotes,
    Patterns,
    Rates,
    RuleModel,
    dependent_rules,
    majority_shares,
    precisions,
    vote_weights,
    votes_in,
)

Votes = NDArray[np.bool_]
Codes = NDArray[np.int64]
NOTHING_KNOWN = np.array([], dtype=np.int32)


def drawn(
    seed: int, shares: list[float], rules: list[int], n: int = 20_000
) -> tuple[Votes, Codes, Codes]:
    """Votes of rules that are independent within classes, the true codes, and the rules' codes."""
    chance = np.random.default_rng(seed)
    codes, of_rules = chance.choice(len(shares), size=n, p=shares), np.array(rules)
    own = chance.uniform(0.15, 0.45, len(rules))
    wrong = own * chance.uniform(0.05, 0.3, len(rules))
    rate = np.where(codes[:, np.newaxis] == of_rules, own, wrong)
    return chance.random((n, len(rules))) < rate, codes, of_rules


def fitted(
    votes: Votes,
    rules: Codes,
    n_classes: int,
    known: KnownVotes | None = None,
    prior: list[float] | None = None,
) -> RuleModel:
    nothing = KnownVotes(votes[:0], NOTHING_KNOWN)
    labels = [f"c{code}" for code in range(n_classes)]
    patterns = Patterns.of(votes)
    given = None if prior is None else np.array(prior)
    return RuleModel(rules.tolist()).fit_patterns(patterns, labels, known or nothing, given)


def dawid_skene(votes: Votes, rules: Codes, n_classes: int) -> NDArray[np.float64]:
    """Dawid and Skene's EM, row by row, "no vote" an answer; accuracy of each rule's votes."""
    n = np.stack([votes[:, rules == code].sum(axis=1) for code in range(n_classes)], axis=1)
    most = (n == n.max(axis=1, keepdims=True)) & (n > 0)
    silent = ~votes.any(axis=1)
    P = most / np.maximum(most.sum(axis=1, keepdims=True), 1)
    P[silent] = P[~silent].mean(axis=0)
    for _ in range(800):
        shares = P.mean(axis=0)
        says = np.stack([P.T @ votes, P.T @ ~votes], axis=2) / P.sum(axis=0)[:, None, None]
        joint = np.tile(shares, (len(votes), 1))
        for rule in range(len(rules)):
            answer = np.where(votes[:, rule], 0, 1)
            joint = joint * says[:, rule, :][:, answer].T
        P = joint / joint.sum(axis=1, keepdims=True)
    return np.array([P[votes[:, j], rules[j]].mean() for j in range(len(rules))])


@pytest.mark.parametrize(
    ("shares", "rules"),
    [
        ([0.5, 0.5], [0, 0, 1, 1, 1]),
        ([0.85, 0.15], [0, 0, 0, 1, 1, 1, 1, 1]),
        ([0.5, 0.3, 0.2], [0, 0, 0, 1, 1, 1, 2, 2, 2]),
    ],
)
def test_accuracies_are_those_of_dawid_and_skene_and_near_the_truth(
    shares: list[float], rules: list[int]
) -> None:
    votes, codes, of_rules = drawn(0, shares, rules, 6000)
    model = fitted(votes, of_rules, len(shares))
    patterns = Patterns.of(votes)
    P = model.predict_proba(patterns.votes.astype(float))
    estimated = precisions(P, patterns, of_rules)
    assert model.method_ == "em"
    assert np.abs(estimated - dawid_skene(votes, of_rules, len(shares))).max() < 0.02
    true = [(codes[votes[:, j]] == rule).mean() for j, rule in enumerate(rules)]
    assert np.abs(estimated - true).max() < 0.12


@pytest.mark.parametrize("seed", range(4))
def test_weighs_votes_better_than_the_majority_where_rules_are_independent(seed: int) -> None:
    votes, codes, rules = drawn(seed, [0.8, 0.2], [0, 0, 0, 1, 1, 1, 1])
    covered = votes.any(axis=1)
    model = fitted(votes, rules, 2)
    by_model = model.predict_proba(votes.astype(float)).argmax(axis=1)
    by_majority = majority_shares(votes, rules, 2).argmax(axis=1)
    right = [(by == codes)[covered].mean() for by in (by_model, by_majority)]
    assert right[0] > right[1]
    assert model.prior_ == pytest.approx([0.8, 0.2], abs=0.05)


def test_abstains_where_no_rule_votes() -> None:
    votes, _, rules = drawn(0, [0.5, 0.5], [0, 0, 1, 1])
    model = fitted(votes, rules, 2)
    assert (model.predict_proba(np.array([[0.0] * 4, [np.nan] * 4])) == 0).all()
    assert model.predict_proba(np.eye(4)).sum(axis=1) == pytest.approx(1)
    assert model.predict(np.eye(4)).tolist() == ["c0", "c0", "c1", "c1"]


def test_counts_votes_where_rules_are_too_few_to_tell_how_right_they_are() -> None:
    votes, _, rules = drawn(0, [0.5, 0.5], [0, 1])
    model = fitted(votes, rules, 2)
    assert (model.method_, model.why_) == ("majority", "few_rules")
    P = model.predict_proba(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    assert P.tolist() == [[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]


def other_classes(n: int) -> tuple[Votes, Codes, Codes]:
    """Rules of one class that all see the same half of the rows, and few that see the class."""
    chance = np.random.default_rng(1)
    codes, half = chance.integers(2, size=n), chance.random(n) < 0.5
    same = [(half & (chance.random(n) < 0.9)) for _ in range(3)]
    against = [half & (codes == 0) & (chance.random(n) < 0.9), ~half & (chance.random(n) < 0.5)]
    own = [(codes == code) & (chance.random(n) < 0.3) for code in (0, 1)]
    return np.stack([*same, *against, *own], axis=1), codes, np.array([1, 1, 1, 0, 0, 0, 1])


def test_counts_votes_where_other_classes_than_those_meant_explain_them() -> None:
    votes, _, rules = other_classes(8000)
    model = fitted(votes, rules, 2)
    assert (model.method_, model.why_) == ("majority", "worse_than_chance")


def test_labels_say_that_a_rule_is_really_worse_than_chance() -> None:
    votes, codes, rules = drawn(2, [0.5, 0.5], [0, 0, 0, 1, 1, 1])
    rules = np.array([*rules[:5], 0])  # the last one votes for the wrong class
    assert fitted(votes, rules, 2).why_ == "worse_than_chance"
    known = KnownVotes(votes[:400], codes[:400].astype(np.int32))
    model = fitted(votes[400:], rules, 2, known)
    assert model.method_ == "em"
    assert vote_weights(Rates(model.rates_, model.prior_), rules)[-1] < 0


def test_known_rows_count() -> None:
    votes, codes, rules = drawn(3, [0.5, 0.5], [0, 0, 1, 1, 1], 300)
    known = KnownVotes(votes[:200], codes[:200].astype(np.int32))
    rates = [fitted(votes[200:], rules, 2, known).rates_, fitted(votes, rules, 2).rates_]
    true = np.stack([votes[codes == code].mean(axis=0) for code in range(2)], axis=1)
    assert np.abs(rates[0] - true).mean() < np.abs(rates[1] - true).mean()


def test_given_shares_are_kept() -> None:
    votes, _, rules = drawn(4, [0.8, 0.2], [0, 0, 1, 1, 1])
    assert fitted(votes, rules, 2, prior=[0.8, 0.2]).prior_ == pytest.approx([0.8, 0.2])


def test_empty_pool_is_fitted_on_known_rows() -> None:
    votes, codes, rules = drawn(5, [0.5, 0.5], [0, 0, 1, 1])
    known = KnownVotes(votes, codes.astype(np.int32))
    model = fitted(votes[:0], rules, 2, known)
    assert np.isfinite(model.predict_proba(votes.astype(float))).all()


def test_independent_rules_are_hardly_ever_called_dependent() -> None:
    alarms = 0
    for seed in range(20):
        votes, _, rules = drawn(seed, [0.6, 0.4], [0, 0, 0, 1, 1, 1, 1, 1], 4000)
        alarms += bool(dependent_rules(Patterns.of(votes), rules, 2, [str(r) for r in range(8)]))
    assert alarms <= 1


def test_a_rule_that_repeats_another_one_is_told() -> None:
    votes, _, rules = drawn(6, [0.6, 0.4], [0, 0, 0, 1, 1, 1, 1])
    chance = np.random.default_rng(0)
    again = votes[:, 3] ^ (chance.random(len(votes)) < 0.02)
    votes, rules = np.column_stack([votes, again]), np.append(rules, 1)
    found = dependent_rules(Patterns.of(votes), rules, 2, [f"r{j}" for j in range(8)])
    assert found[0].rules == ("r3", "r7")
    assert found[0].correlation > 0.5
    assert found[0].rows > found[0].expected


def test_votes_are_ones() -> None:
    X = np.array([[1.0, 0.0, np.nan]])
    assert votes_in(X).tolist() == [[True, False, False]]
