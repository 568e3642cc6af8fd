"""Class priors: correct scores where the pool's classes are known to be distributed otherwise.

Off unless declared: an estimate that was not needed does harm, and no test on few labels tells
the two cases apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_ROWS_PER_CLASS = 50
"""With fewer labeled rows per class the estimate may do more harm than good."""

_MAX_STEPS = 1000
_TOLERANCE = 1e-6


def shares(
    codes: NDArray[np.int32], n_classes: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the share of each class among rows, one at least, by number or by weight.

    Examples
    --------
    >>> shares(np.array([0, 0, 1, 0]), 2)
    array([0.75, 0.25])
    """
    counts = np.bincount(codes, weights=weights, minlength=n_classes)
    part: NDArray[np.float64] = counts / counts.sum()
    return part


def correct(
    P: NDArray[np.float64], learned: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn probabilities learned under one class prior into those under another one.

    Parameters
    ----------
    P
        ndarray of shape (n, n_classes), as the model gives them.
    learned
        ndarray of shape (n_classes,): class shares the model was trained on.
    prior
        ndarray of shape (n_classes,): class shares of the rows that are scored.

    Returns
    -------
    ndarray of shape (n, n_classes)
        Not rounded; a row that nothing is left of stays as it was.

    Examples
    --------
    >>> correct(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    array([[0.9, 0.1]])
    """
    weighed = P * (prior / learned)
    total = weighed.sum(axis=1, keepdims=True)
    return np.where(total > 0, weighed / np.where(total > 0, total, 1.0), P)


def may_estimate(drawn: str, labeled: Sequence[int]) -> bool:
    """Whether the pool's prior may be estimated: from enough labels, declared class-balanced."""
    return drawn == "per_class" and min(labeled) >= MIN_ROWS_PER_CLASS


def estimate_prior(P: NDArray[np.float64], learned: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the class shares of scored rows (EM of Saerens, Latinne, Decaestecker 2002).

    Parameters
    ----------
    P
        ndarray of shape (n, n_classes), n >= 1: calibrated probabilities of rows of the pool.
    learned
        ndarray of shape (n_classes,): class shares the model was trained on, all above 0.

    Returns
    -------
    ndarray of shape (n_classes,)
        Sums to 1.
    """
    prior = learned
    for _ in range(_MAX_STEPS):
        weighed = P * (prior / learned)
        updated: NDArray[np.float64] = (weighed / weighed.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(updated - prior).max() < _TOLERANCE:
            return updated
        prior = updated
    return prior


def thinned(
    codes: NDArray[np.int32], hashes: NDArray[np.int64], prior: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Choose rows so that their classes are distributed as the prior says.

    What lets an exact test speak about a pool whose prior is known although labels were drawn per
    class: what is left is a random sample of the pool, as far as classes go.

    Parameters
    ----------
    codes
        ndarray of shape (n,): true class indices; rows of -1, an unknown label, all stay.
    hashes
        ndarray of shape (n,): rows with the lowest hash of their class are kept.
    prior
        ndarray of shape (n_classes,), not all 0; only the ratios count.

    Returns
    -------
    ndarray of shape (n,)
        True for the rows that stay; all, but for a fraction of one, of the class that is rarest
        for its share. Of a class that the prior gives less than one row, one stays as often as
        that: were all of them left out, nothing would be known of them together.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(prior))
    wanted = prior > 0
    share = prior / prior.sum()
    size = np.floor(np.round((counts[wanted] / share[wanted]).min(), 6))
    stays = codes < 0
    for code, n in enumerate(_whole_rows(size * share, hashes)):
        of_class = np.flatnonzero(codes == code)
        stays[of_class[np.argsort(hashes[of_class], kind="stable")[:n]]] = True
    return stays


def missing(codes: NDArray[np.int32], prior: NDArray[np.float64]) -> list[int]:
    """Return the classes that the prior gives a share and that no row has.

    Parameters
    ----------
    codes
        ndarray of shape (n,): class indices; -1 for a row of no class.
    prior
        ndarray of shape (n_classes,): shares in the pool.

    Examples
    --------
    >>> missing(np.array([0, 0, 2], dtype=np.int32), np.array([0.7, 0.2, 0.1, 0.0]))
    [1]
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(prior))
    return [int(code) for code in np.flatnonzero((prior > 0) & (counts == 0))]


def _whole_rows(exact: NDArray[np.float64], hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round rows per class up or down, each as often as its fraction says, by one draw for all.

    Systematic sampling: their sum, a whole number, stays what it is.
    """
    draw = int(np.bitwise_xor.reduce(hashes, initial=0)) / 2**64 + 0.5
    upto = np.floor(np.round(np.cumsum(exact), 6) + draw).astype(np.int64)
    rows: NDArray[np.int64] = np.diff(upto, prepend=0)
    return rows
