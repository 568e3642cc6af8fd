"""What calibration rows show of the pool rows above a cut, and how much of it is independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.selection.counts import BINS, bin_of
from spark_pseudolabel.core.trust.finite_population import p_value
from spark_pseudolabel.core.trust.units import GroupSizes, first_of

_ODD = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplier: mixes what is in the low bits


@dataclass(frozen=True)
class Dependence:
    """Which calibration rows are not independent of each other.

    Parameters
    ----------
    units
        ndarray of shape (n,): rows of one number count once, see
        :mod:`~spark_pseudolabel.core.trust.units`.
    hashes
        ndarray of shape (n,): decides which of them speaks for all.
    groups
        The pool's group sizes, where units are groups; None: where they are copies of a row.
    seen
        ndarray of shape (n,): rows of whose unit models have seen another one, so that none of
        them counts; None: there are none.
    """

    units: NDArray[np.int64]
    hashes: NDArray[np.int64]
    groups: GroupSizes | None = None
    seen: NDArray[np.bool_] | None = None

    @cached_property
    def once(self) -> NDArray[np.bool_]:
        """The rows that speak for their unit, shape (n,)."""
        first = first_of(self.units, self.hashes)
        return first if self.seen is None else first & ~self.seen

    @cached_property
    def largest(self) -> int:
        """The size of the largest group there is, labeled or not."""
        pool = 0 if self.groups is None else self.groups.largest
        return max(1, pool, int(np.bincount(self.units).max(initial=0)))

    @cached_property
    def chance(self) -> NDArray[np.float64]:
        """A number in [0, 1) for each row, the same for all rows of a unit."""
        mixed = np.zeros(int(self.units.max(initial=-1)) + 1, dtype=np.uint64)
        np.bitwise_xor.at(mixed, self.units, self.hashes.view(np.uint64) * _ODD)
        chance_of_unit: NDArray[np.float64] = (mixed * _ODD >> np.uint64(11)).astype(
            np.float64
        ) / 2**53
        return chance_of_unit[self.units]

    def sampled(self, above: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Choose at random among rows above a cut as published rows are, no two of one group.

        A published row is of a large group the more often, the larger it is. So a group counts
        with the probability of its rows above the cut over the rows of the largest group, and one
        of these rows, chosen by hash, stands for it.
        """
        rows = np.flatnonzero(above if self.seen is None else above & ~self.seen)
        units = self.units[rows]
        first = first_of(units, self.hashes[rows])
        size = np.bincount(units, minlength=1)[units]
        chosen = np.zeros(len(above), dtype=bool)
        chosen[rows[first & (self.chance[rows] < size / self.largest)]] = True
        return chosen


def dependence_of(
    units: NDArray[np.int64],
    hashes: NDArray[np.int64],
    groups: GroupSizes | None,
    seen: NDArray[np.bool_] | None = None,
) -> Dependence | None:
    """Return what is not independent among rows; None where all are."""
    known = seen is not None and seen.any()
    if groups is None and not known and len(np.unique(units)) == len(units):
        return None
    return Dependence(units, hashes, groups, seen if known else None)


