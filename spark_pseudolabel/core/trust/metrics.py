"""How good a model is, from predictions on rows with true labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOG_LOSS_FLOOR = 1e-6
"""Probabilities below this count as this much in the log loss: the quantum of a confidence."""


@dataclass(frozen=True)
class NumberMetrics:
    """Errors of predicted numbers.

    Parameters
    ----------
    rmse, mae
        Root of the mean squared error, and mean absolute error, in units of the label.
    r2
        Share of the variance that is explained, at most 1; None of numbers that are all alike.
    coverage
        Share of true numbers within the published bounds.
    width
        Mean width of these, in units of the label.
    """

    rmse: float
    mae: float
    r2: float | None
    coverage: float
    width: float


@dataclass(frozen=True)
class Metrics:
    """Metrics over n rows; None where n is 0.

    Of labels that are numbers `accuracy` is the share within the tolerance, `log_loss` that of the
    confidences, and the class-wise figures are None.

    Parameters
    ----------
    n
        Number of rows.
    accuracy, balanced_accuracy, f1_macro
        In [0, 1]; the latter two average over the classes that occur among the true labels
        (balanced accuracy) or anywhere (F1), as scikit-learn does.
    log_loss
        Mean of ``-log(p_true)`` in nats, p floored at 1e-6.
    majority
        Share of the most common class among the true labels: the accuracy of always saying it.
    numbers
        Errors, where labels are numbers.
    """

    n: int
    accuracy: float | None
    balanced_accuracy: float | None
    f1_macro: float | None
    log_loss: float | None
    majority: float | None = None
    numbers: NumberMetrics | None = None


def metrics_of(
    codes: NDArray[np.int32],
    predicted: NDArray[np.int32],
    p_true: NDArray[np.float64],
    n_classes: int,
) -> Metrics:
    """Compute the metrics of single predictions.

    Parameters
    ----------
    codes, predicted
        ndarrays of shape (n,): class indices; -1 stands for a true label the model does not know,
        or for a row that it could not score. Both count as wrong.
    p_true
        ndarray of shape (n,), probability given to the true class; 0 where the code is -1.
    n_classes
        Number of classes of the model.
    """
    return metrics_of_table(*confusion(codes, predicted, p_true, n_classes))


def confusion(
    codes: NDArray[np.int32],
    predicted: NDArray[np.int32],
    p_true: NDArray[np.float64],
    n_classes: int,
) -> tuple[NDArray[np.int64], float]:
    """Return the confusion table and the total log loss; parameters as :func:`metrics_of`."""
    # One further index, K, holds what the model does not know.
    table = np.zeros((n_classes + 1, n_classes + 1), dtype=np.int64)
    np.add.at(table, (codes, predicted), 1)
    return table, float(-np.log(np.maximum(p_true, LOG_LOSS_FLOOR)).sum())


def p_of_true(codes: NDArray[np.int32], P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability given to each row's true class; 0 where it is unknown or unscored."""
    p_true = np.where(codes >= 0, P[np.arange(len(codes)), np.maximum(codes, 0)], 0.0)
    return np.nan_to_num(p_true)


def metrics_of_table(table: NDArray[np.int64], total_log_loss: float) -> Metrics:
    """Compute the metrics from a confusion table.

    Parameters
    ----------
    table
        ndarray of shape (K + 1, K + 1): rows are true classes, columns predicted ones; the last
        index stands for unknown labels and unscored rows.
    total_log_loss
        Sum of ``-log(p_true)`` over the rows.
    """
    n = int(table.sum())
    if n == 0:
        return Metrics(0, None, None, None, None)
    right = np.diag(table).copy()
    right[-1] = 0
    true, predicted = table.sum(axis=1), table.sum(axis=0)
    recall = right[true > 0] / true[true > 0]
    occurs = true + predicted > 0
    f1 = 2 * right[occurs] / (true + predicted)[occurs]
    return Metrics(
        n=n,
        accuracy=float(right.sum() / n),
        balanced_accuracy=float(recall.mean()),
        f1_macro=float(f1.mean()),
        log_loss=total_log_loss / n,
        majority=float(true[:-1].max() / n),
    )
