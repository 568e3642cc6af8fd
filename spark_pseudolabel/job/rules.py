"""What a run has found out about its rules: for the report, and what to be warned of."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binom

from spark_pseudolabel.core import facts
from spark_pseudolabel.core.facts import RulesFound
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.report.document import (
    DependentRules,
    LabelModel,
    Notice,
    Teacher,
    TeacherMember,
    label_key,
)
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.wording import counted

_NAMED = 3
_CHANCE = 0.05
_OUTVOTED = 0.05
"""Share of rows with a vote that a label model may give a class which no rule has voted for."""
_DISAGREE = 0.2
"""Share of them that it may give another class than most votes."""

_WHY = {
    "few_rules": "there are too few rules that vote on the same rows to tell how right each is",
    "worse_than_chance": "the classes that explain the votes best are not those that are meant: by "
    "them rules would be wrong more often than chance, as where rules of one class depend on each "
    "other",
}


def rules_found(store: RoundStore) -> RulesFound | None:
    """Return what model 1 has kept of the rules; None where there are none."""
    return store.models[0].training.rules


def teacher_of_rules(found: RulesFound, classes: Sequence[Label], abstained: int) -> Teacher:
    """Return what the report says of rules, and of how their votes were weighed."""
    return Teacher(
        kind="rules",
        parameters={},
        members=[
            TeacherMember(
                name=rule.name,
                weight=rule.weight,
                coverage=rule.coverage,
                accuracy=rule.estimated,
                label=rule.label,
                overlap=rule.overlap,
                conflict=rule.conflict,
                measured=rule.measured,
                n_measured=rule.n_measured,
            )
            for rule in found.rules
        ],
        abstained=abstained,
        label_model=LabelModel(
            method=found.method,
            why=found.why,
            rows=found.rows,
            shares=dict(zip(map(label_key, classes), found.prior, strict=True)),
            disagree=found.disagree,
            outvoted=found.outvoted,
            better=found.better,
            worse=found.worse,
            dependent=[
                DependentRules(
                    rules=list(pair.rules),
                    rows=pair.rows,
                    expected=pair.expected,
                    correlation=pair.correlation,
                )
                for pair in found.dependent
            ],
        ),
    )


def rules_warnings(found: RulesFound | None) -> list[Notice]:
    """Return what speaks against the labels that rules have given."""
    if found is None:
        return []
    return [
        *_silent(found),
        *_by_majority(found),
        *_worse_than_majority(found),
        *_doubtful(found),
        *_dependent(found.dependent),
    ]


def _silent(found: RulesFound) -> list[Notice]:
    silent = [rule.name for rule in found.rules if not rule.coverage]
    if not silent or not found.rows:
        return []
    return [
        Notice.about(
            "rule_without_votes",
            f"The rules {_some(silent)} vote on no row of the pool. Look at their conditions.",
            rules=silent,
        )
    ]


def _by_majority(found: RulesFound) -> list[Notice]:
    if found.why is None or not found.rows:
        return []
    return [
        Notice.about(
            "rules_by_majority",
            f"The rules' votes are counted, not weighed: {_WHY[found.why]}. Give unlabeled.prior, "
            "labeled rows, or rules that look at other columns.",
            why=found.why,
        )
    ]


def _worse_than_majority(found: RulesFound) -> list[Notice]:
    """Warn where labeled rows say that counting votes is right more often than weighing them."""
    if found.method != "em" or found.better is None or found.worse is None:
        return []
    n = found.better + found.worse
    # The sign test: of rows that one of the two alone has right, so many are the majority's.
    if found.worse <= found.better or binom.sf(found.worse - 1, n, 0.5) > _CHANCE:
        return []
    return [
        Notice.about(
            "label_model_worse",
            f"On labeled rows that it has not seen, the label model is alone right on "
            f"{found.better:,}, and the majority of the votes on {found.worse:,}: votes are "
            f"weighed wrongly.{_reasons(found)}",
            better=found.better,
            worse=found.worse,
        )
    ]


def _doubtful(found: RulesFound) -> list[Notice]:
    """Warn, whether or not there are labels, where the label model overrules most votes."""
    if found.method != "em" or (found.outvoted <= _OUTVOTED and found.disagree <= _DISAGREE):
        return []
    return [
        Notice.about(
            "label_model_overrules",
            f"The label model gives {found.disagree:.1%} of the rows with a vote another label "
            f"than most of their votes, and {found.outvoted:.1%} one that no rule has voted for. "
            f"It may have found other classes than those that are meant.{_reasons(found)}",
            disagree=found.disagree,
            outvoted=found.outvoted,
        )
    ]


def _reasons(found: RulesFound) -> str:
    return (
        " Rules that depend on each other are the usual reason; look at the accuracies that it "
        "gives them, and give unlabeled.prior if the classes' shares are known."
        + ("" if found.dependent else " None were found to.")
    )


def _dependent(found: Sequence[facts.DependentRules]) -> list[Notice]:
    """Warn of rules that say the same; that others exclude each other is in the report."""
    pairs = [pair for pair in found if pair.correlation > 0]
    if not pairs:
        return []
    named = "; ".join(
        f"{pair.rules[0]!r} and {pair.rules[1]!r} on {counted(pair.rows, 'row')} for about "
        f"{pair.expected:,.0f} (correlation {pair.correlation:+.2f})"
        for pair in pairs[:_NAMED]
    )
    more = f" and {counted(len(pairs) - _NAMED, 'more pair')}" if len(pairs) > _NAMED else ""
    return [
        Notice.about(
            "rules_dependent",
            f"Rules vote together more often than their classes explain: {named}{more}. The label "
            "model takes them for independent, and so counts what they have in common twice. Join "
            "rules that say the same.",
            pairs=len(pairs),
        )
    ]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    return shown + (f" and {len(names) - _NAMED:,} others" if len(names) > _NAMED else "")
