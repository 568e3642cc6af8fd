"""How good a model of numbers is, from what it says of rows with true ones: sums that add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.trust.metrics import LOG_LOSS_FLOOR, Metrics, NumberMetrics


@dataclass(frozen=True)
class NumberSums:
    """Sums over rows with true numbers, of which several can be put together.

    Parameters
    ----------
    n
        Rows.
    scored
        Those of them that the model gives a number; the sums are over these.
    right
        Numbers within the tolerance.
    covered
        True numbers within the published bounds.
    absolute, squared
        Of the errors.
    width
        Of the intervals.
    log_loss
        Of the confidences, in nats.
    true, true_squared
        Of the true numbers' distances from the labeled rows' mean.
    """

    n: int
    scored: int
    right: int
    covered: int
    absolute: float
    squared: float
    width: float
    log_loss: float
    true: float
    true_squared: float

    @classmethod
    def of(
        cls, y: NDArray[np.float64], numbers: NDArray[np.float64], task: NumberTask
    ) -> NumberSums:
        """Sum over rows.

        Parameters
        ----------
        y
            ndarray of shape (n,): the true numbers; NaN where one is not known.
        numbers
            ndarray of shape (n, 4): published number, confidence, lower and upper bound; NaN where
            a row could not be scored.
        task
            What is asked.
        """
        known = np.isfinite(numbers).all(axis=1) & np.isfinite(y)
        value, confidence, lower, upper = numbers[known].T
        true = y[known]
        error, right = true - value, task.is_right(true, value)
        p_true = np.where(right, confidence, 1.0 - confidence)
        centered = true - task.mean
        return cls(
            n=len(y),
            scored=len(true),
            right=int(right.sum()),
            covered=int(((lower <= true) & (true <= upper)).sum()),
            absolute=float(np.abs(error).sum()),
            squared=float((error * error).sum()),
            width=float((upper - lower).sum()),
            log_loss=float(-np.log(np.maximum(p_true, LOG_LOSS_FLOOR)).sum()),
            true=float(centered.sum()),
            true_squared=float((centered * centered).sum()),
        )

    @classmethod
    def together(cls, parts: Sequence[NumberSums]) -> NumberSums:
        """Add sums up, without an error that depends on their order."""
        columns = zip(*map(astuple, parts), strict=True)
        n, scored, right, covered, *sums = map(list, columns)
        return cls(sum(n), sum(scored), sum(right), sum(covered), *map(math.fsum, sums))

    def metrics(self) -> Metrics:
        """Return the figures; rows without a number count as wrong, and in no error."""
        if self.n == 0:
            return Metrics(0, None, None, None, None)
        return Metrics(
            n=self.n,
            accuracy=self.right / self.n,
            balanced_accuracy=None,
            f1_macro=None,
            log_loss=self.log_loss / self.scored if self.scored else None,
            numbers=None if self.scored == 0 else self._errors(),
        )

    def _errors(self) -> NumberMetrics:
        n = self.scored
        spread = self.true_squared - self.true * self.true / n
        return NumberMetrics(
            rmse=math.sqrt(self.squared / n),
            mae=self.absolute / n,
            r2=1.0 - self.squared / spread if spread > 0 and n > 1 else None,
            coverage=self.covered / n,
            width=self.width / n,
        )


def number_metrics(
    y: NDArray[np.float64], numbers: NDArray[np.float64], task: NumberTask
) -> Metrics:
    """Measure a model of numbers; see :class:`NumberSums`.

    Examples
    --------
    >>> task = NumberTask(1.0, False, 0.95, False, 6, 1.0)
    >>> said = np.array([[2.0, 0.9, 0.0, 4.0], [7.0, 0.6, 5.0, 9.0]])
    >>> found = number_metrics(np.array([2.5, 4.0]), said, task)
    >>> found.accuracy, found.numbers.mae, found.numbers.coverage
    (0.5, 1.75, 0.5)
    """
    return NumberSums.of(y, numbers, task).metrics()
