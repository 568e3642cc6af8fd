"""The training frame and the fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from joblib import parallel_config
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from spark_pseudolabel.core.teachers.estimators import final_step
from spark_pseudolabel.core.teachers.preprocessing import joined, split
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.core.trust.priors import shares

Label = str | int | bool


class LearnedRows(Protocol):
    """The rows of a fit, as far as whoever has not fitted needs to know them."""

    @property
    def n_pseudo(self) -> int:
        """How many accepted rows are among them."""
        ...

    def sha256(self) -> str:
        """Hash them: two fits on the same hash see the same bits in the same order."""
        ...

    def shares(self, n_classes: int) -> NDArray[np.float64]:
        """Return the class shares by weight, of shape (n_classes,)."""
        ...


@dataclass(frozen=True)
class TrainingRows:
    """What a model is fitted on, sorted by row key.

    Parameters
    ----------
    X
        DataFrame of shape (n_rows, n_model_columns).
    codes
        ndarray of shape (n_rows,): class indices.
    weights
        ndarray of shape (n_rows,), or None where every row weighs 1.
    n_pseudo
        How many accepted rows are in it; with soft labels each is in several lines.
    values
        ndarray of shape (n_rows,): the labels, where they are numbers; codes say nothing then.
    folds
        ndarray of shape (n_rows,): with numbers, the fold in which each row is held out to measure
        errors on it; -1 for rows that are in every fit.
    """

    X: pd.DataFrame
    codes: NDArray[np.int32]
    weights: NDArray[np.float64] | None
    n_pseudo: int
    values: NDArray[np.float64] | None = None
    folds: NDArray[np.int32] | None = None

    def sha256(self) -> str:
        """Hash the whole frame: two fits on the same hash see the same bits in the same order."""
        digest = hashlib.sha256(pd.util.hash_pandas_object(self.X, index=False).to_numpy())
        digest.update(self.codes.tobytes())
        digest.update(b"" if self.weights is None else self.weights.tobytes())
        for numbers in (self.values, self.folds):
            digest.update(b"" if numbers is None else numbers.tobytes())
        return digest.hexdigest()

    def shares(self, n_classes: int) -> NDArray[np.float64]:
        """Return the class shares by weight, of shape (n_classes,)."""
        return shares(self.codes, n_classes, self.weights)


# Values of a training frame up to which threads wait for each other longer than they compute: a fit
# on two cores took the time of one and twice its CPU. A text is one column here and many later.
_SMALL, _COLUMNS = 200_000, 32
# Products of a tall matrix and a few coefficients wait for memory: 200,000 rows of 32 columns took
# 1.7 s in two threads, and 1.0 s in one.
_NARROW = 256


def fit(
    estimator: BaseEstimator,
    rows: TrainingRows,
    classes: Sequence[Label],
    *,
    encoded_labels: bool = False,
    named: bool = True,
    previous: BaseEstimator | None = None,
    columns: BaseEstimator | None = None,
) -> BaseEstimator:
    """Fit a copy of an estimator.

    Parameters
    ----------
    estimator
        Unfitted; a pipeline, be it inside another one, gets the weights at its last step.
    rows
        The training frame.
    classes
        The labels by class index, ascending.
    encoded_labels
        Fit on class indices instead of labels; numbers are what they are.
    named
        Fit on the DataFrame, or on its bare matrix.
    previous
        A fitted model to go on from, as scikit-learn does for estimators with ``warm_start``.
    columns
        Fitted preprocessing that takes the place of the estimator's own; None: that is fitted on
        the training frame.

    Returns
    -------
    estimator
        Fitted, set to predict on one thread.
    """
    model = deepcopy(previous) if previous is not None else clone(estimator)
    X = rows.X if named else rows.X.to_numpy()
    y: NDArray[Any]
    if rows.values is not None:
        y = rows.values
    else:
        y = rows.codes if encoded_labels else np.asarray(classes)[rows.codes]
    small = len(X) * max(X.shape[1], _COLUMNS) <= _SMALL
    alone = small or (isinstance(final_step(model), LogisticRegression) and X.shape[1] <= _NARROW)
    own_columns, last = split(model)
    params = {} if rows.weights is None else {_weight_name(last): rows.weights}
    # In threads: joblib's own processes take seconds to start and outlive the fit by minutes.
    with (
        parallel_config("threading"),
        hold_threads(1) if alone else nullcontext(),
        # Whoever has set this process to get DataFrames means other models: executors have not.
        config_context(transform_output="default"),
    ):
        _set_jobs(model, 1 if small else -1, where_unset=True)
        if columns is not None:
            X = columns.transform(X)
        elif own_columns is not None:
            columns, X = own_columns, own_columns.fit_transform(X, y)
        if named and not isinstance(last, Pipeline):
            X = without_empty(X, rows.weights)
        last.fit(X, y, **params)
    return _set_jobs(last if columns is None else joined(columns, last), None)


def without_empty(X: Any, weights: NDArray[np.float64] | None = None) -> Any:
    """Put 0 into columns in which no row that counts has a value; others are left as they are.

    A fold need not hold a value of a sparse column. Histograms have no bins for such a column, and
    boosting ends in an error; a constant says as little to every estimator.

    Parameters
    ----------
    X
        What an estimator is fitted on: a DataFrame, a matrix, or a sparse one, whose empty cells
        are zeros already.
    weights
        ndarray of shape (n_rows,): rows of weight 0 do not count.
    """
    named = isinstance(X, pd.DataFrame)
    numbers = X.select_dtypes("float64") if named else X
    if issparse(X) or (values := np.asarray(numbers)).dtype.kind != "f":
        return X
    counted = values if weights is None else values[weights > 0]
    empty = np.isnan(counted).all(axis=0)
    if not empty.any():
        return X
    if named:
        return X.assign(**dict.fromkeys(map(str, numbers.columns[empty]), 0.0))
    return np.where(empty, 0.0, values)


def _set_jobs(
    estimator: BaseEstimator, n_jobs: int | None, where_unset: bool = False
) -> BaseEstimator:
    """Set ``n_jobs`` of an estimator and its parts: all cores to fit, one in each task to score."""
    params = {"": estimator, **estimator.get_params(deep=True)}
    jobs = {
        name: n_jobs
        for name, value in params.items()
        if name.split("__")[-1] == "n_jobs"
        and (value is None or not where_unset)
        and not _ignores_jobs(params[name.removesuffix("n_jobs").removesuffix("__")])
    }
    return estimator.set_params(**jobs)


def _ignores_jobs(owner: Any) -> bool:
    # Since scikit-learn 1.8 it has no effect there, and every fit warns.
    return isinstance(owner, LogisticRegression)


def _weight_name(model: BaseEstimator) -> str:
    if not isinstance(model, Pipeline):
        return "sample_weight"
    name, last = model.steps[-1]
    return f"{name}__{_weight_name(last)}"


def class_codes(labels: Sequence[Label], classes: Sequence[Label]) -> NDArray[np.int32]:
    """Map labels to class indices; -1 for a label that is not among the classes."""
    index: Mapping[Label, int] = {label: code for code, label in enumerate(classes)}
    return np.array([index.get(label, -1) for label in labels], dtype=np.int32)
