"""Boosted trees of LightGBM: numbers near 0 are 0, and so is what is missing, or it has a side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.compiled.forest import Tables, Tree, tables_of

_ZERO = float(np.float32(1e-35))
"""What is not larger than this is read as 0."""

_DEFAULT_LEFT, _BY_CATEGORY, _NAN = 2, 1, 2


class LightGBM:
    """Splits by numbers, probabilities by a logistic function or by softmax.

    Parameters
    ----------
    model
        Fitted ``LGBMClassifier``.
    """

    def __init__(self, model: Any):
        self._model = model

    @property
    def fitted(self) -> object:
        """Its booster."""
        return self._model._Booster

    @property
    def n_trees(self) -> int:
        """How many trees there are; 0 where not all of them count, or their mean does."""
        model = self._model
        plain = (
            model.boosting_type in ("gbdt", "goss")
            and model._Booster.best_iteration <= 0
            and not any("pred" in key for key in model._other_params)
        )
        return int(model._Booster.num_trees()) if plain else 0

    def tables(self) -> Tables | None:
        """Return them as tables of bytes."""
        return tables_of(list(self._trees()))

    def _trees(self) -> Iterator[Tree]:
        """Yield them iteration by iteration."""
        n_sums = self._n_sums
        head, *blocks = self._model._Booster.model_to_string().split("\nTree=")
        if "average_output" in head.split():
            raise ValueError("a mean of trees")
        for number, block in enumerate(blocks):
            lines = (line.partition("=") for line in block.split("\n\n")[0].splitlines()[1:])
            yield _tree({key: value for key, _, value in lines}, number % n_sums)

    def numbers(self, X: Any) -> NDArray[np.float64] | None:
        """Take what is a matrix of doubles already."""
        fits = isinstance(X, np.ndarray) and X.shape[1:] == (self._model.n_features_in_,)
        return np.ascontiguousarray(X) if fits and X.dtype == np.float64 and len(X) else None

    def start(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return zeros: a first guess is part of the first trees."""
        return np.zeros((self._n_sums, len(X)))

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the objective's function."""
        from spark_pseudolabel.core.compiled import loops

        P = np.empty((total.shape[1], max(2, len(total))))
        objective = self._objective
        if len(total) > 1:
            loops.softmax_double(total, P)
            return P
        (slope,) = (
            float(word.removeprefix("sigmoid:"))
            for word in objective.split()
            if word.startswith("sigmoid:")
        )
        loops.sigmoid_double(total, slope, P)
        return P

    @property
    def _objective(self) -> str:
        text = str(self._model._Booster.model_to_string(num_iteration=1))
        (objective,) = (
            line.removeprefix("objective=")
            for line in text.split("\nTree=")[0].splitlines()
            if line.startswith("objective=")
        )
        if objective.split()[0] not in ("binary", "multiclass"):
            raise ValueError(f"objective {objective}")
        return objective

    @property
    def _n_sums(self) -> int:
        return int(self._model._Booster.num_model_per_iteration())


class LightGBMRegression(LightGBM):
    """The same of an ``LGBMRegressor``."""

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum."""
        sums: NDArray[np.float64] = total[0]
        return sums


def _tree(lines: dict[str, str], place: int) -> Tree:
    """Read a tree whose inner nodes come first, then its leaves."""
    if int(lines["num_cat"]) or int(lines.get("is_linear", "0")):
        raise ValueError("splits by categories, or linear leaves")
    n_leaves = int(lines["num_leaves"])
    n_inner = n_leaves - 1
    value = np.zeros(n_inner + n_leaves)
    value[n_inner:] = _numbers(lines["leaf_value"])
    feature = np.full(len(value), -1, np.int32)
    threshold = np.zeros(len(value))
    missing_left = np.zeros(len(value), dtype=bool)
    left, right = np.zeros((2, len(value)), np.int32)
    if n_inner:
        feature[:n_inner] = _numbers(lines["split_feature"])
        threshold[:n_inner] = _with_zeros(_numbers(lines["threshold"]))
        how = _numbers(lines["decision_type"]).astype(int)
        if (how & _BY_CATEGORY).any() or np.isin(how >> 2 & 3, (0, _NAN), invert=True).any():
            raise ValueError("splits by categories, or zeros that are missing")
        missing_left[:n_inner] = np.where(
            how >> 2 & 3 == _NAN, how & _DEFAULT_LEFT, threshold[:n_inner] >= 0.0
        )
        for side, key in ((left, "left_child"), (right, "right_child")):
            child = _numbers(lines[key]).astype(int)
            # Leaf i is written as -i - 1.
            side[:n_inner] = np.where(child < 0, n_inner - child - 1, child)
    return Tree(feature, threshold, missing_left, left, right, value, place)


def _with_zeros(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move thresholds so that all numbers that are read as 0 go where 0 goes."""
    moved = np.where((threshold >= 0) & (threshold < _ZERO), _ZERO, threshold)
    below = np.nextafter(-_ZERO, -np.inf)
    return np.where((moved < 0) & (moved >= -_ZERO), below, moved)


def _numbers(line: str) -> NDArray[np.float64]:
    return np.array(line.split(), np.float64)
