"""Numbers as labels: what a published number is, and when it is right.

A numeric label is right when it is within a tolerance, and its confidence is the probability of
that. So there is one class, of right numbers, and all that is asked of classes can be asked of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUMBER = "number"
"""The one class of a run whose labels are numbers."""

RIGHT, WRONG = 0, -1
"""True class index of a row whose number is within the tolerance, and of any other one."""

DIGITS = 6
"""Published numbers have so many decimals of the labels' standard deviation, so that the last bits
of a sum, which depend on the batch's size, decide nothing."""

_SLACK = 1e-12
"""Of the numbers compared: 10.3 is within 0.1 of 10.2, whatever doubles make of it."""

_MOST_DECIMALS = 280


@dataclass(frozen=True)
class NumberTask:
    """What is asked of numeric labels.

    Parameters
    ----------
    tolerance
        A published number is right if it is no farther from the true one: in units of the label,
        or, where `relative`, as a share of the true one's absolute value.
    relative
        Whether it is such a share; where the true number is 0, only 0 is right.
    interval
        Share of true numbers that shall lie between the published bounds, in (0, 1).
    integer
        Whether labels are whole numbers: published ones are then, too.
    decimals
        Those of published numbers that are not; below 0 for tens, hundreds and so on.
    sd
        Standard deviation of the labeled rows' numbers (ddof 1).
    mean
        Their mean.
    """

    tolerance: float
    relative: bool
    interval: float
    integer: bool
    decimals: int
    sd: float
    mean: float = 0.0

    def published(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Round numbers as they are published; NaN stays NaN, and no zero is negative.

        Examples
        --------
        >>> NumberTask(5.0, False, 0.95, True, 0, 1.0).published(np.array([2.4, -0.2]))
        array([2., 0.])
        """
        rounded = np.rint(values) if self.integer else np.round(values, self.decimals)
        positive: NDArray[np.float64] = rounded + 0.0
        return positive

    def spelled(self, value: float | None) -> float | int | None:
        """Return a published number as documents hold it: whole where labels are."""
        return round(value) if self.integer and value is not None else value

    def reach(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far a published number may be from each true one."""
        reach: NDArray[np.float64] = (
            self.tolerance * np.abs(y) if self.relative else np.full(len(y), self.tolerance)
        )
        return reach

    def is_right(self, y: NDArray[np.float64], published: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which published numbers are within the tolerance; NaN never is.

        Examples
        --------
        >>> task = NumberTask(0.1, False, 0.95, False, 6, 1.0)
        >>> task.is_right(np.array([10.3, 10.3]), np.array([10.2, 10.1]))
        array([ True, False])
        """
        slack = _SLACK * (np.abs(y) + self.reach(y))
        right: NDArray[np.bool_] = np.abs(y - published) <= self.reach(y) + slack
        return right

    def codes(self, y: NDArray[np.float64], published: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the true class index of rows: :data:`RIGHT` or :data:`WRONG`."""
        return np.where(self.is_right(y, published), RIGHT, WRONG).astype(np.int32)


def decimals_of(sd: float) -> int:
    """Return the decimals of published numbers, by the labels' standard deviation, above 0.

    Examples
    --------
    >>> decimals_of(12.0), decimals_of(0.5), decimals_of(3e9)
    (5, 7, -3)
    """
    decimals = DIGITS - math.floor(math.log10(sd))
    return max(-_MOST_DECIMALS, min(_MOST_DECIMALS, decimals))
