"""Boosted trees of scikit-learn, of classes and of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from spark_pseudolabel.core.compiled.forest import CODES, Tables, Tree, tables_of


class HistGradientBoosting:
    """Numbers, missing values on either side, categories by sets of bits.

    Parameters
    ----------
    model
        Fitted ``HistGradientBoostingClassifier``.
    """

    def __init__(self, model: Any):
        self._model = model

    @property
    def fitted(self) -> object:
        """The list of its trees."""
        return self._model._predictors

    @property
    def n_trees(self) -> int:
        """One for each class, or one for both, in each iteration."""
        return len(self._model._predictors) * int(self._model.n_trees_per_iteration_)

    def tables(self) -> Tables | None:
        """Return them as tables of bytes."""
        return tables_of(list(self._trees()))

    def _trees(self) -> Iterator[Tree]:
        """Yield them iteration by iteration."""
        known, number_of = self._model._bin_mapper.make_known_categories_bitsets()
        known = _has_code(known)
        for iteration in self._model._predictors:
            for place, predictor in enumerate(iteration):
                nodes = predictor.nodes
                leaf = nodes["is_leaf"].astype(bool)
                missing_left = nodes["missing_go_to_left"].astype(bool)
                chosen = _has_code(predictor.raw_left_cat_bitsets)
                yield Tree(
                    feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int32),
                    threshold=nodes["num_threshold"],
                    missing_left=missing_left,
                    left=nodes["left"].astype(np.int32),
                    right=nodes["right"].astype(np.int32),
                    value=nodes["value"],
                    place=place,
                    choices={
                        int(node): np.where(
                            known[number_of[nodes["feature_idx"][node]]],
                            chosen[nodes["bitset_idx"][node]],
                            missing_left[node],
                        )
                        for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf)
                    },
                )

    def numbers(self, X: Any) -> NDArray[np.float64]:
        """Check and encode, categories included."""
        return np.ascontiguousarray(self._model._preprocess_X(X, reset=False), np.float64)

    def start(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the baseline."""
        baseline = self._model._baseline_prediction
        total = np.zeros((self._model.n_trees_per_iteration_, len(X)), np.float64)
        total += np.asarray(baseline, np.float64).T
        return total

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the loss's own function."""
        # In the memory order that the classifier has: how columns are added depends on it.
        P: NDArray[np.float64] = self._model._loss.predict_proba(total.T)
        return P


class GradientBoosting:
    """Thresholds of double precision on values of single precision; none is missing.

    Parameters
    ----------
    model
        Fitted ``GradientBoostingClassifier``.
    """

    def __init__(self, model: Any):
        self._model = model

    @property
    def fitted(self) -> object:
        """The array of its trees."""
        return self._model.estimators_

    @property
    def n_trees(self) -> int:
        """None where the first guess is a model that looks at the rows."""
        looks = self._model.init_ != "zero" and type(self._model.init_).__name__ != (
            "DummyClassifier"
        )
        return 0 if looks else int(self._model.estimators_.size)

    def tables(self) -> Tables | None:
        """Return them as tables of bytes."""
        return tables_of(list(self._trees()))

    def _trees(self) -> Iterator[Tree]:
        """Yield them stage by stage, their values shrunk."""
        for stage in self._model.estimators_:
            for place, regressor in enumerate(stage):
                yield _tree(regressor.tree_, self._model.learning_rate, place)

    def numbers(self, X: Any) -> NDArray[np.float32]:
        """Check, and round to single precision."""
        ready: NDArray[np.float32] = validate_data(
            self._model, X, dtype=np.float32, order="C", reset=False
        )
        return ready

    def start(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logarithms of the classes' shares."""
        return np.ascontiguousarray(self._model._raw_predict_init(X).T)

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the loss's own function."""
        raw = total[0] if len(total) == 1 else np.ascontiguousarray(total.T)
        P: NDArray[np.float64] = self._model._loss.predict_proba(raw)
        return P


class HistGradientBoostingRegression(HistGradientBoosting):
    """The same of a ``HistGradientBoostingRegressor``."""

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the loss's own function."""
        said: NDArray[np.float64] = self._model._loss.link.inverse(total[0])
        return said


class GradientBoostingRegression(GradientBoosting):
    """The same of a ``GradientBoostingRegressor``."""

    @property
    def n_trees(self) -> int:
        """None where the first guess is a model that looks at the rows."""
        plain = self._model.init_ == "zero" or type(self._model.init_).__name__ == "DummyRegressor"
        return int(self._model.estimators_.size) if plain else 0

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum."""
        sums: NDArray[np.float64] = total[0]
        return sums


def _tree(tree: Any, size: float, place: int) -> Tree:
    """Read a tree, whose values count so many times."""
    return Tree(
        feature=np.where(tree.children_left < 0, -1, tree.feature).astype(np.int32),
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left.astype(bool),
        left=tree.children_left.astype(np.int32),
        right=tree.children_right.astype(np.int32),
        value=size * tree.value[:, 0, 0],
        place=place,
    )


def _has_code(bitsets: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return bitsets of shape (n, 8) as flags of shape (n, 256)."""
    bits = np.arange(CODES)
    flags: NDArray[np.bool_] = (
        bitsets[:, bits // 32] >> (bits % 32).astype(np.uint32) & np.uint32(1)
    ).astype(bool)
    return flags
