"""Policy ``threshold``."""

from __future__ import annotations

from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Cut, Decision, Fixed
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.fields import Fraction


class Threshold(CountingPolicy):
    """Rows whose confidence is above ``threshold`` (strictly) are accepted."""

    policy: Literal["threshold"] = "threshold"
    threshold: Fraction = 0.9

    new_rows: ClassVar = "by_parameters"
    like_sklearn: ClassVar = True

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Accept what lies strictly above one confidence, as scikit-learn does."""
        return [Fixed(range(len(counts.n)), Cut(self.threshold))]
