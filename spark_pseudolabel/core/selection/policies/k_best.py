"""Policy ``k_best``."""

from __future__ import annotations

from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision, Quota
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.fields import Count


class KBest(CountingPolicy):
    """The ``k`` most confident rows of a round, whatever their class, are accepted."""

    policy: Literal["k_best"]
    k: Count = 10

    like_sklearn: ClassVar = True

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Accept the k most confident rows over all classes."""
        return [Quota(range(len(counts.n)), self.k)]
