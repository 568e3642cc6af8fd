"""Policy ``one_shot``."""

from __future__ import annotations

from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Cut, Decision, Fixed
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext


class OneShot(CountingPolicy):
    """Every scored row is accepted in round 1."""

    policy: Literal["one_shot"]

    new_rows: ClassVar = "by_parameters"

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Accept every valid row."""
        return [Fixed(range(len(counts.n)), Cut(0.0, "all"))]
