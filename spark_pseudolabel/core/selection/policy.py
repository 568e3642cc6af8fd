"""What a selection policy is: parameters that a configuration gives, and the rule behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision
from spark_pseudolabel.fields import Number, Section, Whole, wrong_section


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


class StableUnder(Section):
    """Corrupted copies of a row, all of which have to keep its label.

    ``swap``: how often a value is replaced by another pool row's, and a word of a text is dropped.
    ``noise``: what is added to numbers, as a multiple of their column's standard deviation.
    """

    copies: Annotated[Whole, Field(ge=1, le=100)] = 5
    swap: Annotated[Number, Field(ge=0, le=1)] = 0.15
    noise: Annotated[Number, Field(ge=0)] = 0.1

    @model_validator(mode="after")
    def _corrupts(self) -> StableUnder:
        if not self.swap and not self.noise:
            raise wrong_section("swap or noise must be above 0, or copies are the row itself.")
        return self


_ASKED_OF_ROWS = frozenset({"stable_under", "require"})


class Policy(Section):
    """A policy as ``selection`` names it: its fields are the keys of that section.

    One class in a file of :mod:`spark_pseudolabel.core.selection.policies` is all that a policy
    takes; the configuration, its schema and its messages are derived from the class.
    """

    policy: str
    """The name; each policy narrows it to a literal."""

    stable_under: StableUnder | None = None
    """Which copies have to keep a row's label for it to be accepted; None: none is made."""

    require: Literal["all", "majority"] | None = None
    """How many members of the model have to name a row's label for it to be accepted."""

    unsaid_if_null: ClassVar[frozenset[str]] = _ASKED_OF_ROWS
    """Keys that are not written down where they are null: earlier versions did not know them."""

    grows: ClassVar[bool] = False
    """Whether each round accepts a larger share of the whole pool, every row decided anew."""

    new_rows: ClassVar[Literal["by_parameters", "by_stored_cuts", "never"]] = "never"
    """What decides rows outside the pool: the parameters alone, the cuts that the pool gave, or
    nothing, where a cut depends on the other rows of the pool."""

    by_class: ClassVar[bool] = False
    """Whether it asks for each class apart, which says nothing of labels that are numbers."""

    like_sklearn: ClassVar[bool] = False
    """Whether ``SelfTrainingClassifier`` has it, so that ``mode: sklearn`` may."""

    @property
    def uses_labeled_counts(self) -> bool:
        """Whether the rule depends on how many labeled rows each class has."""
        return False

    def to_rule(self, labeled: Sequence[int]) -> dict[str, Any]:
        """Return the form kept with a plan: the parameters, and the labeled rows if they count.

        What is asked of each row by itself, and shows in its reason, is no part of it.
        """
        rule = self.model_dump(mode="json", exclude=set(_ASKED_OF_ROWS))
        return rule | {"labeled": list(labeled)} if self.uses_labeled_counts else rule

    @model_serializer(mode="wrap")
    def _without_unasked(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out what is not asked: a run's identity is that of earlier versions then.

        Annotated by builtins alone: pydantic 2.10 looks names up in the modules of subclasses.
        """
        unasked = {name for name in self.unsaid_if_null if getattr(self, name) is None}
        return {name: value for name, value in handler(self).items() if name not in unasked}


class CountingPolicy(Policy, ABC):
    """A policy that decides by counts alone, so that the order of rows plays no part."""

    @abstractmethod
    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Return cuts or quotas for every class."""
