from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.selection.policies import read_policy
from tests.core.candidates import Rows, plan_for

FLEXMATCH = {"policy": "flexmatch", "threshold": 0.95}
FREEMATCH = {"policy": "freematch"}
CREST = {"policy": "crest", "alpha": 0.5, "labeled": [80, 20, 5]}
QUOTAS = {
    "policy": "quotas",
    "step": 0.2,
    "by": "labeled",
    "labeled": [80, 20, 5],
    "min_per_class": None,
    "max_per_class": None,
}
RULES: list[dict[str, Any]] = [
    FLEXMATCH,
    FREEMATCH,
    CREST,
    QUOTAS,
    QUOTAS | {"by": "uniform", "min_per_class": 3},
    QUOTAS | {"by": "pool", "max_per_class": 7},
]


def rows_of(*classes: list[float]) -> Rows:
    triples = [
        (code, confidence, (code, i))
        for code, confidences in enumerate(classes)
        for i, confidence in enumerate(confidences)
    ]
    return Rows.of(*triples, n_classes=len(classes))


def confidences(plan: Plan) -> list[float | None]:
    return [None if cut is None else cut.confidence for cut in plan.cuts]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_order_of_rows_changes_nothing(seed: int, rule: dict[str, Any]) -> None:
    rows = Rows.random(seed)
    assert plan_for(rule, rows.shuffled(seed + 1), 1) == plan_for(rule, rows, 1)


@pytest.mark.parametrize("rule", RULES)
def test_no_candidates_are_no_error(rule: dict[str, Any]) -> None:
    assert Rows.of(n_classes=3).accepted(plan_for(rule, Rows.of(n_classes=3), 1)) == set()


@pytest.mark.parametrize("rule", RULES)
def test_parameters_alone_do_not_decide_new_rows(rule: dict[str, Any]) -> None:
    assert read_policy(rule).new_rows != "by_parameters"


def test_flexmatch_lowers_the_threshold_of_classes_that_few_rows_reach() -> None:
    # sigma = 8 and 4 of 12 rows, none below: beta = 1 and 1/2, M = 1 and 1/3.
    plan = plan_for(FLEXMATCH, rows_of([0.99] * 8, [0.99] * 4), 1)
    assert plan.cuts == (Cut(0.95, "all"), Cut(0.5, "all"))


def test_flexmatch_warms_up_while_most_rows_are_unsure() -> None:
    # sigma = 2, below the threshold 8: beta = 1/4, M = 1/7.
    plan = plan_for(FLEXMATCH | {"threshold": 0.7}, rows_of([0.9] * 2 + [0.6] * 8, [], [], []), 1)
    assert confidences(plan)[0] == 0.25
    twice = plan_for(FLEXMATCH, rows_of([0.99] * 8, [0.99] * 6), 1)
    assert confidences(twice) == pytest.approx([0.95, 0.95 * 0.75 / 1.25])


def test_threshold_itself_counts_as_reached() -> None:
    plan = plan_for(FLEXMATCH, rows_of([0.95] * 4, [0.949999] * 4), 1)
    assert confidences(plan) == [0.95, 0.5]


def test_freematch_threshold_is_the_mean_confidence_of_the_largest_class() -> None:
    plan = plan_for(FREEMATCH, rows_of([0.9] * 6, [0.7] * 4, []), 1)
    assert confidences(plan) == pytest.approx([0.82, 0.82 * 2.8 / 5.4, 1 / 3])


def test_crest_keeps_all_rows_of_the_rarest_class() -> None:
    rows = rows_of(*[list(np.linspace(0.5, 0.9, 40).round(6))] * 3)
    plan = plan_for(CREST, rows, 1)
    accepted = [code for code, _ in rows.accepted(plan)]
    # (5/80)^.5 = 0.25, (20/80)^.5 = 0.5, (80/80)^.5 = 1.
    assert [accepted.count(code) for code in range(3)] == [10, 20, 40]


def test_quotas_follow_the_labeled_rows_within_caps_and_floors() -> None:
    rows = rows_of(*[list(np.linspace(0.5, 0.9, 35).round(6))] * 3)

    def accepted(**settings: Any) -> list[int]:
        found = [code for code, _ in rows.accepted(plan_for(QUOTAS | settings, rows, 1))]
        return [found.count(code) for code in range(3)]

    # A fifth of 105 rows is 21: 16, 4 and 1 by the labeled rows.
    assert accepted() == [16, 4, 1]
    assert accepted(min_per_class=3) == [16, 4, 3]
    assert accepted(max_per_class=10) == [10, 4, 1]
    assert accepted(by="uniform") == [7, 7, 7]


def test_quotas_grow_with_the_rounds() -> None:
    rows = rows_of([0.9] * 10, [0.8] * 10)
    rule = QUOTAS | {"labeled": [1, 1]}
    assert [len(rows.accepted(plan_for(rule, rows, r))) for r in (1, 3, 7)] == [4, 12, 20]
