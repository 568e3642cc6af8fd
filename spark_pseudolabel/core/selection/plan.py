"""What a selection policy answers with, and the plan that decides every row by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.selection.counts import Counts, Key

Ties = Literal["none", "all"] | Key


@dataclass(frozen=True)
class Cut:
    """Where acceptance begins for one class.

    Parameters
    ----------
    confidence
        Rows above are accepted, rows below are not.
    ties
        Which rows at exactly this confidence are accepted: ``"none"``, ``"all"``, or those whose
        key is not above the given one.
    """

    confidence: float
    ties: Ties = "none"

    def accepts(self, confidence: float, key: Key) -> bool:
        """Decide one row."""
        if confidence != self.confidence:
            return confidence > self.confidence
        if isinstance(self.ties, tuple):
            return key <= self.ties
        return self.ties == "all"


@dataclass(frozen=True)
class Plan:
    """The decision of a round.

    Parameters
    ----------
    rule
        The selection section of the configuration.
    cuts
        One per class, in the order of the model's classes; None accepts nothing of that class.
    """

    rule: Mapping[str, Any]
    cuts: tuple[Cut | None, ...]

    def accepts(self, code: int, confidence: float, key: Key) -> bool:
        """Decide one candidate of class number `code`."""
        cut = self.cuts[code]
        return cut is not None and cut.accepts(confidence, key)


@dataclass(frozen=True)
class Fixed:
    """Cut these classes at a place that does not depend on the rows."""

    codes: Sequence[int]
    cut: Cut


@dataclass(frozen=True)
class Quota:
    """Accept the `n` most confident rows of these classes together, ties by lower key."""

    codes: Sequence[int]
    n: int


Decision = Sequence[Fixed | Quota]


def cuts_by_class(thresholds: NDArray[np.float64]) -> Decision:
    """Accept the rows of each class at or above its threshold, never below 1 / n_classes."""
    lowest = 1 / max(1, len(thresholds))
    cuts = [max(lowest, round(float(threshold), 6)) for threshold in thresholds]
    return [Fixed((code,), Cut(cut, "all")) for code, cut in enumerate(cuts)]


def quotas_by_class(wanted: NDArray[np.float64], counts: Counts) -> Decision:
    """Accept so many rows of each class, as far as it has them."""
    rows = np.minimum(wanted, counts.by_class).astype(int)
    return [Quota((code,), int(n)) for code, n in enumerate(rows)]
