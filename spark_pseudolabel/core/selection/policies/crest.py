"""Policy ``crest``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision, quotas_by_class
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.fields import Number


class Crest(CountingPolicy):
    """Rarer classes, by labeled rows, keep a larger share; ``alpha`` 0: all keep everything."""

    policy: Literal["crest"]
    alpha: Annotated[Number, Field(ge=0)] = 0.5

    by_class: ClassVar = True

    @property
    def uses_labeled_counts(self) -> bool:
        """Always: they rank the classes."""
        return True

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Accept a larger share of rarer classes (Wei et al. 2021).

        The class of rank r by labeled rows keeps its top ``(N_(K+1-r) / N_1) ** alpha``: all rows
        of the rarest, the smallest share of the most frequent.
        """
        labeled = np.asarray(context.labeled, dtype=float)
        rank = np.argsort(np.argsort(-labeled, kind="stable"), kind="stable")
        mirrored = np.sort(labeled)[rank]
        shares = (mirrored / max(1.0, labeled.max(initial=0.0))) ** self.alpha
        # The rarest class is mirrored onto the most frequent: its share is exactly 1.
        return quotas_by_class(np.ceil(np.round(shares * counts.by_class, 6)), counts)
