from __future__ import annotations

from typing import Any

import pytest

from spark_pseudolabel.core.facts import DependentRules, RuleFacts, RulesFound
from spark_pseudolabel.job.rules import rules_warnings, teacher_of_rules


def found(**changes: Any) -> RulesFound:
    rule = RuleFacts("prize", "spam", 0.5, 0.2, 0.1, 0.1, 0.9, None, 0)
    facts: dict[str, Any] = {
        "method": "em",
        "why": None,
        "rows": 1000,
        "prior": (0.8, 0.2),
        "rules": (rule, RuleFacts("short", "ham", 0.5, 0.6, 0.1, 0.1, 0.99, None, 0)),
        "dependent": (),
        "disagree": 0.1,
        "outvoted": 0.0,
        "better": None,
        "worse": None,
    }
    return RulesFound(**{**facts, **changes})


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, []),
        ({"method": "majority", "why": "few_rules"}, ["rules_by_majority"]),
        ({"better": 3, "worse": 12}, ["label_model_worse"]),
        ({"better": 3, "worse": 6}, []),  # as chance may have it
        ({"better": 12, "worse": 3}, []),
        ({"method": "majority", "why": "worse_than_chance", "better": 0, "worse": 9},
         ["rules_by_majority"]),
        ({"disagree": 0.25}, ["label_model_overrules"]),
        ({"outvoted": 0.06}, ["label_model_overrules"]),
        ({"dependent": (DependentRules(("a", "b"), 90, 40.0, 0.4),)}, ["rules_dependent"]),
        ({"dependent": (DependentRules(("a", "b"), 0, 40.0, -0.4),)}, []),
        ({"rules": (RuleFacts("never", "x", 0.0, 0.0, 0.0, 0.0, None, None, 0),)},
         ["rule_without_votes"]),
        ({"rows": 0, "why": "few_rules", "method": "majority"}, []),
    ],
)  # fmt: skip
def test_warns_where_votes_are_counted_or_weighed_wrongly(
    changes: dict[str, Any], codes: list[str]
) -> None:
    assert [warning.code for warning in rules_warnings(found(**changes))] == codes


def test_without_rules_there_is_nothing_to_warn_of() -> None:
    assert rules_warnings(None) == []


def test_report_has_the_shares_by_label() -> None:
    teacher = teacher_of_rules(found(), ("ham", "spam"), 7)
    assert teacher.label_model is not None
    assert teacher.label_model.shares == {"ham": 0.8, "spam": 0.2}
    assert (teacher.abstained, teacher.members[0].label) == (7, "spam")
