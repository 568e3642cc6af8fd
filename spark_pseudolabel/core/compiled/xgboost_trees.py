"""Boosted trees of XGBoost: all in single precision, missing values on the side of each split."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.compiled.forest import Tables, Tree, tables_of

_OBJECTIVES = ("binary:logistic", "multi:softprob")


class XGBoost:
    """Splits by numbers, probabilities by a logistic function or by softmax.

    Parameters
    ----------
    model
        Fitted ``XGBClassifier``.
    """

    def __init__(self, model: Any):
        self._model = model

    @property
    def fitted(self) -> object:
        """Its booster."""
        return self._model._Booster

    @property
    def n_trees(self) -> int:
        """How many trees there are; 0 where not all count, a number means missing, and the like."""
        model = self._model
        plain = self._is_plain(*_OBJECTIVES)
        per_round = 1 if model.n_classes_ == 2 else int(model.n_classes_)
        return per_round * int(model._Booster.num_boosted_rounds()) if plain else 0

    def _is_plain(self, *objectives: str) -> bool:
        model = self._model
        return (
            model.booster in (None, "gbtree")
            and model.objective in objectives
            and model.early_stopping_rounds is None
            and bool(np.isnan(model.missing))
        )

    def tables(self) -> Tables | None:
        """Return them as tables of bytes."""
        return tables_of(list(self._trees()))

    def _trees(self) -> Iterator[Tree]:
        """Yield them round by round."""
        learner = json.loads(self._model._Booster.save_raw(raw_format="json"))["learner"]
        booster = learner["gradient_booster"]["model"]
        for tree, place in zip(booster["trees"], booster["tree_info"], strict=True):
            if any(tree["split_type"]) or int(tree["tree_param"]["size_leaf_vector"]) > 1:
                raise ValueError("splits by categories, or leaves with several values")
            left = np.array(tree["left_children"], np.int32)
            number = np.array(tree["split_conditions"], np.float32)
            yield Tree(
                feature=np.where(left < 0, -1, tree["split_indices"]).astype(np.int32),
                # Left is what is less: at most the next lower number.
                threshold=np.nextafter(number, np.float32(-np.inf)).astype(np.float64),
                missing_left=np.array(tree["default_left"], dtype=bool),
                left=left,
                right=np.array(tree["right_children"], np.int32),
                value=number,
                place=int(place),
            )

    def numbers(self, X: Any) -> NDArray[np.float32] | None:
        """Round to single precision; what becomes infinite there the library refuses."""
        if not isinstance(X, np.ndarray) or X.shape[1:] != (self._model.n_features_in_,):
            return None
        with np.errstate(over="ignore"):
            ready = np.ascontiguousarray(X, np.float32)
        return None if np.isinf(ready).any() else ready

    def start(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the margins of the base scores."""
        # Of classes margins, of two a probability.
        shares = self._base_score
        n_sums = 1 if self._model.n_classes_ == 2 else int(self._model.n_classes_)
        if self._model.n_classes_ == 2:
            one = np.float32(1.0)
            # In double precision, and rounded then: numpy's own logarithm is a bit off.
            shares = -np.log((one / shares - one).astype(np.float64)).astype(np.float32)
        total = np.empty((n_sums, len(X)), np.float32)
        total[:] = shares[:, np.newaxis]
        return total

    def prediction(self, total: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the objective's function."""
        from spark_pseudolabel.core.compiled import loops

        P = np.empty((total.shape[1], max(2, len(total))), np.float32)
        (loops.sigmoid_single if len(total) == 1 else loops.softmax_single)(total, P)
        return P

    @property
    def _base_score(self) -> NDArray[np.float32]:
        learner = json.loads(self._model._Booster.save_config())["learner"]
        score = json.loads(learner["learner_model_param"]["base_score"])
        return np.atleast_1d(np.array(score, np.float32))


class XGBoostRegression(XGBoost):
    """The same of an ``XGBRegressor``."""

    @property
    def n_trees(self) -> int:
        """How many trees there are; 0 as for classes."""
        plain = self._is_plain("reg:squarederror", "reg:absoluteerror")
        return int(self._model._Booster.num_boosted_rounds()) if plain else 0

    def start(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the base score."""
        return np.full((1, len(X)), self._base_score[0], np.float32)

    def prediction(self, total: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum."""
        sums: NDArray[np.float32] = total[0]
        return sums
