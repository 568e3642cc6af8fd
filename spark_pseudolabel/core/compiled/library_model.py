"""What compiled prediction has to know about a library's fitted classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from numpy.typing import NDArray

from spark_pseudolabel.core.compiled.forest import Tree


class LibraryModel(Protocol):
    """How a fitted classifier of boosted trees computes probabilities, step by step.

    Whatever a library's version lacks may raise: its own ``predict_proba`` is used then.
    """

    def __init__(self, model: Any): ...

    @property
    def fitted(self) -> object:
        """What a fit makes anew."""

    @property
    def n_trees(self) -> int:
        """How many trees there are, at little cost; 0 where the model is of another kind."""

    def trees(self) -> Iterator[Tree]:
        """Yield the trees in the order in which they are added."""

    def numbers(self, X: Any) -> NDArray[Any] | None:
        """Check and encode model input as the classifier does; None: leave it to the classifier.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In C order; float64, or float32 where the classifier compares such.
        """

    def start(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return what the trees are added to, of shape (n_sums, n_rows), in C order."""

    def probabilities(self, total: NDArray[Any]) -> NDArray[Any]:
        """Turn sums of shape (n_sums, n_rows) into probabilities, (n_rows, n_classes)."""
