from __future__ import annotations

from typing import Any

import pytest

from spark_pseudolabel.core.selection.exact import plan_of_parameters
from spark_pseudolabel.core.selection.plan import Cut
from spark_pseudolabel.core.selection.policies import read_policy
from tests.core.candidates import Rows, plan_for

ONE_SHOT = {"policy": "one_shot"}
THRESHOLD = {"policy": "threshold", "threshold": 0.9}
SEEDS = range(25)


def k_best(k: int) -> dict[str, Any]:
    return {"policy": "k_best", "k": k}


def top_k(k: int) -> dict[str, Any]:
    return {"policy": "top_k_per_class", "k": k}


def percentile(step: float) -> dict[str, Any]:
    return {"policy": "percentile", "step": step}


RULES = [ONE_SHOT, THRESHOLD, k_best(7), top_k(4), percentile(0.3)]

ROWS = Rows.of((0, 0.95, 1), (0, 0.9, 2), (1, 0.900001, 3), (1, 0.5, 4), (0, 0.0, 5))


@pytest.mark.parametrize(
    ("rule", "accepted"),
    [
        (ONE_SHOT, {1, 2, 3, 4, 5}),
        (THRESHOLD, {1, 3}),  # strictly above
        ({"policy": "threshold", "threshold": 0.0}, {1, 2, 3, 4}),
        (k_best(1), {1}),
        (k_best(2), {1, 3}),
        (k_best(3), {1, 2, 3}),
        (k_best(99), {1, 2, 3, 4, 5}),
        (top_k(1), {1, 3}),
        (top_k(2), {1, 2, 3, 4}),
        (percentile(0.2), {1}),
        (percentile(0.21), {1, 3}),  # a share is rounded up
        (percentile(1.0), {1, 2, 3, 4, 5}),
    ],
)
def test_accepted_rows(rule: dict[str, Any], accepted: set[int]) -> None:
    assert ROWS.accepted(plan_for(rule, ROWS, 1)) == {(key,) for key in accepted}


@pytest.mark.parametrize(
    ("rule", "cuts"),
    [
        (ONE_SHOT, (Cut(0.0, "all"), Cut(0.0, "all"))),
        (THRESHOLD, (Cut(0.9), Cut(0.9))),
        (k_best(3), (Cut(0.9, "all"), Cut(0.9, "all"))),
        (top_k(1), (Cut(0.95, "all"), Cut(0.900001, "all"))),
        (top_k(2), (Cut(0.9, "all"), Cut(0.0, "all"))),
    ],
)
def test_cuts_are_exact(rule: dict[str, Any], cuts: tuple[Cut, ...]) -> None:
    assert plan_for(rule, ROWS, 1).cuts == cuts


@pytest.mark.parametrize(
    ("n", "accepted"),
    [(1, {9}), (2, {9, 3}), (3, {9, 3, 7}), (4, {9, 3, 7, 8}), (5, {9, 3, 7, 8, 1})],
)
def test_ties_go_to_the_lower_key(n: int, accepted: set[int]) -> None:
    rows = Rows.of((0, 0.8, 8), (1, 0.8, 3), (0, 0.9, 9), (0, 0.1, 1), (0, 0.8, 7))
    found = rows.accepted(plan_for(k_best(n), rows, 1))
    assert found == {(key,) for key in accepted}


def test_ties_of_pairs_go_by_file_and_then_row_index() -> None:
    rows = Rows.of((0, 0.8, ("b", 0)), (0, 0.8, ("a", 10)), (0, 0.8, ("a", 9)))
    plan = plan_for(k_best(2), rows, 1)
    assert rows.accepted(plan) == {("a", 9), ("a", 10)}


def test_string_ids_tie_as_text() -> None:
    rows = Rows.of((0, 0.8, "10"), (0, 0.8, "9"), (0, 0.8, "1"))
    assert rows.accepted(plan_for(k_best(2), rows, 1)) == {("1",), ("10",)}


def test_raw_confidences_that_differ_in_the_last_bit_do_not_tie() -> None:
    rows = Rows.of((0, 0.7, 1), (0, 0.7000000000000001, 2))
    assert rows.accepted(plan_for(k_best(1), rows, 1)) == {(2,)}


def test_class_without_candidates_has_no_cut_by_quota() -> None:
    rows = Rows.of((0, 0.8, 1), n_classes=3)
    plan = plan_for(top_k(5), rows, 1)
    assert plan.cuts == (Cut(0.0, "all"), None, None)
    assert not plan.accepts(1, 1.0, (7,))


@pytest.mark.parametrize("rule", RULES)
def test_no_candidates_accept_nothing(rule: dict[str, Any]) -> None:
    rows = Rows.of(n_classes=2)
    assert rows.accepted(plan_for(rule, rows, 1)) == set()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", SEEDS)
def test_plan_is_the_same_for_any_order(rule: dict[str, Any], seed: int) -> None:
    rows = Rows.random(seed)
    assert plan_for(rule, rows, 1) == plan_for(rule, rows.shuffled(seed + 1), 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 2, 10, 50, 1000])
def test_quota_accepts_exactly_the_best_rows(seed: int, k: int) -> None:
    rows = Rows.random(seed)
    found = rows.accepted(plan_for(k_best(k), rows, 1))
    assert len(found) == min(k, len(rows.keys))
    assert found == rows.best(k, range(3))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 5, 40])
def test_quota_per_class_accepts_the_best_rows_of_each(seed: int, k: int) -> None:
    rows = Rows.random(seed, n_classes=4)
    found = rows.accepted(plan_for(top_k(k), rows, 1))
    assert found == set().union(*(rows.best(k, [code]) for code in range(4)))


@pytest.mark.parametrize(
    ("rule", "cut"), [(ONE_SHOT, Cut(0.0, "all")), (THRESHOLD, Cut(0.9, "none"))]
)
def test_rules_without_quota_decide_new_rows(rule: dict[str, Any], cut: Cut) -> None:
    policy = read_policy(rule)
    assert policy.new_rows == "by_parameters"
    assert plan_of_parameters(policy, n_classes=3).cuts == (cut, cut, cut)


@pytest.mark.parametrize("rule", [k_best(3), top_k(3), percentile(0.2)])
def test_quotas_do_not_decide_new_rows(rule: dict[str, Any]) -> None:
    assert read_policy(rule).new_rows == "never"
