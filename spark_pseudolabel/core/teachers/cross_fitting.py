"""Cross-fitting: a model for each fold, an out-of-fold score for every labeled row, one mean model.

Two kinds of models are measured on labeled rows. One that is fitted on all rows is known by the
models of the folds, each of which has not seen its fold (:func:`cross_fit`). The mean of these
models is another kind: it is right more often and sure in another way than each of them, so that
what is found on scores of single models does not hold for it. It is known by means of as many
models, none of which has seen the row (:func:`cross_fit_mean`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.adjustment import Adjustment
from spark_pseudolabel.core.kernel import DECIMALS, predict_proba
from spark_pseudolabel.core.teachers.node_scores import NodeScores
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote, vote_weights, weights_of

FOLDS = 5
NEVER_HELD_OUT = -1


Fit = Callable[[TrainingRows, Sequence[Label]], BaseEstimator]
"""Fits a model on a training frame, whose codes number the given labels."""

Weigh = Callable[[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]], NDArray[np.float64]]
"""Weighs members by out-of-fold scores, true class indices and folds of some rows."""


def by_mixture(
    P: NDArray[np.float64], codes: NDArray[np.int32], folds: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Weigh members by :func:`~.vote.vote_weights`, whatever the folds."""
    return vote_weights(P, codes)


@dataclass(frozen=True)
class MemberScore:
    """How one member of the fold models does on rows that it has not seen.

    Parameters
    ----------
    weight
        Its share of the vote, the mean over the folds.
    coverage
        Share of the rows that it gives a class.
    accuracy
        Share of right classes among these; None where there are none.
    """

    weight: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True)
