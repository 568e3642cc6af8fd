"""Whether a round made the model worse on rows with true labels.

Where there are validation rows, two models are compared row by row (:func:`compare`); without,
by the log loss of out-of-fold scores (:func:`compare_scores`), which sees harm earlier than the
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

MARGIN = 1.0
"""Standard errors by which a student's loss has to be lower; docs/quality.md has other rules."""


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

    @property
    def usable(self) -> bool:
        """Whether a student may take its teacher's place: it is right at least as often."""
        return self.better >= self.worse

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in manifests."""
        return asdict(self) | {"usable": self.usable}


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
    """Two models on the same rows, which neither of them was trained on.

    Parameters
    ----------
    n
        Rows.
    best, new
        Mean log loss of the best model so far, and of the new one.
    standard_error
        Of the mean difference.
    worse, better
        Rows that only the best model so far has right, and rows that only the new one has.
    """

    n: int
    best: float
    new: float
    standard_error: float
    worse: int
    better: int

    @property
    def improved(self) -> bool:
        """Whether the loss is lower at all; where it is not, the round is dropped."""
        return self.new < self.best

    @property
    def usable(self) -> bool:
        """Whether the new model may be the final one.

        Its loss must be lower by more than a standard error, since with few rows a lower mean is
        often chance, and it must be right at least as often: a model that is only more sure of
        what it says has a lower loss, too.
        """
        lower = self.n > 1 and self.best - self.new > MARGIN * self.standard_error
        return lower and self.better >= self.worse

    @property
    def z(self) -> float:
        """How many standard errors the new loss lies above the best one; positive is worse."""
        return (self.new - self.best) / self.standard_error if self.standard_error else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the form kept in manifests."""
        found = {name: getattr(self, name) for name in ("z", "improved", "usable")}
        return asdict(self) | found


def compare_scores(
    best: NDArray[np.float64], new: NDArray[np.float64], codes: NDArray[np.int32]
) -> LossComparison:
    """Compare two models by their log loss, row by row.

    Parameters
    ----------
    best, new
        ndarrays of shape (n, n_classes), n >= 1: probabilities, out of fold or on validation rows.
    codes
        ndarray of shape (n,): the true class indices.
    """
    return compare_losses(
        log_losses(best, codes),
        log_losses(new, codes),
        best.argmax(axis=1) == codes,
        new.argmax(axis=1) == codes,
    )


def compare_losses(
    best: NDArray[np.float64],
    new: NDArray[np.float64],
    best_right: NDArray[np.bool_],
    new_right: NDArray[np.bool_],
) -> LossComparison:
    """Compare the log losses of two models, and which rows each has right, row by row."""
    n = len(best)
    rows = compare(1, best_right, new_right)
    return LossComparison(
        n=n,
        best=float(best.mean()),
        new=float(new.mean()),
        standard_error=float((new - best).std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0,
        worse=rows.worse,
        better=rows.better,
    )


def log_losses(P: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ``-log(p_true)`` of each row, p floored as in the metrics."""
    losses: NDArray[np.float64] = -np.log(
        np.maximum(P[np.arange(len(codes)), codes], LOG_LOSS_FLOOR)
    )
    return losses
