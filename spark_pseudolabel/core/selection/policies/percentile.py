"""Policy ``percentile``."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision, Quota
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.fields import Share


class Percentile(CountingPolicy):
    """Curriculum: round r relabels the pool and accepts its most confident ``r * step`` share."""

    policy: Literal["percentile"]
    step: Share = 0.2

    grows: ClassVar = True

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Accept a share of the pool that grows by ``step`` each round.

        Curriculum labeling, Cascante-Bonilla et al. 2021: every round decides the whole pool anew.
        """
        share = min(1.0, self.step * context.number)
        # 0.07 of 100 rows is a little more than 7 as a double, and must not become 8.
        n = math.ceil(round(share * counts.total, 6))
        return [Quota(range(len(counts.n)), n)]
