"""Policy ``freematch``."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from spark_pseudolabel.core.selection.counts import BINS, Counts
from spark_pseudolabel.core.selection.plan import Decision, cuts_by_class
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext


class FreeMatch(CountingPolicy):
    """The pool's mean confidence is the threshold, lower for classes it holds less of."""

    policy: Literal["freematch"]

    by_class: ClassVar = True
    new_rows: ClassVar = "by_stored_cuts"

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Threshold by the pool's mean confidence and each class's part of it (Wang et al. 2023).

        Rounds are few, so there is no moving average; a class's part is its share of the
        confidences' sum, to the width of a bin.
        """
        weighed = counts.n @ np.arange(BINS)
        mean = weighed.sum() / 1000 / max(1, counts.total)
        return cuts_by_class(mean * weighed / max(1, int(weighed.max(initial=0))))
