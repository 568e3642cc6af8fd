"""Policy ``quotas``."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Decision, quotas_by_class
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.fields import Count, Share, wrong_section


class Quotas(CountingPolicy):
    """Round r accepts a ``r * step`` share of the pool, dealt to classes as ``by`` says."""

    policy: Literal["quotas"]
    step: Share = 0.2
    by: Literal["labeled", "uniform", "pool"] = "labeled"
    min_per_class: Count | None = None
    max_per_class: Count | None = None

    by_class: ClassVar = True
    grows: ClassVar = True

    @property
    def uses_labeled_counts(self) -> bool:
        """Where they are the target."""
        return self.by == "labeled"

    def fit(self, counts: Counts, context: RoundContext) -> Decision:
        """Accept a share of the pool that grows by ``step``, dealt to classes by a target.

        Distribution alignment of the accepted rows: ``by`` is ``"labeled"``, ``"uniform"`` or
        ``"pool"`` (as predicted). No class gets fewer rows than ``min_per_class`` or more than
        ``max_per_class``, as far as it has them.
        """
        share = min(1.0, self.step * context.number)
        target = self._target(counts, context)
        wanted = np.ceil(np.round(share * counts.total * target, 6))
        most = np.inf if self.max_per_class is None else self.max_per_class
        return quotas_by_class(np.clip(wanted, self.min_per_class or 0, most), counts)

    def _target(self, counts: Counts, context: RoundContext) -> NDArray[np.float64]:
        if self.by == "uniform":
            return np.full(len(counts.n), 1 / len(counts.n))
        by_class = context.labeled if self.by == "labeled" else counts.by_class
        target: NDArray[np.float64] = np.asarray(by_class, dtype=float) / max(1, sum(by_class))
        return target

    @model_validator(mode="after")
    def _floor_below_cap(self) -> Quotas:
        floor, cap = self.min_per_class, self.max_per_class
        if floor is not None and cap is not None and floor > cap:
            raise wrong_section(
                f"min_per_class must not exceed max_per_class. Got {floor} and {cap}."
            )
        return self
