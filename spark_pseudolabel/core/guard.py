"""Whether a round made the model worse on rows with true labels."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DROP_Z = 1.645
"""One-sided 5 % point of the normal distribution: a smaller drop counts as noise."""


@dataclass(frozen=True)
class Comparison:
    """Two models on the same validation rows (the discordant pairs of McNemar's test).

    Parameters
    ----------
    model
        Number of the earlier model that the new one is compared with.
    worse
        Rows that the earlier model had right and the new one has wrong.
    better
        Rows the other way round.
    dropped
        Whether ``(worse - better) / sqrt(worse + better)`` exceeds :data:`DROP_Z`.
    """

    model: int
    worse: int
    better: int
    dropped: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in manifests."""
        return asdict(self)


def compare(model: int, best_right: NDArray[np.bool_], new_right: NDArray[np.bool_]) -> Comparison:
    """Compare a new model with the best one so far, row by row.

    Parameters
    ----------
    model
        Number of the best model so far.
    best_right, new_right
        ndarrays of shape (n_validation,): which rows each model predicts correctly.
    """
    worse = int((best_right & ~new_right).sum())
    better = int((new_right & ~best_right).sum())
    dropped = worse > better and (worse - better) / math.sqrt(worse + better) > DROP_Z
    return Comparison(model, worse, better, dropped)
