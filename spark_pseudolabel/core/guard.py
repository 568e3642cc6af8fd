"""Whether a round made the model worse on rows with true labels.

Where there are validation rows, two models are compared row by row (:func:`compare`); without,
by the log loss of out-of-fold scores (:func:`compare_losses`), which sees harm earlier than the
accuracy does.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.metrics import LOG_LOSS_FLOOR

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


@dataclass(frozen=True)
class LossComparison:
    """The log losses of two models on the same rows, which neither of them was trained on.

    Parameters
    ----------
    n
        Rows.
    best, new
        Mean log loss of the best model so far, and of the new one.
    standard_error
        Of the mean difference.
    """

    n: int
    best: float
    new: float
    standard_error: float

    @property
    def improved(self) -> bool:
        """Whether the new model may be used: its loss is lower."""
        return self.new < self.best

    @property
    def z(self) -> float:
        """How many standard errors the new loss lies above the best one; positive is worse."""
        return (self.new - self.best) / self.standard_error if self.standard_error else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in manifests."""
        return asdict(self) | {"z": self.z, "improved": self.improved}


def compare_losses(best: NDArray[np.float64], new: NDArray[np.float64]) -> LossComparison:
    """Compare two models by their log loss, row by row.

    Parameters
    ----------
    best, new
        ndarrays of shape (n,), n >= 1, from :func:`log_losses`: out of fold, or on validation
        rows.
    """
    difference = new - best
    n = len(difference)
    spread = float(difference.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return LossComparison(n, float(best.mean()), float(new.mean()), spread)


def log_losses(P: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ``-log(p_true)`` of each row, p floored as in the metrics."""
    losses: NDArray[np.float64] = -np.log(
        np.maximum(P[np.arange(len(codes)), codes], LOG_LOSS_FLOOR)
    )
    return losses
