"""How much each member of a committee weighs in a mean of numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

PRIOR_ROWS = 1.0
"""As if in so many further rows all members were as good as the best one, each in its own way."""


def mean_weights(each: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh members by what each says about rows that it was not fitted on.

    The weights, none below 0 and summing to 1, of the mean with the least squared error (stacking:
    Breiman 1996, with the constraint of van der Laan et al. 2007), drawn towards equal ones: few
    rows say little and change little.

    Parameters
    ----------
    each
        ndarray of shape (n_members, n_rows); columns that are not finite do not count.
    y
        ndarray of shape (n_rows,): the true numbers.

    Returns
    -------
    ndarray of shape (n_members,)
        They sum to 1.

    Examples
    --------
    >>> y = np.arange(40.0)
    >>> mean_weights(np.array([y, y[::-1]]), y).round(2)
    array([1., 0.])
    >>> mean_weights(np.empty((2, 0)), np.empty(0))
    array([0.5, 0.5])
    """
    members = len(each)
    known = np.isfinite(each).all(axis=0)
    wrong = each[:, known] - y[known]
    equal = np.full(members, 1 / members)
    best = float((wrong**2).mean(axis=1).min()) if known.any() else 0.0
    if members == 1 or best == 0.0:
        return equal if best or not known.any() else _only_best(wrong)
    # In units of the best member's squared error, so that the prior counts rows; and for each row,
    # as the solver takes large values for an end of its steps.
    rows = wrong.shape[1] + PRIOR_ROWS * members
    products = wrong @ wrong.T / (best * rows)
    prior = PRIOR_ROWS * members / rows

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        away = weights - equal
        pulled = products @ weights
        value = weights @ pulled + prior * (away @ away)
        return float(value), 2 * (pulled + prior * away)

    solution = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(members)},
        options={"maxiter": 200, "ftol": 1e-12},
    )
    weights = np.clip(solution.x, 0.0, 1.0)
    # Below, a member is not worth its time; and the last bits differ between processors.
    weights = np.round(weights, 6)
    normalized: NDArray[np.float64] = weights / weights.sum()
    return normalized


def _only_best(wrong: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share the weight among members that are right about every row."""
    right = ~wrong.any(axis=1)
    shares: NDArray[np.float64] = right / right.sum()
    return shares
