"""How much a pseudo-labeled row weighs beside a labeled one's 1.0.

:class:`PseudoWeights` is what is asked for; :class:`RowWeights` is what came of it for the rows of
one fit: a function of a row's round and confidence, so that any row's weight can be reported later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.selection.counts import BINS, Counts

Each = float | Literal["confidence", "softmatch"]

_SOFTMATCH_SIGMAS = 2.0
"""How many widths of the Gaussian are one standard deviation (n_sigma of the reference code)."""

_DECIMALS = 6
"""The exponential function's last bits differ between processors."""


@dataclass(frozen=True)
class RowWeights:
    """The weights of the pseudo-labeled rows of one fit.

    Parameters
    ----------
    each
        Before scaling; see :class:`PseudoWeights`.
    scale
        What all weights are multiplied by to keep within their bound.
    moments
        By round, mean and standard deviation of the pool's confidences; for SoftMatch only.
    """

    each: Each = 1.0
    scale: float = 1.0
    moments: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def of(self, confidence: NDArray[np.float64], rounds: NDArray[np.int32]) -> NDArray[np.float64]:
        """Weigh rows.

        Parameters
        ----------
        confidence, rounds
            ndarrays of shape (n,): what a row was labeled with, and in which round.
        """
        return self._each(confidence, rounds) * self.scale

    def _each(
        self, confidence: NDArray[np.float64], rounds: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        if self.each == "confidence":
            return confidence.astype(np.float64)
        if self.each != "softmatch":
            return np.full(len(confidence), float(self.each))
        weights = np.empty(len(confidence))
        for number in np.unique(rounds):
            of_round = rounds == number
            weights[of_round] = softmatch(confidence[of_round], *self.moments[int(number)])
        return weights


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

    each: Each = 1.0
    ratio: float | None = None

    @property
    def needed(self) -> bool:
        """Whether rows may weigh something else than 1."""
        return self.each != 1.0 or self.ratio is not None

    def settled(
        self,
        confidence: NDArray[np.float64],
        rounds: NDArray[np.int32],
        pools: Mapping[int, Counts],
        n_labeled: int,
    ) -> RowWeights:
        """Find the weights for the rows of one fit.

        Parameters
        ----------
        confidence, rounds
            ndarrays of shape (n,): of the rows to train on, in any order.
        pools
            By round, all scored rows; they give the mean and the spread of SoftMatch.
        n_labeled
            Labeled rows, each of weight 1.
        """
        numbers = np.unique(rounds).tolist() if self.each == "softmatch" else []
        weights = self.unbounded({number: pools[number] for number in numbers})
        if self.ratio is None:
            return weights
        # fsum is exact: rows come in another order from every cluster.
        return self.bounded(weights, math.fsum(weights.of(confidence, rounds)), n_labeled)

    def unbounded(self, pools: Mapping[int, Counts]) -> RowWeights:
        """Return what rows weigh before all of them are bounded together.

        Parameters
        ----------
        pools
            Of the rounds that they are from, all scored rows.
        """
        softmatch = self.each == "softmatch"
        moments_of = {n: moments(counts) for n, counts in pools.items()} if softmatch else {}
        return RowWeights(self.each, moments=moments_of)

    def bounded(self, weights: RowWeights, total: float, n_labeled: int) -> RowWeights:
        """Scale the weights down where they sum up to more than the bound.

        Parameters
        ----------
        weights
            From :meth:`unbounded`.
        total
            What all rows weigh by them.
        n_labeled
            Labeled rows, each of weight 1.
        """
        if self.ratio is None or total <= self.ratio * n_labeled:
            return weights
        return replace(weights, scale=self.ratio * n_labeled / total)

    def of(
        self, confidence: NDArray[np.float64], pool: Counts, n_labeled: int
    ) -> NDArray[np.float64]:
        """Weigh rows that were all labeled in one round; see :meth:`settled`."""
        rounds = np.ones(len(confidence), dtype=np.int32)
        return self.settled(confidence, rounds, {1: pool}, n_labeled).of(confidence, rounds)


def softmatch(confidence: NDArray[np.float64], mean: float, std: float) -> NDArray[np.float64]:
    """Return SoftMatch's truncated Gaussian weights, ``exp(-2 (c - mean)**2 / std**2)`` below.

    The reference code divides the variance by n_sigma squared, 4.

    Examples
    --------
    >>> softmatch(np.array([0.9, 0.7, 0.65]), mean=0.7, std=0.1).round(3)
    array([1.   , 1.   , 0.607])
    """
    below = np.minimum(confidence - mean, 0.0)
    spread = max(std, 1e-9) / _SOFTMATCH_SIGMAS
    weights: NDArray[np.float64] = np.exp(-(below**2) / (2 * spread**2))
    return weights.round(_DECIMALS)


def moments(pool: Counts) -> tuple[float, float]:
    """Return mean and standard deviation of the confidences, to the width of a bin."""
    middles = np.minimum((np.arange(BINS) + 0.5) / 1000, 1.0)
    per_bin = pool.n.sum(axis=0)
    mean = float(np.average(middles, weights=per_bin)) if per_bin.any() else 1.0
    variance = np.average((middles - mean) ** 2, weights=per_bin) if per_bin.any() else 0.0
    return mean, float(np.sqrt(variance))
