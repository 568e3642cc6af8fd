"""Whether a round made the model worse on rows with true labels.

Where there are validation rows, two models are compared row by row (:func:`compare`); without,
by the losses of out-of-fold scores as well (:func:`compare_scores`), which see harm earlier than
the accuracy does. Models of numbers are compared by their absolute errors (:func:`compare_errors`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

from spark_pseudolabel.core.facts import Comparison, ErrorComparison, LossComparison
from spark_pseudolabel.core.trust.metrics import LOG_LOSS_FLOOR

DROP_LEVEL = 0.05
"""A drop that two equally good models show more often than this counts as noise."""

SURE_LEVEL = 0.05
"""A student must be better by what one no better than its teacher shows less often than this."""

_SURE_Z = 1.645

MARGIN = 1.0
"""Standard errors by which a student's log loss has to be lower besides."""


def compare(model: int, best_right: NDArray[np.bool_], new_right: NDArray[np.bool_]) -> Comparison:
    """Compare a new model with the best one so far, row by row.

    Parameters
    ----------
    model
        Number of the best model so far.
    best_right, new_right
        ndarrays of shape (n_validation,): which rows each model predicts correctly.

    Returns
    -------
    Comparison
        ``dropped`` where heads come up `worse` times and more in ``worse + better`` throws of a
        coin with a probability of at most :data:`DROP_LEVEL`: with 4 rows never, with 5 if all
        got worse.
    """
    worse = int((best_right & ~new_right).sum())
    better = int((new_right & ~best_right).sum())
    return Comparison(
        model,
        worse,
        better,
        dropped=_chance(worse, better) <= DROP_LEVEL,
        usable=_chance(better, worse) <= SURE_LEVEL,
    )


def _chance(for_it: int, against: int) -> float:
    """Return the probability of as many rows for one of two equally good models (sign test)."""
    return float(binom.sf(for_it - 1, for_it + against, 0.5))


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
    return compare_losses(*(Losses.of(P, codes) for P in (best, new)))


@dataclass(frozen=True)
class Losses:
    """What a model makes of each of n rows.

    Parameters
    ----------
    log
        ndarray of shape (n,): log loss.
    squared
        ndarray of shape (n,): squared distance of the probabilities from the truth, in [0, 2].
    right
        ndarray of shape (n,).
    """

    log: NDArray[np.float64]
    squared: NDArray[np.float64]
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, P: NDArray[np.float64], codes: NDArray[np.int32]) -> Losses:
        """Measure probabilities of shape (n, n_classes) by the true class indices."""
        squared = ((P - np.eye(P.shape[1])[codes]) ** 2).sum(axis=1)
        return cls(log_losses(P, codes), squared, P.argmax(axis=1) == codes)


def compare_losses(best: Losses, new: Losses) -> LossComparison:
    """Compare two models on the same rows, at least one, row by row.

    Returns
    -------
    LossComparison
        ``usable`` where the new model is right more often and its squared error lower, both beyond
        chance: few students are better than what they learned from, so that most of those that
        merely look so are not. The log loss must be lower by :data:`MARGIN`, and can't decide
        alone: a mean of few trees says 0 to some right label, and whatever says 0.01 has a far
        lower loss, be it right or not.
    """
    rows = compare(1, best.right, new.right)
    lower = best.squared - new.squared
    error = _standard_error(lower)
    squared = float(lower.mean()) / error if error else 0.0
    before, after = float(best.log.mean()), float(new.log.mean())
    standard_error = _standard_error(new.log - best.log)
    lower_loss = before - after > MARGIN * standard_error
    return LossComparison(
        n=len(best.log),
        best=before,
        new=after,
        standard_error=standard_error,
        squared=squared,
        worse=rows.worse,
        better=rows.better,
        z=(after - before) / standard_error if standard_error else 0.0,
        improved=after < before,
        usable=rows.usable and lower_loss and squared > _SURE_Z,
        dropped=not after < before,
    )


_FEWEST_ERRORS = 5
"""Of fewer rows nothing is surely worse, as of rows that are right or wrong."""


def compare_errors(
    model: int, best: NDArray[np.float64], new: NDArray[np.float64]
) -> ErrorComparison:
    """Compare two models of numbers by their absolute errors, row by row.

    Parameters
    ----------
    model
        Number of the best model so far.
    best, new
        ndarrays of shape (n,), n >= 1: absolute errors of each model on the same rows; NaN where it
        gives no number. Rows that one of them gives none are left out.

    Examples
    --------
    >>> found = compare_errors(1, np.ones(20), np.linspace(1.1, 2.0, 20))
    >>> found.dropped, found.usable
    (True, False)
    """
    known = np.isfinite(best) & np.isfinite(new)
    best, new = best[known], new[known]
    n, difference = len(new), new - best
    error = _standard_error(difference)
    mean = float(difference.mean()) if n else 0.0
    p_worse = p_better = 1.0
    if n >= _FEWEST_ERRORS and mean != 0.0:
        z = mean / error if error else float(np.copysign(np.inf, mean))
        p_worse, p_better = float(t.sf(z, n - 1)), float(t.cdf(z, n - 1))
    return ErrorComparison(
        n=n,
        best=float(best.mean()) if n else 0.0,
        new=float(new.mean()) if n else 0.0,
        standard_error=error,
        p_worse=p_worse,
        p_better=p_better,
        usable=p_better <= SURE_LEVEL,
        dropped=p_worse <= DROP_LEVEL,
        model=model,
    )


def _standard_error(differences: NDArray[np.float64]) -> float:
    n = len(differences)
    return float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0


def log_losses(P: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ``-log(p_true)`` of each row, p floored as in the metrics."""
    losses: NDArray[np.float64] = -np.log(
        np.maximum(P[np.arange(len(codes)), codes], LOG_LOSS_FLOOR)
    )
    return losses