class CrossFit:
    """The models of all folds, and what they say about the rows they have not seen.

    Parameters
    ----------
    models
        One per fold, each fitted without the rows of its fold.
    folds
        ndarray of shape (n,): the fold of each row, :data:`NEVER_HELD_OUT` where it has none.
    P
        ndarray of shape (n, n_classes): rounded out-of-fold probabilities, NaN without a fold.
    adjustments
        What happens to the scores of each fold, found without its rows; empty where nothing does.
    unseen
        Per fold, the model that has scored its rows where that is not `models`: a mean of models
        none of which has seen the fold.
    members
        How each member of the models does; empty where no row is held out.
    settled
        Settings that were found while fitting, for reports.
    voters
        Members of each model, where that was found while fitting; None: as many as the teacher has.
    numbers
        ndarray of shape (n, 4), where labels are numbers: what is published of each row, which is
        number, confidence and bounds, by models that have not seen it; NaN without a fold.
    """

    models: tuple[BaseEstimator, ...]
    folds: NDArray[np.int32]
    P: NDArray[np.float64]
    adjustments: tuple[Adjustment, ...] = ()
    unseen: tuple[BaseEstimator, ...] = ()
    members: tuple[MemberScore, ...] = ()
    settled: Mapping[str, bool | float] = field(default_factory=dict)
    voters: int | None = None
    numbers: NDArray[np.float64] | None = None

    @property
    def adjusted(self) -> NDArray[np.float64]:
        """The out-of-fold probabilities after the adjustment of their fold, rounded."""
        return adjusted_by_fold(self.P, self.folds, self.adjustments)

    def score(self, fold: int, X: Any) -> NDArray[np.float64]:
        """Score rows as those of a fold are, adjusted and rounded."""
        P = probabilities((self.unseen or self.models)[fold], X)
        return rounded(self.adjustments[fold].apply(P)) if self.adjustments else P

    def score_apart(self, X: Any, hashes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score rows of the pool exactly as labeled rows are: each as a row of one fold.

        What the mean of all models predicts is not distributed as what less of them do: it follows
        the majority, the more so the less they agree. Samples are alike only where their scores
        are.

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

    def mean_model(self, classes: Sequence[Label]) -> BaseEstimator:
        """Return the mean of the fold models' probabilities as one model."""
        return _mean(self.models, classes)


def fold_of(
    codes: NDArray[np.int32],
    hashes: NDArray[np.int64],
    n_folds: int = FOLDS,
    units: NDArray[np.int64] | None = None,
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
    units
        ndarray of shape (n,): rows of one number share a fold; None: each has its own.

    Returns
    -------
    ndarray of shape (n,)
        The fold of each row. Classes and folds are as even as they can be; the only row of a
        class, or its only unit, is never held out, so that every fold model knows every class.

    Examples
    --------
    >>> fold_of(np.array([0, 0, 1, 1, 1, 2]), np.array([7, 3, 5, 1, 9, 4]), n_folds=2)
    array([ 1,  0,  1,  0,  0, -1], dtype=int32)
    """
    if units is not None and len(np.unique(units)) < len(units):
        return _folds_of_units(codes, hashes, n_folds, units)
    folds = np.full(len(codes), NEVER_HELD_OUT, dtype=np.int32)
    order = np.lexsort((hashes, codes))
    alone = np.bincount(codes)[codes] < 2
    dealt = order[~alone[order]]
    folds[dealt] = np.arange(len(dealt)) % n_folds
    return folds


def _folds_of_units(
    codes: NDArray[np.int32], hashes: NDArray[np.int64], n_folds: int, units: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Deal units of several rows first, each to the fold that has the least of its classes."""
    folds = np.full(len(codes), NEVER_HELD_OUT, dtype=np.int32)
    n_of_class = np.bincount(codes)
    dealt = np.zeros((n_folds, len(n_of_class)), dtype=np.int64)
    order = np.lexsort((hashes, units))
    starts = np.flatnonzero(np.diff(units[order], prepend=units[order[0]] - 1))
    rows_of = np.split(order, starts[1:])
    several = [rows for rows in rows_of if len(rows) > 1]
    for rows in sorted(several, key=lambda rows: (-len(rows), hashes[rows[0]])):
        present, n = np.unique(codes[rows], return_counts=True)
        crowded = np.round(dealt[:, present] @ (n / n_of_class[present]), 9)
        fold = int(np.lexsort((dealt.sum(axis=1), crowded))[0])
        folds[rows] = fold
        dealt[fold, present] += n
    single = np.sort(np.array([rows[0] for rows in rows_of if len(rows) == 1], dtype=np.intp))
    for code in np.unique(codes[single]):
        rows = single[codes[single] == code]
        filled = _least_filled(dealt, int(code), len(rows))
        folds[rows[np.argsort(hashes[rows], kind="stable")]] = filled
        dealt[:, code] += np.bincount(filled, minlength=n_folds)
    return _every_class_learned(codes, folds, several)


def _least_filled(dealt: NDArray[np.int64], code: int, n: int) -> NDArray[np.intp]:
    """Return the folds for n more rows of a class, one after the other to the emptiest."""
    n_folds = len(dealt)
    levels = dealt[:, code, np.newaxis] + np.arange(n)
    emptier = np.argsort(np.argsort(dealt.sum(axis=1), kind="stable"), kind="stable")
    order = np.lexsort((np.repeat(emptier, n), levels.ravel()))
    return np.repeat(np.arange(n_folds), n)[order[:n]]


def _every_class_learned(
    codes: NDArray[np.int32], folds: NDArray[np.int32], several: Sequence[NDArray[np.intp]]
) -> NDArray[np.int32]:
    """Never hold out a unit of a class that lies in one fold as a whole."""
    unit_of = np.arange(len(codes))
    for rows in several:
        unit_of[rows] = rows[0]
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        if (folds[rows] == folds[rows[0]]).all() and folds[rows[0]] != NEVER_HELD_OUT:
            folds[unit_of == unit_of[rows[0]]] = NEVER_HELD_OUT
    return folds


def cross_fit(
    fit: Fit,
    rows: TrainingRows,
    folds: NDArray[np.int32],
    classes: Sequence[Label],
    weigh: Weigh = by_mixture,
) -> CrossFit:
    """Fit one model per fold on the other folds and score the fold with it.

    Parameters
    ----------
    fit
        Fits the models; `classes` are theirs too.
    rows
        Labeled rows.
    folds
        From :func:`fold_of`. Where they hold no row out, one model is fitted on all rows.
    weigh
        Weighs the members of committees.
    """
    n_folds = int(folds.max(initial=0)) + 1
    fitted = [fit(subset(rows, folds != fold), classes) for fold in range(n_folds)]
    P = np.full((len(folds), len(classes)), np.nan)
    if (folds == NEVER_HELD_OUT).all():
        return CrossFit(tuple(fitted), folds, P)
    each = _by_member(fitted, rows, folds, len(classes))
    models = _weighted(fitted, each, rows.codes, folds, classes, weigh)
    for fold, model in enumerate(models):
        held_out = folds == fold
        alone = len(each) == 1
        P[held_out] = each[0, held_out] if alone else probabilities(model, rows.X[held_out])
    members = _member_scores(models, each, rows.codes, folds)
    return CrossFit(tuple(models), folds, P, members=members)


def cross_fit_mean(
    fit: Fit,
    rows: TrainingRows,
    folds: NDArray[np.int32],
    classes: Sequence[Label],
    weigh: Weigh = by_mixture,
) -> CrossFit:
    """Fit one model per fold, and score each fold as their mean scores rows it has not seen.

    Of k folds each is scored by the mean of k models: the one fitted without the fold, and those
    fitted without it and another one. The latter serve two folds: k (k - 1) / 2 fits more.

    Parameters
    ----------
    fit, rows, folds, classes, weigh
        As in :func:`cross_fit`.

    Returns
    -------
    CrossFit
        Its `models` are what :meth:`CrossFit.mean_model` is the mean of.
    """
    fitted = cross_fit(fit, rows, folds, classes, weigh)
    if not fitted.held_out.any():
        return fitted
    without_two: dict[bytes, BaseEstimator | None] = {}
    unseen, P = [], fitted.P.copy()
    for fold, model in enumerate(fitted.models):
        held_out = folds == fold
        parts = [model]
        for other_fold in range(len(fitted.models)):
            if other_fold == fold:
                continue
            chosen = _without_two(rows.codes, folds, fold, other_fold)
            key = chosen.tobytes()
            if key not in without_two:
                without_two[key] = _fit_on_few(fit, subset(rows, chosen), classes)
            part = without_two[key]
            if part is not None:
                # Its own weights would be equal: none of its rows has told the members apart.
                parts.append(_as_one(members_of(part), classes, weights_of(model)))
        unseen.append(_mean(parts, classes))
        P[held_out] = probabilities(unseen[-1], rows.X[held_out])
    return replace(fitted, unseen=tuple(unseen), P=P)


def scores_without_two(
    fit: Fit,
    rows: TrainingRows,
    folds: NDArray[np.int32],
    classes: Sequence[Label],
    fitted: CrossFit,
) -> NDArray[np.float64]:
    """Score rows by models that have seen neither their fold nor another one.

    Parameters
    ----------
    fit, rows, folds, classes
        As in :func:`cross_fit_mean`, which makes the same fits.
    fitted
        From there.

    Returns
    -------
    ndarray of shape (n_folds, n_rows, n_classes)
        Rounded; by the first index the other fold. NaN for the rows of that fold itself, for those
        without a fold, and where no such model can be fitted.
    """
    n_folds = len(fitted.models)
    P = np.full((n_folds, len(folds), len(classes)), np.nan)
    for fold, model in enumerate(fitted.models):
        for other_fold in range(n_folds):
            chosen = _without_two(rows.codes, folds, fold, other_fold)
            unseen = (folds == other_fold) & ~chosen
            if other_fold == fold or not unseen.any():
                continue
            part = _fit_on_few(fit, subset(rows, chosen), classes)
            if part is not None:
                as_voted = _as_one(members_of(part), classes, weights_of(model))
                P[fold, unseen] = probabilities(as_voted, rows.X[unseen])
    return P


def _without_two(
    codes: NDArray[np.int32], folds: NDArray[np.int32], fold: int, other_fold: int
) -> NDArray[np.bool_]:
    """Leave out a fold, and of another one all rows but those of classes that nobody else has.

    So every model knows every class, as in :func:`fold_of`.
    """
    outside = (folds != fold) & (folds != other_fold)
    missing = np.setdiff1d(codes, codes[outside])
    chosen: NDArray[np.bool_] = outside | ((folds == other_fold) & np.isin(codes, missing))
    return chosen


def _fit_on_few(fit: Fit, rows: TrainingRows, classes: Sequence[Label]) -> BaseEstimator | None:
    """Fit a model that scores; None where an estimator asks for more rows than that."""
    try:
        model = fit(rows, classes)
        model.predict_proba(rows.X[:1])
    except ValueError:
        return None
    return model


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


def _by_member(
    models: Sequence[BaseEstimator], rows: TrainingRows, folds: NDArray[np.int32], n_classes: int
) -> NDArray[np.float64]:
    """Score each fold by every member of its model; shape (n_members, n_rows, n_classes)."""
    P = np.full((len(members_of(models[0])), len(folds), n_classes), np.nan)
    for fold, model in enumerate(models):
        held_out = folds == fold
        for number, member in enumerate(members_of(model)):
            P[number, held_out] = probabilities(member, rows.X[held_out])
    return P


def _weighted(
    models: Sequence[BaseEstimator],
    P: NDArray[np.float64],
    codes: NDArray[np.int32],
    folds: NDArray[np.int32],
    classes: Sequence[Label],
    weigh: Weigh,
) -> list[BaseEstimator]:
    """Weigh the members of each fold's committee by the out-of-fold scores of the other folds.

    A row has then no say in the weights that it is scored with.
    """
    if len(P) == 1:
        return list(models)
    weighted = []
    for fold, model in enumerate(models):
        others = (folds != fold) & (folds != NEVER_HELD_OUT)
        weights = weigh(P[:, others], codes[others], folds[others])
        weighted.append(_vote(members_of(model), classes, weights.tolist()))
    return weighted


def _member_scores(
    models: Sequence[BaseEstimator],
    P: NDArray[np.float64],
    codes: NDArray[np.int32],
    folds: NDArray[np.int32],
) -> tuple[MemberScore, ...]:
    weights = np.mean([weights_of(model) for model in models], axis=0)
    known = folds != NEVER_HELD_OUT
    return tuple(
        member_score(float(weight), of_member, codes[known])
        for weight, of_member in zip(weights, P[:, known], strict=True)
    )


def member_score(weight: float, P: NDArray[np.float64], codes: NDArray[np.int32]) -> MemberScore:
    """Measure what a member says about rows, at least one, that it has not seen."""
    says = P.any(axis=1)
    right = P[says].argmax(axis=1) == codes[says]
    return MemberScore(weight, float(says.mean()), float(right.mean()) if says.any() else None)


def _vote(
    parts: Sequence[BaseEstimator], classes: Sequence[Label], weights: Sequence[float]
) -> BaseEstimator:
    return soft_vote({f"m{i}": part for i, part in enumerate(parts)}, classes, weights)


def _mean(models: Sequence[BaseEstimator], classes: Sequence[Label]) -> BaseEstimator:
    """Return the mean of models, each a committee or a single one, as one flat vote.

    Of models that look nodes up one that has the means: the others may have millions of rows.
    """
    if all(isinstance(model, NodeScores) for model in models):
        return NodeScores.mean(models, [1.0] * len(models))
    parts = [part for model in models for part in members_of(model)]
    return _vote(parts, classes, [weight for model in models for weight in weights_of(model)])


def _as_one(
    parts: Sequence[BaseEstimator], classes: Sequence[Label], weights: Sequence[float]
) -> BaseEstimator:
    return parts[0] if len(parts) == 1 else _vote(parts, classes, weights)


def numbered(rows: TrainingRows) -> TrainingRows:
    """Return the same rows with numbers for an index, by which parts of them are known."""
    return replace(rows, X=rows.X.reset_index(drop=True))


@dataclass(frozen=True)
class Once:
    """Fits of parts of :func:`numbered` rows, each made once.

    Parameters
    ----------
    fit
        Makes them.
    known
        Those that are made.
    """

    fit: Fit
    known: dict[bytes, BaseEstimator] = field(default_factory=dict)

    def __call__(self, rows: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
        """Return the fit of some rows."""
        key = rows.X.index.to_numpy().tobytes()
        if key not in self.known:
            self.known[key] = self.fit(rows, classes)
        return self.known[key]


def subset(rows: TrainingRows, chosen: NDArray[np.bool_]) -> TrainingRows:
    """Return some labeled rows, in their order."""
    return replace(
        rows,
        X=rows.X[chosen],
        codes=rows.codes[chosen],
        weights=None if rows.weights is None else rows.weights[chosen],
        values=None if rows.values is None else rows.values[chosen],
        folds=None if rows.folds is None else rows.folds[chosen],
    )


def probabilities(model: BaseEstimator, X: Any) -> NDArray[np.float64]:
    """Score rows in memory with the rounding that scores of the pool have."""
    return rounded(predict_proba(model, X))


def rounded(P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round probabilities as scores of the pool are."""
    as_stored: NDArray[np.float64] = np.round(P, DECIMALS)
    return as_stored
