"""How much a pseudo-labeled row weighs beside a labeled one's 1.0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.counts import BINS, Counts

_SOFTMATCH_WIDTH = 2.0
"""Standard deviations below the mean are counted in these (n_sigma of the paper)."""


@dataclass(frozen=True)
class PseudoWeights:
    """A weight per row and a bound for all of them.

    Parameters
    ----------
    each
        The weight of every row; ``"confidence"``: its confidence; ``"softmatch"``: 1 at the
        pool's mean confidence and above, a Gaussian below (Chen et al. 2023).
    ratio
        The most that the rows weigh together, as a multiple of the labeled rows' weight; None for
        no bound.
    """

    each: float | Literal["confidence", "softmatch"] = 1.0
    ratio: float | None = None

    def of(
        self, confidence: NDArray[np.float64], pool: Counts, n_labeled: int
    ) -> NDArray[np.float64]:
        """Weigh rows.

        Parameters
        ----------
        confidence
            ndarray of shape (n,): of the rows to train on.
        pool
            All scored rows; gives the mean and the spread of SoftMatch.
        n_labeled
            Labeled rows, each of weight 1.
        """
        weights = self._each(confidence, pool)
        limit = np.inf if self.ratio is None else self.ratio * n_labeled
        total = float(weights.sum())
        return weights * (limit / total) if total > limit else weights

    def _each(self, confidence: NDArray[np.float64], pool: Counts) -> NDArray[np.float64]:
        if self.each == "confidence":
            return confidence.astype(np.float64)
        if self.each == "softmatch":
            return softmatch(confidence, *moments(pool))
        return np.full(len(confidence), float(self.each))


def softmatch(confidence: NDArray[np.float64], mean: float, std: float) -> NDArray[np.float64]:
    """Return SoftMatch's truncated Gaussian weights.

    Examples
    --------
    >>> softmatch(np.array([0.9, 0.7, 0.5]), mean=0.7, std=0.1).round(3)
    array([1.   , 1.   , 0.607])
    """
    below = np.minimum(confidence - mean, 0.0)
    spread = max(std, 1e-9) * _SOFTMATCH_WIDTH
    weights: NDArray[np.float64] = np.exp(-(below**2) / (2 * spread**2))
    return weights


def moments(pool: Counts) -> tuple[float, float]:
    """Return mean and standard deviation of the confidences, to the width of a bin."""
    middles = np.minimum((np.arange(BINS) + 0.5) / 1000, 1.0)
    per_bin = pool.n.sum(axis=0)
    mean = float(np.average(middles, weights=per_bin)) if per_bin.any() else 1.0
    variance = np.average((middles - mean) ** 2, weights=per_bin) if per_bin.any() else 0.0
    return mean, float(np.sqrt(variance))
