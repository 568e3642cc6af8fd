"""Imputing and scaling numbers as scikit-learn does, a few rows at a time and without its copies.

The same operations on the same numbers, so the same bits: what is not exactly one of the steps
known here is left to its own ``transform``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import get_config

_CACHED_BYTES = 2**18


@dataclass(frozen=True)
class _Fill:
    """Puts values of shape (n_columns,) where a number is missing."""

    values: NDArray[np.float64]

    def apply(self, X: NDArray[np.float64]) -> None:
        missing = np.isnan(X)
        if missing.any():
            np.copyto(X, self.values, where=missing)


@dataclass(frozen=True)
class _Scale:
    """Takes means away and divides by deviations, each of shape (n_columns,) or None."""

    mean: NDArray[np.float64] | None
    deviation: NDArray[np.float64] | None

    def apply(self, X: NDArray[np.float64]) -> None:
        if self.mean is not None:
            X -= self.mean
        if self.deviation is not None:
            X /= self.deviation


def transform(step: Any, X: Any) -> Any:
    """Return what ``step.transform(X)`` does.

    Parameters
    ----------
    step
        A fitted step of a pipeline.
    X
        Model input of shape (n_rows, n_features).
    """
    # Elsewhere the step looks for what is infinite, and refuses it.
    known = _known(step, X) if get_config()["assume_finite"] else None
    if known is None:
        return step.transform(X)
    numbers, parts = known
    ready = np.empty(numbers.shape)
    at_once = max(1, _CACHED_BYTES // max(1, 8 * numbers.shape[1]))
    for start in range(0, len(numbers), at_once):
        rows = ready[start : start + at_once]
        rows[:] = numbers[start : start + at_once]
        for part in parts:
            part.apply(rows)
    return ready


def is_pipeline(model: Any) -> bool:
    """Whether a model is scikit-learn's own pipeline."""
    return _is(model, "Pipeline")


def _known(step: Any, X: Any) -> tuple[NDArray[np.float64], list[_Fill | _Scale]] | None:
    """Return the numbers that a step takes and what it does to them, one after the other."""
    if _is(step, "ColumnTransformer") and isinstance(X, pd.DataFrame):
        return _of_columns(step, X)
    parts = _parts(step)
    if parts is None or not isinstance(X, np.ndarray) or X.dtype != np.float64:
        return None
    return (X, parts) if X.ndim == 2 and X.shape[1] == step.n_features_in_ and len(X) else None


def _of_columns(step: Any, X: pd.DataFrame) -> tuple[NDArray[np.float64], list[Any]] | None:
    """Return the same of a transformer of one part, which takes all columns as they stand."""
    used = [part for part in step.transformers_ if not isinstance(part[1], str)]
    plain = len(used) == 1 and step.transformer_weights is None and step.remainder == "drop"
    if not plain or not isinstance(used[0][2], list) or used[0][2] != list(X.columns):
        return None
    parts = _parts(used[0][1])
    numbers = X.to_numpy() if parts is not None else None
    if parts is None or numbers is None or numbers.dtype != np.float64 or not len(numbers):
        return None
    return numbers, parts


def _parts(step: Any) -> list[_Fill | _Scale] | None:
    if _is(step, "Pipeline"):
        parts = [_parts(inner) for _, inner in step.steps]
        return None if None in parts else [p for each in parts for p in each or ()]
    if _is(step, "StandardScaler"):
        return [
            _Scale(step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)
        ]
    if _is(step, "SimpleImputer"):
        values = step.statistics_
        plain = step.missing_values is np.nan or (
            isinstance(step.missing_values, float) and np.isnan(step.missing_values)
        )
        fills = values.dtype == np.float64 and not np.isnan(values).any()
        return [_Fill(values)] if plain and fills and not step.add_indicator else None
    return None


def _is(step: Any, name: str) -> bool:
    """Whether a step is of a class of scikit-learn's, not of one derived, and gives arrays."""
    of = type(step)
    own = of.__name__ == name and of.__module__.startswith("sklearn.")
    return own and not hasattr(step, "_sklearn_output_config")
