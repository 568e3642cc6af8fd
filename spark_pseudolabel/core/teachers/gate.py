"""Whether a committee gains from one more member: weight for those that earn it, 0 for others.

A graph is right where classes are clusters and worse than any other member where they are not. A
share of the vote that is merely small does harm there, so it has to show first that it helps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.vote import vote_weights
from spark_pseudolabel.core.trust.calibration import fit_calibration
from spark_pseudolabel.core.trust.guard import log_losses

SURE = 1.0
"""Standard errors by which the log loss has to be lower with the member."""


def gated_weights(
    P: NDArray[np.float64], codes: NDArray[np.int32], folds: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Weigh members as :func:`~.vote.vote_weights` does, the last one only where it helps.

    Parameters
    ----------
    P
        ndarray of shape (n_members, n_rows, n_classes): what each says about rows that it was not
        fitted on; zeros where it abstains.
    codes
        ndarray of shape (n_rows,): the true class indices.
    folds
        ndarray of shape (n_rows,): the fold of each row.

    Returns
    -------
    ndarray of shape (n_members,)
        They sum to 1; that of the last one is 0 where the vote is not surely better with it.
    """
    if gain(P, codes, folds) > SURE:
        return vote_weights(P, codes)
    return np.append(vote_weights(P[:-1], codes), 0.0)


def gain(P: NDArray[np.float64], codes: NDArray[np.int32], folds: NDArray[np.int32]) -> float:
    """Return by how many standard errors the vote's log loss is lower with the last member.

    Row by row, by weights that were found on the rows of other folds. Both votes are compared as
    if they were calibrated, each by the temperature of these rows: a mean of more members is less
    sure of itself, and not worse for that.

    Parameters
    ----------
    P, codes, folds
        As in :func:`gated_weights`. Less than two folds tell nothing: 0.
    """
    lower = np.full(len(codes), np.nan)
    for fold in np.unique(folds):
        held_out = folds == fold
        if not held_out.all():
            without, both = (_vote_losses(some, codes, held_out) for some in (P[:-1], P))
            lower[held_out] = without - both
    return surely(lower)


def surely(lower: NDArray[np.float64]) -> float:
    """Return the mean of differences in its standard errors; NaN are left out, none is 0."""
    lower = lower[np.isfinite(lower)]
    error = float(lower.std(ddof=1)) / math.sqrt(len(lower)) if len(lower) > 1 else 0.0
    return float(lower.mean()) / error if error else 0.0


def calibrated_losses(
    P: NDArray[np.float64], codes: NDArray[np.int32], folds: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return log losses of out-of-fold scores, each fold calibrated on the others.

    Parameters
    ----------
    P
        ndarray of shape (n_rows, n_classes).
    codes, folds
        As in :func:`gated_weights`.

    Returns
    -------
    ndarray of shape (n_rows,)
        NaN where all rows are of one fold.
    """
    losses = np.full(len(codes), np.nan)
    for fold in np.unique(folds):
        held_out = folds == fold
        if not held_out.all():
            losses[held_out] = _losses(P, codes, held_out)
    return losses


def _vote_losses(
    P: NDArray[np.float64], codes: NDArray[np.int32], held_out: NDArray[np.bool_]
) -> NDArray[np.float64]:
    weights = vote_weights(P[:, ~held_out], codes[~held_out])
    return _losses(voted(P, weights), codes, held_out)


def _losses(
    P: NDArray[np.float64], codes: NDArray[np.int32], held_out: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the log losses of some rows, calibrated on the others."""
    calibration = fit_calibration("temperature", P[~held_out], codes[~held_out])
    return log_losses(calibration.apply(P[held_out]), codes[held_out])


def voted(P: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vote of members, those that abstain left out.

    Parameters
    ----------
    P
        ndarray of shape (n_members, n_rows, n_classes).
    weights
        ndarray of shape (n_members,).
    """
    say = np.einsum("m,mn->n", weights, P.any(axis=2))[:, np.newaxis]
    mean: NDArray[np.float64] = np.einsum("m,mnk->nk", weights, P) / np.where(say > 0, say, 1.0)
    return mean
