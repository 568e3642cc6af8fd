"""The vote of a committee, and how much each of its members weighs in it.

Members differ in how good they are, and in how sure they say they are: with few rows and many
classes, trees that are nearly always right may give 0.3 to their first choice, and a linear model
that is often wrong 0.9. In an equal vote the loudest member decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import VotingClassifier
from sklearn.preprocessing import LabelEncoder

from spark_pseudolabel.core.teachers.partial_vote import PartialVote, may_abstain
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.core.trust.calibration import fit_calibration
from spark_pseudolabel.core.trust.metrics import LOG_LOSS_FLOOR, p_of_true

PRIOR_ROWS = 2.0
"""As if each member had been the only right one for so many further rows."""

_EM_STEPS = 200
_LEAST = 1e-4
"""No probability counts as less: a tree's 0 is no impossibility."""


def vote_weights(P: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Weigh members by what each says about rows that it was not fitted on.

    The weights of a mixture of the members, each at the temperature that fits it best, that make
    the labels most probable, with a Dirichlet prior around equal weights: few rows say little and
    change little. A vote is of plain probabilities; so a weight also has the factor by which
    the temperature moves its member's probabilities away from equal ones.

    Parameters
    ----------
    P
        ndarray of shape (n_members, n_rows, n_classes).
    codes
        ndarray of shape (n_rows,): the true class indices.

    Returns
    -------
    ndarray of shape (n_members,)
        They sum to 1; none is 0.

    Examples
    --------
    >>> P = np.array([[[0.9, 0.1]] * 8, [[0.3, 0.7]] * 8])
    >>> vote_weights(P, np.array([0, 0, 0, 0, 0, 0, 0, 1])).round(2)
    array([0.96, 0.04])
    >>> vote_weights(np.empty((2, 0, 2)), np.array([], dtype=int))
    array([0.5, 0.5])
    """
    P = np.maximum(P, _LEAST)
    tempered = [fit_calibration("temperature", member, codes).apply(member) for member in P]
    shares = mixture_weights(np.stack([p_of_true(codes, member) for member in tempered], axis=1))
    weights = shares * [_stretch(*pair) for pair in zip(P, tempered, strict=True)]
    normalized: NDArray[np.float64] = weights / weights.sum()
    return normalized


def mixture_weights(p_true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the most probable weights of a mixture, by expectation maximization.

    Parameters
    ----------
    p_true
        ndarray of shape (n_rows, n_members): the probability that each gives the true class.
    """
    likelihood = np.maximum(p_true, LOG_LOSS_FLOOR)
    weights = np.full(p_true.shape[1], 1 / p_true.shape[1])
    for _ in range(_EM_STEPS):
        shares = weights * likelihood
        shares /= shares.sum(axis=1, keepdims=True)
        counts = shares.sum(axis=0) + PRIOR_ROWS
        weights = counts / counts.sum()
    return weights


def _stretch(P: NDArray[np.float64], tempered: NDArray[np.float64]) -> float:
    """Return the factor that brings P's distances from equal probabilities to the tempered ones."""
    n_classes = P.shape[1]
    before, after = P - 1 / n_classes, tempered - 1 / n_classes
    total = float((before * before).sum())
    # Members that say nothing at all have no scale, and tempering moves none to the other side.
    return max(float((before * after).sum()) / total, _LEAST) if total else 1.0


def soft_vote(
    models: Mapping[str, BaseEstimator],
    classes: Sequence[Label],
    weights: Sequence[float] | None = None,
) -> VotingClassifier:
    """Put fitted models together as one that predicts their mean probabilities.

    Where some of them may abstain and others do not, that of those that say something.

    Parameters
    ----------
    models
        Fitted classifiers by name; all know the same classes, in the same order, be it by index.
    classes
        The labels, ascending.
    weights
        Of the models, in their order; None for equal ones.
    """
    # The fitted members are in one place only: trees are stored as often as they are named.
    unfitted = [(name, clone(model)) for name, model in models.items()]
    n_abstaining = sum(map(may_abstain, models.values()))
    kind = PartialVote if 0 < n_abstaining < len(models) else VotingClassifier
    vote = kind(
        unfitted, voting="soft", weights=None if weights is None else [float(w) for w in weights]
    )
    vote.estimators_ = list(models.values())
    vote.le_ = LabelEncoder().fit(np.asarray(classes))
    vote.classes_ = vote.le_.classes_
    return vote


def weights_of(model: BaseEstimator) -> list[float]:
    """Return the weights of a committee's members, which sum to 1; a single model has them all."""
    stored = model.weights if isinstance(model, VotingClassifier) else None
    weights = np.ones(len(members_of(model))) if stored is None else np.asarray(stored)
    return [float(weight) for weight in weights / weights.sum()]


def members_of(model: BaseEstimator) -> list[BaseEstimator]:
    """Return the members of a fitted committee; a single model is its own only member."""
    return list(model.estimators_) if isinstance(model, VotingClassifier) else [model]
