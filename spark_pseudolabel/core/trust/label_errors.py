"""Given labels that are probably wrong, by confident learning (Northcutt et al. 2021).

They are listed for a person to look at and never changed. Where classes overlap, some labels look
wrong and are right; :attr:`LabelErrors.explained` says whether that alone could be the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

SURE_ODDS = 4.0
"""From these odds on against a given label, models count as sure that it is wrong."""

TORN_ODDS = 2.0
"""Within these odds, either way, models are torn between the given label and another one."""

OVERLAP_SHARE = math.sqrt(2) - 1
"""The largest share that sure rows have among sure and torn ones where classes only overlap.

For two normal classes of equal spread, d standard deviations apart, the logarithm L of the true
label's likelihood ratio is normal with mean d**2 / 2 and variance d**2, in each of the two classes:
its density is proportional to exp(L/2 - L**2 / (2 d**2)), whatever the classes' shares are. Sure
rows, L < -log 4, are to torn rows, abs(L) < log 2, at most as the integrals of exp(L/2): as 1 to
the square root of 2. Of odds, which hold the classes' shares as well, nothing of that kind is true:
where one row in ten is of the rarer class and nothing tells the classes apart, all of these rows
have odds of 9 to 1 against them, and no row is torn.
"""

LEVEL = 0.01
"""A share that is above :data:`OVERLAP_SHARE` by chance less often than this is no chance."""


@dataclass(frozen=True)
class Suspect:
    """A labeled row whose label the models of the other folds do not believe.

    Parameters
    ----------
    row
        Its position.
    given, suggested
        Class indices.
    p_given, p_suggested
        Out-of-fold probabilities of the two.
    """

    row: int
    given: int
    suggested: int
    p_given: float
    p_suggested: float


@dataclass(frozen=True)
class LabelErrors:
    """What the models of the other folds say about the given labels.

    Parameters
    ----------
    n
        Rows with an out-of-fold score.
    suspects
        Those whose label is probably wrong, the clearest first.
    sure, torn
        Rows with odds and a likelihood ratio of :data:`SURE_ODDS` and more against their label,
        and those with a likelihood ratio within :data:`TORN_ODDS`.
    """

    n: int
    suspects: tuple[Suspect, ...]
    sure: int
    torn: int

    @property
    def p_value(self) -> float:
        """Probability of as many sure rows among sure and torn ones if classes only overlap."""
        return float(binom.sf(self.sure - 1, self.sure + self.torn, OVERLAP_SHARE))

    @property
    def explained(self) -> bool:
        """Whether overlapping classes may be all there is to it."""
        return not self.suspects or self.p_value >= LEVEL


def check_labels(P: NDArray[np.float64], codes: NDArray[np.int32]) -> LabelErrors:
    """Look for labels that are probably wrong.

    A row belongs to the most probable class among those that are at least as probable as they are,
    on average, for the rows given that label. It is a suspect when that is not its own label, and
    the odds are :data:`SURE_ODDS` against that, also where all labels were equally frequent: a rare
    label is no reason for doubt.

    Parameters
    ----------
    P
        ndarray of shape (n, n_classes): out-of-fold probabilities; rows with NaN are left out.
    codes
        ndarray of shape (n,): the given labels.
    """
    scored = np.flatnonzero(np.isfinite(P).all(axis=1))
    P, codes = P[scored], codes[scored]
    given, other_p = _given_and_best(P, codes)
    n = np.bincount(codes, minlength=P.shape[1])
    # The share of each label among the rows that models learned from turns odds into likelihoods.
    likelihood = np.where(n > 0, P / np.maximum(n, 1), 0.0)
    own, best_other = _given_and_best(likelihood, codes)
    sure = (other_p >= SURE_ODDS * given) & (best_other >= SURE_ODDS * own)
    torn = (best_other < TORN_ODDS * own) & (own < TORN_ODDS * best_other)
    candidates = np.where(_self_confidence(P, codes) <= P, P, -1.0)
    best = candidates.argmax(axis=1)
    off = sure & (candidates.max(axis=1, initial=-1.0) > 0) & (best != codes)
    suspects = [
        Suspect(int(scored[i]), int(codes[i]), int(best[i]), float(given[i]), float(P[i, best[i]]))
        for i in np.flatnonzero(off)
    ]
    suspects.sort(key=lambda suspect: (suspect.p_given - suspect.p_suggested, suspect.row))
    return LabelErrors(len(scored), tuple(suspects), int(sure.sum()), int(torn.sum()))


def _given_and_best(
    P: NDArray[np.float64], codes: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each row's value of its given label, and the largest of the others."""
    every = np.arange(len(codes))
    others = P.copy()
    others[every, codes] = -1.0
    return P[every, codes], others.max(axis=1, initial=0.0)


def _self_confidence(P: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return per class the mean probability of the class over the rows given that label."""
    own = P[np.arange(len(codes)), codes]
    n = np.bincount(codes, minlength=P.shape[1])
    total = np.bincount(codes, weights=own, minlength=P.shape[1])
    # A class without rows gives no measure: nothing may be moved to it.
    return np.where(n > 0, total / np.maximum(n, 1), np.inf)
