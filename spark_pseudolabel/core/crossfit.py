"""Cross-fitting: a model for each fold, an honest score for every labeled row, one mean model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.committee import members_of, soft_vote, weights_of
from spark_pseudolabel.core.kernel import DECIMALS, predict_proba
from spark_pseudolabel.core.training import Label, TrainingRows
from spark_pseudolabel.core.vote import vote_weights

FOLDS = 5
NEVER_HELD_OUT = -1


class Fits(Protocol):
    """What can be cross-fitted: a learner of one estimator, or of a committee."""

    def fit(self, rows: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
        """Fit a model on a training frame."""
        ...


@dataclass(frozen=True)
class CrossFit:
    """The models of all folds, and what they say of the rows they have not seen.

    Parameters
    ----------
    models
        One per fold, each fitted without the rows of its fold.
    folds
        ndarray of shape (n,): the fold of each row, :data:`NEVER_HELD_OUT` where it has none.
    P
        ndarray of shape (n, n_classes): rounded out-of-fold probabilities, NaN without a fold.
    adjustments
        What happens to the scores of each fold's model, which has not seen the fold either;
        empty where nothing does.
    """

    models: tuple[BaseEstimator, ...]
    folds: NDArray[np.int32]
    P: NDArray[np.float64]
    adjustments: tuple[Adjustment, ...] = ()

    @property
    def adjusted(self) -> NDArray[np.float64]:
        """The out-of-fold probabilities after the adjustment of their fold, rounded."""
        return adjusted_by_fold(self.P, self.folds, self.adjustments)

    def score(self, fold: int, X: Any) -> NDArray[np.float64]:
        """Score rows with the model of a fold, adjusted and rounded."""
        P = probabilities(self.models[fold], X)
        return rounded(self.adjustments[fold].apply(P)) if self.adjustments else P

    def score_apart(self, X: Any, hashes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score rows of the pool as labeled rows are: each with the model of one fold.

        What a mean of models predicts is not distributed as what each of them does: it follows the
        majority, the more so the less they agree. Samples are alike only where their scores are.

        Parameters
        ----------
        X
            DataFrame of shape (n, n_model_columns).
        hashes
            ndarray of shape (n,): deals the rows to folds.

        Returns
        -------
        ndarray of shape (n, n_classes)
        """
        of = hashes % len(self.models)
        P = np.empty((len(of), self.P.shape[1]))
        for fold in np.unique(of):
            P[of == fold] = self.score(int(fold), X[of == fold])
        return P

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """The rows that have an out-of-fold score."""
        known: NDArray[np.bool_] = self.folds != NEVER_HELD_OUT
        return known

    @classmethod
    def of_mean_model(
        cls,
        model: BaseEstimator,
        folds: NDArray[np.int32],
        P: NDArray[np.float64],
        classes: Sequence[Label],
    ) -> CrossFit:
        """Take a stored mean model apart again; the reverse of :meth:`mean_model`."""
        parts = members_of(model)
        weights = weights_of(model)
        size = len(parts) // (int(folds.max(initial=0)) + 1)
        starts = range(0, len(parts), size)
        models = [_as_one(parts[at : at + size], classes, weights[at : at + size]) for at in starts]
        return cls(tuple(models), folds, P)

    def mean_model(self, classes: Sequence[Label]) -> BaseEstimator:
        """Return the mean of the fold models' probabilities as one model."""
        parts = [model for fold in self.models for model in members_of(fold)]
        weights = [weight for fold in self.models for weight in weights_of(fold)]
        return _vote(parts, classes, weights)


def fold_of(
    codes: NDArray[np.int32], hashes: NDArray[np.int64], n_folds: int = FOLDS
) -> NDArray[np.int32]:
    """Deal rows to folds, class by class in the order of their hash.

    Parameters
    ----------
    codes
        ndarray of shape (n,), class indices.
    hashes
        ndarray of shape (n,), a hash of (row id, random_state): the order of rows says nothing.
    n_folds
        At least 2.

    Returns
    -------
    ndarray of shape (n,)
        The fold of each row. Classes and folds are as even as they can be; the only row of a
        class is never held out, so that every fold model knows every class.

    Examples
    --------
    >>> fold_of(np.array([0, 0, 1, 1, 1, 2]), np.array([7, 3, 5, 1, 9, 4]), n_folds=2)
    array([ 1,  0,  1,  0,  0, -1], dtype=int32)
    """
    folds = np.full(len(codes), NEVER_HELD_OUT, dtype=np.int32)
    order = np.lexsort((hashes, codes))
    alone = np.bincount(codes)[codes] < 2
    dealt = order[~alone[order]]
    folds[dealt] = np.arange(len(dealt)) % n_folds
    return folds


