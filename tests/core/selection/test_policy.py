"""What holds for every policy with a confidence or a quota for each class."""

from __future__ import annotations

from typing import Any

import pytest

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