@dataclass(frozen=True)
class CalibrationRows:
    """Rows with true labels, scored by models that were not trained on them.

    Parameters
    ----------
    codes
        ndarray of shape (n,): the predicted class indices.
    confidence
        ndarray of shape (n,), rounded as the pool's.
    right
        ndarray of shape (n,): whether the prediction is the true label.
    only_ones
        Further rows, each the only one of its label, or units: a model that has not seen it can't
        know its label, and nobody knows what it would have said instead, nor how surely. So each
        of them counts as wrong, above every cut, and with a claim for each class in all of these.
    dependence
        Which rows are not independent; None: all are.
    """

    codes: NDArray[np.int32]
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    only_ones: int = 0
    dependence: Dependence | None = None

    def __len__(self) -> int:
        """Count what is independent: rows, copies as one, or groups."""
        own = self.dependence
        return (len(self.codes) if own is None else int(own.once.sum())) + self.only_ones

    @classmethod
    def from_scores(
        cls,
        P: NDArray[np.float64],
        true_codes: NDArray[np.int32],
        only_ones: int = 0,
        dependence: Dependence | None = None,
    ) -> CalibrationRows:
        """Build from rounded probabilities of shape (n, n_classes), argmax as in the kernel."""
        codes = P.argmax(axis=1).astype(np.int32)
        confidence = np.take_along_axis(P, codes[:, np.newaxis], axis=1)[:, 0]
        return cls(codes, confidence, codes == true_codes, only_ones, dependence)

    @property
    def expected(self) -> float:
        """How many rows are to be expected to count at a cut that holds all of them."""
        own = self.dependence
        if own is None or own.groups is None:
            return float(len(self))
        return len(self.codes) / own.largest + self.only_ones

    def at(
        self, codes: Sequence[int], bins: Sequence[int], pool_tail: NDArray[np.int64]
    ) -> list[Evidence]:
        """Return what can be said about the rows predicted as some classes, for each cut.

        Parameters
        ----------
        codes
            The classes.
        bins
            The cuts.
        pool_tail
            ndarray of shape (BINS,): pool rows of these classes in each bin or above.
        """
        inside, own = np.isin(self.codes, codes), self.dependence
        rows = [int(pool_tail[bin_]) for bin_ in bins]
        if own is not None and own.groups is not None:
            above = bin_of(self.confidence)
            return [
                self._evidence(own.sampled(inside & (above >= bin_)), own.groups.effective(n))
                for bin_, n in zip(bins, rows, strict=True)
            ]
        n, wrong = self._tails(inside)
        of_all = [Evidence(int(n[b]), int(wrong[b]), m) for b, m in zip(bins, rows, strict=True)]
        if own is None:
            return of_all
        n, wrong = self._tails(inside & own.once)
        # The pool is taken to hold as many copies as the labeled rows do.
        share = len(self) / max(1, len(self.codes) + self.only_ones)
        return [
            Evidence(int(n[bin_]), int(wrong[bin_]), math.ceil(evidence.pool * share), evidence)
            for bin_, evidence in zip(bins, of_all, strict=True)
        ]

    def _evidence(self, chosen: NDArray[np.bool_], pool: int) -> Evidence:
        wrong = int((~self.right[chosen]).sum())
        return Evidence(int(chosen.sum()) + self.only_ones, wrong + self.only_ones, pool)

    def _tails(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        bins = bin_of(self.confidence)
        n = np.bincount(bins[chosen], minlength=BINS)
        wrong = np.bincount(bins[chosen & ~self.right], minlength=BINS)
        n[-1] += self.only_ones
        wrong[-1] += self.only_ones
        return tail_of(n), tail_of(wrong)


@dataclass(frozen=True)
class Evidence:
    """What speaks of the pool rows above a cut.

    Parameters
    ----------
    n, wrong
        Independent calibration rows above it, and how many of them are wrong.
    pool
        As how many independent rows the published ones vary: as many, without copies and groups.
    every
        The same with all rows, where copies count once; None otherwise.
    """

    n: int
    wrong: int
    pool: int
    every: Evidence | None = None

    def p_value(self, error: float) -> float:
        """Return the p-value of the claim that no more than this share of the pool is wrong.

        With copies it is the larger one of two: where rows are copies, each set is one row; where
        they merely have few values to be equal in, each row is one, and a set that many pool rows
        are in must not count as little as one that few are in.
        """
        p = p_value(self.wrong, self.n, error, self.pool)
        return p if self.every is None else max(p, self.every.p_value(error))


def tail_of(per_bin: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many rows lie in each bin or above."""
    tail: NDArray[np.int64] = np.cumsum(per_bin[::-1])[::-1]
    return tail
