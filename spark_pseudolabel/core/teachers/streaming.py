"""Fitting estimators that learn from rows as they come, with ``partial_fit``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone

from spark_pseudolabel.core.teachers.lines import LINES_PER_SHARD, Lines
from spark_pseudolabel.core.teachers.training import Label

ROWS_TO_CONVERGE = 1_000_000
"""What stochastic gradient descent has to see: scikit-learn's user guide, "SGD, tips on practical
use", gives ``max_iter = ceil(10**6 / n)``."""


def streams(estimator: BaseEstimator) -> bool:
    """Whether an estimator, as it is set, learns from rows as they come."""
    return hasattr(estimator, "partial_fit") and hasattr(estimator, "predict_proba")


def stops_early(estimator: BaseEstimator) -> bool:
    """Whether it wants rows put aside to tell when to stop, which a stream has none of."""
    return bool(getattr(estimator, "early_stopping", False))


def passes_over(estimator: BaseEstimator, n_lines: int) -> int:
    """Return how often an estimator sees all lines.

    Descent needs :data:`ROWS_TO_CONVERGE` of them, and takes no more passes than ``max_iter``;
    what counts, as naive Bayes does, needs each of them once.

    Examples
    --------
    >>> from sklearn.linear_model import SGDClassifier
    >>> [passes_over(SGDClassifier(max_iter=50), n) for n in (1_000, 300_000, 4_000_000)]
    [50, 4, 1]
    """
    most = getattr(estimator, "max_iter", None)
    return 1 if most is None else min(most, -(-ROWS_TO_CONVERGE // max(n_lines, 1)))


def fit_streamed(
    estimator: BaseEstimator,
    read: Callable[[], Iterable[Lines]],
    classes: Sequence[Label],
    n_lines: int,
    balanced: Callable[[], Sequence[float]],
) -> BaseEstimator:
    """Fit a copy of an estimator on lines that are never in memory all at once.

    Parameters
    ----------
    estimator
        Unfitted, with ``partial_fit``.
    read
        Yields all lines, some thousands at a time, in the same order in every call, which should
        be one of chance.
    classes
        The labels by class index, ascending.
    n_lines
        How many there are.
    balanced
        Returns what ``class_weight="balanced"`` comes to by class: no part of a stream tells.

    Returns
    -------
    estimator
        Fitted, with the parameters of `estimator`.
    """
    model = clone(estimator)
    labels = np.asarray(classes)
    is_balanced = getattr(model, "class_weight", None) == "balanced"
    if is_balanced:
        model.set_params(class_weight=dict(zip(labels.tolist(), balanced(), strict=True)))
    # Few lines are passed over hundreds of times: they are read once, and held as a shard is.
    held = list(read()) if n_lines <= LINES_PER_SHARD else None
    with config_context(transform_output="default"):
        for _ in range(passes_over(estimator, n_lines)):
            for lines in read() if held is None else held:
                model.partial_fit(lines.X, labels[lines.codes], classes=labels, **_weights(lines))
    return model.set_params(class_weight="balanced") if is_balanced else model


def takes_weights(estimator: BaseEstimator) -> bool:
    """Whether lines of a stream can be weighted."""
    return "sample_weight" in inspect.signature(type(estimator).partial_fit).parameters


def _weights(lines: Lines) -> dict[str, Any]:
    return {} if lines.weights is None else {"sample_weight": lines.weights}