def cross_fit(
    learner: Fits, rows: TrainingRows, folds: NDArray[np.int32], classes: Sequence[Label]
) -> CrossFit:
    """Fit one model per fold on the other folds and score the fold with it.

    Parameters
    ----------
    learner
        Fits the models; `classes` are theirs too.
    rows
        Labeled rows.
    folds
        From :func:`fold_of`. Where they hold no row out, one model is fitted on all rows.
    """
    n_folds = int(folds.max(initial=0)) + 1
    fitted = [learner.fit(subset(rows, folds != fold), classes) for fold in range(n_folds)]
    P = np.full((len(folds), len(classes)), np.nan)
    if (folds == NEVER_HELD_OUT).all():
        return CrossFit(tuple(fitted), folds, P)
    models = _weighted(fitted, rows, folds, classes)
    for fold, model in enumerate(models):
        held_out = folds == fold
        P[held_out] = probabilities(model, rows.X[held_out])
    return CrossFit(tuple(models), folds, P)


def adjusted_by_fold(
    P: NDArray[np.float64], folds: NDArray[np.int32], adjustments: Sequence[Adjustment]
) -> NDArray[np.float64]:
    """Adjust out-of-fold scores, each by what has not seen its fold.

    Parameters
    ----------
    P, folds
        As in :class:`CrossFit`.
    adjustments
        One for each fold; none of them leaves the scores as they are.
    """
    if not adjustments:
        return P
    adjusted = np.full_like(P, np.nan)
    for fold, adjustment in enumerate(adjustments):
        adjusted[folds == fold] = rounded(adjustment.apply(P[folds == fold]))
    return adjusted


def _weighted(
    models: Sequence[BaseEstimator],
    rows: TrainingRows,
    folds: NDArray[np.int32],
    classes: Sequence[Label],
) -> list[BaseEstimator]:
    """Weigh the members of each fold's committee by the out-of-fold scores of the other folds.

    A row has then no say in the weights that it is scored with.
    """
    n_members = len(members_of(models[0]))
    if n_members == 1:
        return list(models)
    P = np.full((n_members, len(folds), len(classes)), np.nan)
    for fold, model in enumerate(models):
        held_out = folds == fold
        for number, member in enumerate(members_of(model)):
            P[number, held_out] = probabilities(member, rows.X[held_out])
    weighted = []
    for fold, model in enumerate(models):
        others = (folds != fold) & (folds != NEVER_HELD_OUT)
        weights = vote_weights(P[:, others], rows.codes[others])
        weighted.append(_vote(members_of(model), classes, weights.tolist()))
    return weighted


def _vote(
    parts: Sequence[BaseEstimator], classes: Sequence[Label], weights: Sequence[float]
) -> BaseEstimator:
    return soft_vote({f"m{i}": part for i, part in enumerate(parts)}, classes, weights)


def _as_one(
    parts: Sequence[BaseEstimator], classes: Sequence[Label], weights: Sequence[float]
) -> BaseEstimator:
    return parts[0] if len(parts) == 1 else _vote(parts, classes, weights)


def subset(rows: TrainingRows, chosen: NDArray[np.bool_]) -> TrainingRows:
    """Return some labeled rows, in their order."""
    weights = None if rows.weights is None else rows.weights[chosen]
    return replace(rows, X=rows.X[chosen], codes=rows.codes[chosen], weights=weights)


def probabilities(model: BaseEstimator, X: Any) -> NDArray[np.float64]:
    """Score rows in memory with the rounding that scores of the pool have."""
    return rounded(predict_proba(model, X))


def rounded(P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round probabilities as scores of the pool are."""
    found: NDArray[np.float64] = np.round(P, DECIMALS)
    return found
