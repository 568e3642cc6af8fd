"""Where a model of numbers errs: by its confidence, and from low numbers to high ones."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.facts import ErrorsAtConfidence, ErrorsAtNumber, Residuals
from spark_pseudolabel.core.numbers import NumberTask

BINS = 10
"""Of confidence, of equal width; and of numbers, of equally many rows."""


def residuals_of(
    y: NDArray[np.float64],
    numbers: NDArray[np.float64],
    task: NumberTask,
    source: Literal["oof", "validation"],
) -> Residuals | None:
    """Say how large errors are on rows that a model was not trained on.

    Parameters
    ----------
    y
        ndarray of shape (n,): the true numbers.
    numbers
        ndarray of shape (n, 4): published number, confidence, lower and upper bound; rows of NaN
        are left out.
    task
        What is asked.
    source
        Which rows these are.

    Returns
    -------
    Residuals or None
        None without a row.

    Examples
    --------
    >>> task = NumberTask(1.0, False, 0.95, False, 6, 1.0)
    >>> said = np.array([[2.0, 0.95, 0.0, 4.0], [3.0, 0.92, 1.0, 5.0], [7.0, 0.3, 5.0, 9.0]])
    >>> found = residuals_of(np.array([2.5, 3.0, 4.0]), said, task, "oof")
    >>> [(of.low, of.rows, of.right, of.mae) for of in found.by_confidence]
    [(0.3, 1, 0, 3.0), (0.9, 2, 2, 0.25)]
    """
    known = np.isfinite(numbers).all(axis=1) & np.isfinite(y)
    if not known.any():
        return None
    y, (value, confidence, lower, upper) = y[known], numbers[known].T
    error, right = np.abs(y - value), task.is_right(y, value)
    covered = (lower <= y) & (y <= upper)
    bins = np.minimum(np.rint(confidence * 1e6).astype(np.int64) * BINS // 10**6, BINS - 1)
    by_confidence = [
        ErrorsAtConfidence(
            low=number / BINS,
            rows=int(of.sum()),
            confidence=float(confidence[of].mean()),
            right=int(right[of].sum()),
            mae=float(error[of].mean()),
            covered=int(covered[of].sum()),
            width=float((upper - lower)[of].mean()),
        )
        for number in range(BINS)
        if (of := bins == number).any()
    ]
    parts = np.array_split(np.lexsort((y, value)), min(BINS, len(y)))
    by_number = [
        ErrorsAtNumber(
            rows=len(of),
            predicted=float(value[of].mean()),
            true=float(y[of].mean()),
            lowest=float(np.quantile(y[of], 0.1)),
            highest=float(np.quantile(y[of], 0.9)),
        )
        for of in parts
    ]
    return Residuals(source, tuple(by_confidence), tuple(by_number))
