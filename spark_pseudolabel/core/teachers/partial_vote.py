"""A vote in which parts may abstain: what a committee with a graph in it is stored as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import VotingClassifier


class PartialVote(VotingClassifier):  # type: ignore[misc]  # it has no types
    """A soft vote of parts, of which those that abstain from a row have no say about it.

    A part abstains by giving each class the probability 0. A part of weight 0 is not asked.
    """

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the mean probabilities of the parts that say something.

        Parameters
        ----------
        X
            Model input.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Zeros where all parts abstain.
        """
        none = np.zeros((len(X), len(self.classes_)))
        weights = self._weights
        return self.averaged(
            [
                part.predict_proba(X) if weight else none
                for part, weight in zip(self.estimators_, weights, strict=True)
            ]
        )

    def averaged(self, each: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the mean of what each part says, zeros where it abstains.

        Parameters
        ----------
        each
            Of every part, in their order, an ndarray of shape (n_rows, n_classes).
        """
        total = np.zeros_like(each[0], dtype=np.float64)
        say = np.zeros((len(total), 1))
        for P, weight in zip(each, self._weights, strict=True):
            total += weight * P
            say += weight * P.any(axis=1, keepdims=True)
        return total / np.where(say > 0, say, 1.0)

    @property
    def _weights(self) -> Sequence[float]:
        return [1.0] * len(self.estimators_) if self.weights is None else list(self.weights)


def may_abstain(model: Any) -> bool:
    """Whether a fitted model, or the last step of a pipeline, abstains from some rows."""
    steps = getattr(model, "steps", None)
    return may_abstain(steps[-1][1]) if steps else bool(getattr(model, "abstains", False))
