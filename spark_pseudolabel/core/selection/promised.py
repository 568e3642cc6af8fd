"""What policies have in common that promise a precision of the published labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from spark_pseudolabel.core.selection.policy import Policy
from spark_pseudolabel.fields import Level, Share

LADDER = (0.99, 0.975, 0.95, 0.9, 0.85, 0.8)
"""The precisions among which ``precision: best`` chooses, the highest first."""

MIN_COVERAGE = 0.2
"""Share of the pool for which a step has to hold, unless another one is given."""

Precision = Level | Literal["best"]


class Promised(Policy):
    """A policy whose published labels reach ``precision`` with the probability ``certainty``.

    ``precision: best`` is the highest step of the ladder that can be shown for a share
    ``min_coverage`` of the pool.
    """

    precision: Precision = 0.95
    certainty: Level = 0.95
    min_coverage: Share | None = None

    unsaid_if_null: ClassVar = Policy.unsaid_if_null | {"min_coverage"}

    @model_validator(mode="before")
    @classmethod
    def _best_has_a_coverage(cls, keys: Any) -> Any:
        if not isinstance(keys, Mapping):
            return keys
        asked = keys.get("precision", cls.model_fields["precision"].default)
        if asked != "best" or keys.get("min_coverage") is not None:
            return keys
        return {**keys, "min_coverage": MIN_COVERAGE}

    @property
    def enough(self) -> float:
        """The share of the pool for which a step of the ladder has to hold."""
        return MIN_COVERAGE if self.min_coverage is None else self.min_coverage
