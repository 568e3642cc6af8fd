"""What a model of numbers says about rows: a number, how probably it is right, and two bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import config_context

from spark_pseudolabel.core.numbers import RIGHT, WRONG

SAID = 4
"""Columns of what a model says: number, confidence, lower bound, upper bound."""

REASON = "the model gave a number that is not finite"


@dataclass(frozen=True)
class NumberScores:
    """What is said about n rows; NaN where one could not be scored.

    Parameters
    ----------
    value
        ndarray of shape (n,): numbers as they are published.
    lower, upper
        ndarrays of shape (n,): bounds, ``lower <= value <= upper``.
    """

    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def says_numbers(model: Any) -> bool:
    """Whether a fitted model is one of numbers, which has ``says``."""
    return hasattr(model, "says")


def say(model: Any, X: pd.DataFrame | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a model of numbers says, of shape (n, :data:`SAID`), as executors have it.

    Where it abstains there is no number, and the confidence is 0.
    """
    with config_context(transform_output="default"):
        said: NDArray[np.float64] = np.asarray(model.says(X), dtype=np.float64)
    return said


def codes_of(said: NDArray[np.float64], reasons: dict[int, str]) -> NDArray[np.int32]:
    """Return the one class of numbers, or that there is none; adds reasons for what is no number.

    Parameters
    ----------
    said
        ndarray of shape (n, :data:`SAID`).
    reasons
        Why rows could not be scored, by their position.
    """
    abstained = said[:, 1] == 0
    for row in np.flatnonzero(~np.isfinite(said).all(axis=1) & ~abstained):
        reasons.setdefault(int(row), REASON)
    code = np.where(abstained, WRONG, RIGHT).astype(np.int32)
    code[list(reasons)] = WRONG
    return code
