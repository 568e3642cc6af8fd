"""What is to hold of published labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spark_pseudolabel.core.selection.promised import LADDER, MIN_COVERAGE


@dataclass(frozen=True)
class Promise:
    """What is to hold of published labels.

    Parameters
    ----------
    precision
        Share of right labels among the published rows, in (0, 1).
    certainty
        Probability, over the draw of the labeled rows, that the share is reached, in (0, 1).
    per
        ``"all"``: over the published rows together. ``"class"``: in each class, all of these
        claims holding together with the given certainty.
    best
        Whether `precision` is the least that will do, and the highest step of the ladder is wanted
        that holds for enough of the pool.
    min_coverage
        Which share of the pool is enough.
    """

    precision: float = 0.95
    certainty: float = 0.95
    per: Literal["all", "class"] = "all"
    best: bool = False
    min_coverage: float = MIN_COVERAGE

    @classmethod
    def of_best(
        cls,
        certainty: float = 0.95,
        per: Literal["all", "class"] = "all",
        min_coverage: float = MIN_COVERAGE,
    ) -> Promise:
        """Ask for the highest precision that can be shown."""
        return cls(LADDER[-1], certainty, per, best=True, min_coverage=min_coverage)

    @property
    def risk(self) -> float:
        """Allowed probability of a broken promise."""
        return 1.0 - self.certainty

    @property
    def error(self) -> float:
        """Allowed share of wrong labels."""
        return 1.0 - self.precision
