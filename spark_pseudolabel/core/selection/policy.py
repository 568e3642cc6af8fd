"""What a selection policy is: parameters that a configuration gives, and the rule behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision
from spark_pseudolabel.fields import Section


@dataclass(frozen=True)
class RoundContext:
    """What a policy may know of a round besides the counts.

    Parameters
    ----------
    number
        1 for the first round.
    labeled
        Labeled rows by class index.
    """

    number: int
    labeled: Sequence[int] = ()


class Policy(Section):
    """A policy as ``selection`` names it: its fields are the keys of that section.

    One class in a file of :mod:`spark_pseudolabel.core.selection.policies` is all that a policy
    takes; the configuration, its schema and its messages are derived from the class.
    """

    policy: str
    """The name; each policy narrows it to a literal."""

    grows: ClassVar[bool] = False
    """Whether each round accepts a larger share of the whole pool, every row decided anew."""

    new_rows: ClassVar[Literal["by_parameters", "by_stored_cuts", "never"]] = "never"
    """What decides rows outside the pool: the parameters alone, the cuts that the pool gave, or
    nothing, where a cut depends on the other rows of the pool."""

    like_sklearn: ClassVar[bool] = False
    """Whether ``SelfTrainingClassifier`` has it, so that ``mode: sklearn`` may."""

    @property
    def uses_labeled_counts(self) -> bool:
        """Whether the rule depends on how many labeled rows each class has."""
        return False

    def to_rule(self, labeled: Sequence[int]) -> dict[str, Any]:
        """Return the form kept with a plan: the parameters, and the labeled rows if they count."""
        rule = self.model_dump(mode="json")
        return rule | {"labeled": list(labeled)} if self.uses_labeled_counts else rule


class CountingPolicy(Policy, ABC):
    """A policy that decides by counts alone, so that the order of rows plays no part."""

    @abstractmethod
    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Return cuts or quotas for every class."""
