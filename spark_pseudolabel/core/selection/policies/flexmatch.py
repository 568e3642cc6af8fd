"""Policy ``flexmatch``."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision, cuts_by_class
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.fields import Level


class FlexMatch(CountingPolicy):
    """Classes that few rows reach with ``threshold`` get a lower one."""

    policy: Literal["flexmatch"]
    threshold: Level = 0.95

    by_class: ClassVar = True
    new_rows: ClassVar = "by_stored_cuts"

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Lower the threshold of classes that few rows reach (Zhang et al. 2021).

        sigma(c) counts the rows of class c at or above the threshold t; beta(c) is its share of
        the largest, or of the rows below t as long as these are more (warm-up); rows at or above
        ``t * beta / (2 - beta)`` are accepted, never below 1 / n_classes, which says nothing.
        """
        sure = counts.n[:, math.ceil(round(self.threshold * 1000, 6)) :].sum(axis=1)
        most = max(int(sure.max(initial=0)), counts.total - int(sure.sum()), 1)
        beta = sure / most
        return cuts_by_class(self.threshold * beta / (2 - beta))
