"""Teacher ``rules``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import StrictBool, StrictInt, StrictStr, field_validator, model_validator

from spark_pseudolabel.core.teachers.kind import TeacherKind
from spark_pseudolabel.core.teachers.rule_text import problem_of_rule
from spark_pseudolabel.fields import Section, Text, wrong_section

if TYPE_CHECKING:
    from spark_pseudolabel.core.features import Feature
    from spark_pseudolabel.core.teachers.teacher import Teacher


class Rule(Section):
    """A rule: it votes for ``label`` on the rows on which ``when`` is true, and on no other.

    ``when`` is a condition in Spark's SQL. In Python it may be a function of columns, of which
    ``function`` says then which one it is.
    """

    name: Text
    label: StrictBool | StrictInt | StrictStr
    when: Text | None = None
    function: Text | None = None

    @field_validator("when")
    @classmethod
    def _of_one_row(cls, when: str | None) -> str | None:
        if when is not None and (problem := problem_of_rule(when)):
            raise wrong_section(f"{problem}: a rule is a condition on one row.")
        return when

    @model_validator(mode="after")
    def _one_condition(self) -> Rule:
        if (self.when is None) == (self.function is None):
            raise wrong_section("must have when, a condition in Spark's SQL.")
        return self


class RulesKind(TeacherKind):
    """``rules``: each votes for a label or not at all, and a label model weighs the votes.

    They take no labeled row: with ``labeled: null`` the classes are those that they name.
    """

    key: ClassVar = "rules"
    needs_labels: ClassVar = False
    student_by_default: ClassVar = True

    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _names_apart(self) -> RulesKind:
        if not self.rules:
            raise wrong_section("must hold a rule: {name: ..., label: ..., when: ...}.")
        names = [rule.name for rule in self.rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise wrong_section(f"must name every rule once. {twice!r} stands there twice.")
        return self

    @property
    def labels(self) -> list[str | int | bool]:
        """Those that the rules vote for, each once."""
        return list(dict.fromkeys(rule.label for rule in self.rules))

    def build(self, features: Sequence[Feature], random_state: int) -> Teacher:
        """Make the teacher; its features are the votes, whatever the rules say."""
        from spark_pseudolabel.core.teachers.rules import Rules

        return Rules(
            names=tuple(rule.name for rule in self.rules),
            labels=tuple(rule.label for rule in self.rules),
            random_state=random_state,
        )
