"""Policy ``top_k_per_class``."""

from __future__ import annotations

from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision, Quota
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.fields import Count


class TopKPerClass(CountingPolicy):
    """The ``k`` most confident rows of each class are accepted."""

    policy: Literal["top_k_per_class"]
    k: Count

    by_class: ClassVar = True

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Accept the k most confident rows of each predicted class (Yalniz et al. 2019)."""
        return [Quota((code,), self.k) for code in range(len(counts.n))]
