"""A fitted model of numbers: what it publishes of a row, how surely, and between which bounds.

Workers load this module and nothing else of how such a model is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin

from spark_pseudolabel.core import scaling
from spark_pseudolabel.core.compiled import models as compiled
from spark_pseudolabel.core.numbers import NUMBER, NumberTask

NO_COLUMNS = -1
"""Place of the preprocessing of a part that has none."""

LEAST = 1e-6
"""The least confidence: one that is rounded to 0 would say that nothing is said of a row."""

_BEYOND = 1.5
"""No row is taken to err by more than so many times the largest error, measured by its scale."""

_SLACK = 1e-9
"""What a sum of doubles may be short of a whole number."""


class NumberModel(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # they have no types
    """The weighted mean of fitted estimators, with errors that were measured on unseen rows.

    An error is measured by the scale that is expected of it where the row is. Of these the share
    below the tolerance is the confidence, and a quantile makes the interval: a label is at least
    as sure as an interval asks for where the interval is within the tolerance.

    Parameters
    ----------
    tolerance, relative, interval, integer, decimals, sd, mean
        As in :class:`~spark_pseudolabel.core.numbers.NumberTask`.

    Attributes
    ----------
    columns_ : list
        Fitted preprocessing, each once.
    estimators_ : list
        The parts, fitted, without their preprocessing.
    places_ : ndarray of shape (n_parts,)
        Index of the preprocessing of each part; :data:`NO_COLUMNS`: it takes rows as they are.
    weights_ : ndarray of shape (n_parts,)
        Of the mean; they sum to 1.
    centers_, sizes_ : ndarrays of shape (n_parts,)
        What a part says is multiplied by its size, and its center is added.
    scale_ : estimator or None
        Says what size of error to expect; None: the same everywhere.
    scale_place_ : int
        Index of the preprocessing of what it sees beside the number and the parts' spread.
    scale_names_ : list of str
        The columns that it sees as they are.
    floor_ : float
        The least size of error to be expected.
    errors_ : ndarray of shape (n_errors,)
        Absolute errors on unseen rows, each divided by what was expected; ascending.
    """

    def __init__(
        self,
        tolerance: float = 1.0,
        relative: bool = False,
        interval: float = 0.95,
        integer: bool = False,
        decimals: int = 6,
        sd: float = 1.0,
        mean: float = 0.0,
    ) -> None:
        self.tolerance = tolerance
        self.relative = relative
        self.interval = interval
        self.integer = integer
        self.decimals = decimals
        self.sd = sd
        self.mean = mean

    @classmethod
    def of(cls, task: NumberTask, parts: Mapping[str, Any]) -> Self:
        """Put fitted parts together; they are named as the attributes are, without underscore."""
        model = cls(**asdict(task))
        for name, value in parts.items():
            setattr(model, f"{name}_", value)
        return model

    @property
    def task(self) -> NumberTask:
        """What is asked of labels."""
        return NumberTask(**self.get_params())

    @property
    def transductive(self) -> bool:
        """Whether it knows rows by their node ids alone."""
        return any(getattr(estimator, "transductive", False) for estimator in self.estimators_)

    @property
    def takes_nan(self) -> bool:
        """Whether rows with missing numbers are nodes, of one that knows nodes."""
        return all(estimator.takes_nan for estimator in self.estimators_)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The one class there is."""
        return np.array([NUMBER])

    def predict(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return the numbers that are published, of shape (n_rows,)."""
        return self.says(X)[:, 0]

    def says(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return all that is published of rows.

        Parameters
        ----------
        X
            Model input.

        Returns
        -------
        ndarray of shape (n_rows, 4)
            The number, its confidence in (0, 1], not rounded, and the bounds of its interval. NaN
            where a part gives no finite number; beside a confidence of 0 where a part abstains.
        """
        if not len(X):
            return np.empty((0, 4))
        prepared: dict[int, Any] = {}
        value, spread = self._middle(X, prepared)
        size = self._sizes(X, value, spread, prepared)
        said = self.published(value, size)
        said[self._abstained(X, prepared), 1] = 0.0
        return said

    def abstained(self, X: pd.DataFrame) -> NDArray[np.bool_]:
        """Return from which rows a part abstains, of shape (n_rows,)."""
        return self._abstained(X, {})

    def members_says(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return what each part says, of shape (n_parts, n_rows)."""
        return self._each(X, {})

    def middle(self, X: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the numbers of rows and how far what they are made of is apart; see `middle`."""
        return self._middle(X, {})

    def expected(
        self, X: pd.DataFrame, value: NDArray[np.float64], spread: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the size of error that is expected of rows.

        Parameters
        ----------
        X
            Model input.
        value, spread
            From :func:`middle`.
        """
        return self._sizes(X, value, spread, {})

    def published(
        self, value: NDArray[np.float64], size: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what is published, of numbers and of the sizes of error that are expected."""
        task, known = self.task, np.isfinite(value) & np.isfinite(size)
        published = task.published(value)
        below, above = reaches(task, published)
        with np.errstate(invalid="ignore"):
            share = self._share_below(below / size)
            if above is not below:
                share = (share + self._share_below(above / size)) / 2
        away = self._quantile(task.interval) * size
        lower, upper = value - away, value + away
        if task.integer:  # whole numbers lie between any bounds and the whole numbers inside them
            lower, upper = np.ceil(lower), np.floor(upper)
        else:
            lower, upper = task.published(lower), task.published(upper)
        bounds = np.minimum(lower, published), np.maximum(upper, published)
        said = np.column_stack([published, np.maximum(share, LEAST), *bounds])
        said[~known] = np.nan
        return said

    def _middle(
        self, X: pd.DataFrame, prepared: dict[int, Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        within = [
            estimator.spread(self._prepared(X, int(place), prepared)) * size
            if hasattr(estimator, "spread")
            else 0.0
            for estimator, place, size in zip(
                self.estimators_, self.places_, self.sizes_, strict=True
            )
        ]
        return middle(self._each(X, prepared), self.weights_, within)

    def _each(self, X: pd.DataFrame, prepared: dict[int, Any]) -> NDArray[np.float64]:
        each = np.empty((len(self.estimators_), len(X)))
        for part, estimator in enumerate(self.estimators_):
            rows = self._prepared(X, int(self.places_[part]), prepared)
            said = np.asarray(compiled.predict(estimator, rows), dtype=np.float64).reshape(-1)
            each[part] = said * self.sizes_[part] + self.centers_[part]
        return each

    def _abstained(self, X: pd.DataFrame, prepared: dict[int, Any]) -> NDArray[np.bool_]:
        none = np.zeros(len(X), dtype=bool)
        for part, estimator in enumerate(self.estimators_):
            if getattr(estimator, "abstains", False):
                none |= estimator.unreached(self._prepared(X, int(self.places_[part]), prepared))
        return none

    def _prepared(self, X: pd.DataFrame, place: int, prepared: dict[int, Any]) -> Any:
        if place == NO_COLUMNS:
            return X
        if place not in prepared:
            prepared[place] = scaling.transform(self.columns_[place], X)
        return prepared[place]

    def _sizes(
        self,
        X: pd.DataFrame,
        value: NDArray[np.float64],
        spread: NDArray[np.float64],
        prepared: dict[int, Any],
    ) -> NDArray[np.float64]:
        if self.scale_ is None:
            return np.where(np.isfinite(value), self.floor_, np.nan)
        place = int(self.scale_place_)
        own = (
            np.asarray(X[self.scale_names_], dtype=np.float64)
            if place == NO_COLUMNS
            else self._prepared(X, place, prepared)
        )
        seen = scale_input(own, value, spread, self.task)
        known = np.isfinite(value)
        size = np.full(len(value), np.nan)
        if known.any():
            rows = seen if known.all() else seen[known]
            size[known] = np.maximum(mean_of_trees(self.scale_, rows), self.floor_)
        return size

    def _curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return errors, and which share of rows to expect below each: n of n + 1 at the most."""
        n = len(self.errors_)
        last = self.errors_[-1] * _BEYOND if n else 1.0
        errors = np.concatenate([[0.0], self.errors_, [last + np.finfo(float).tiny]])
        return errors, np.arange(n + 2) / (n + 1)

    def _share_below(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        shares: NDArray[np.float64] = np.interp(errors, *self._curve())
        return shares

    def _quantile(self, share: float) -> float:
        errors, shares = self._curve()
        return float(np.interp(share, shares, errors))


def middle(
    each: NDArray[np.float64],
    weights: NDArray[np.float64],
    within: Sequence[NDArray[np.float64] | float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted mean of parts and their standard deviation around it.

    Added up part by part: what a matrix product makes of a row depends on the rows beside it.

    Parameters
    ----------
    each
        ndarray of shape (n_parts, n_rows).
    weights
        ndarray of shape (n_parts,), summing to 1.
    within
        The deviation of what each part has averaged itself: ndarrays of shape (n_rows,), or 0.
    """
    value = np.zeros(each.shape[1])
    for part, weight in zip(each, weights, strict=True):
        value += weight * part
    variance = np.zeros(each.shape[1])
    for part, weight, own in zip(each, weights, within, strict=True):
        variance += weight * ((part - value) ** 2 + own**2)
    return value, np.sqrt(variance)


def reaches(
    task: NumberTask, published: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far below and above a published number the true one may be for it to be right.

    A tolerance that is a share p of the true number y reaches from v / (1 + p) to v / (1 - p), and
    to any distance with a p of 1 or more. Whole numbers count as the middle of all that is rounded
    to them.

    Examples
    --------
    >>> [float(r[0]) for r in reaches(NumberTask(0.1, True, 0.95, False, 6, 1.0), np.array([99.0]))]
    [9.0, 11.0]
    >>> [float(r[0]) for r in reaches(NumberTask(2.0, False, 0.95, True, 0, 1.0), np.array([99.0]))]
    [2.5, 2.5]
    """
    size = np.abs(published)
    if task.relative:
        share = task.tolerance
        below = size * (share / (1 + share))
        above = size * (share / (1 - share)) if share < 1 else np.where(size > 0, np.inf, 0.0)
    else:
        below = above = np.full(len(published), task.tolerance)
    if task.integer:
        whole = np.floor(below + _SLACK) + 0.5
        return whole, whole if above is below else np.floor(above + _SLACK) + 0.5
    return below, above


def mean_of_trees(forest: Any, Z: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a fitted forest predicts, without the threads and checks of its own method.

    They take as long as its few trees do; of many rows, compiled loops take less.

    Parameters
    ----------
    forest
        Regressor.
    Z
        ndarray of shape (n, n_columns).
    """

    def added_up(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        total = np.zeros(len(rows))
        for tree in forest.estimators_:
            total += tree.tree_.predict(rows)[:, 0]
        mean: NDArray[np.float64] = total / len(forest.estimators_)
        return mean

    with config_context(assume_finite=True):
        return compiled.predict(forest, np.ascontiguousarray(Z, dtype=np.float32), added_up)


def scale_input(
    own: NDArray[np.float64],
    value: NDArray[np.float64],
    spread: NDArray[np.float64],
    task: NumberTask,
) -> NDArray[np.float32]:
    """Put together what the expected size of an error depends on.

    The number and the spread are rounded as published ones are: their last bits depend on the rows
    that are scored beside them, and a tree has thresholds.

    Parameters
    ----------
    own
        ndarray of shape (n, n_columns), of the row itself.
    value, spread
        From :func:`middle`.
    task
        What is asked of labels.
    """
    decimals = task.decimals if not task.integer else max(task.decimals, 0) + 6
    rounded: Sequence[NDArray[np.float64]] = [np.round(x, decimals) for x in (value, spread)]
    seen = np.empty((len(own), own.shape[1] + len(rounded)), dtype=np.float32)  # as trees have it
    seen[:, : own.shape[1]] = own
    for place, column in enumerate(rounded, own.shape[1]):
        seen[:, place] = column
    return seen
