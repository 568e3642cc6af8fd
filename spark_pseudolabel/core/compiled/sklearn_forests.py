"""Forests of scikit-learn: random forests and extra trees, of classes and of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.compiled.paths import GrownTree, Paths, paths_of


class Forest:
    """Means of leaves, which are probabilities in a forest of classes.

    Parameters
    ----------
    model
        Fitted ``RandomForestClassifier`` or ``ExtraTreesClassifier``.
    """

    def __init__(self, model: Any):
        self._model = model

    @property
    def fitted(self) -> object:
        """The list of its trees."""
        return self._model.estimators_

    @property
    def n_trees(self) -> int:
        """How many there are; 0 where several threads add them in any order."""
        in_order = self._model.n_jobs in (None, 1) and self._model.n_outputs_ == 1
        return len(self._model.estimators_) if in_order else 0

    def tables(self) -> Paths | None:
        """Return the trees in the order in which they are added."""
        trees = [grown.tree_ for grown in self._model.estimators_]
        return paths_of(
            [
                GrownTree(
                    feature=tree.feature,
                    threshold=tree.threshold,
                    missing_left=tree.missing_go_to_left.astype(bool),
                    left=tree.children_left,
                    right=tree.children_right,
                    value=tree.value[:, 0, :],
                )
                for tree in trees
            ],
            self._model.n_features_in_,
        )

    def numbers(self, X: Any) -> NDArray[np.float32]:
        """Check, and round to single precision."""
        return np.ascontiguousarray(self._model._validate_X_predict(X), np.float32)

    def start(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return zeros."""
        return np.zeros((len(X), self._n_sums)).T

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Divide by the number of trees."""
        P = total.T
        P /= len(self._model.estimators_)
        return P

    @property
    def _n_sums(self) -> int:
        return int(self._model.n_classes_)


class ForestRegression(Forest):
    """The same of a forest of numbers."""

    def prediction(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Divide by the number of trees."""
        return super().prediction(total)[:, 0]

    @property
    def _n_sums(self) -> int:
        return 1
