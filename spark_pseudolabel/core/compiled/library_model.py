"""What compiled prediction has to know about a library's fitted model of many trees."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class CompiledTrees(Protocol):
    """A model's trees, ready for the compiled loops."""

    def add_to(self, X: NDArray[Any], total: NDArray[Any]) -> None:
        """Add the leaves of all rows to totals of shape (n_sums, n_rows)."""


class LibraryModel(Protocol):
    """How a fitted model of many trees computes its prediction, step by step.

    Whatever a library's version lacks may raise: its own method is used then.
    """

    def __init__(self, model: Any): ...

    @property
    def fitted(self) -> object:
        """What a fit makes anew."""

    @property
    def n_trees(self) -> int:
        """How many trees there are, at little cost; 0 where the model is of another kind."""

    def tables(self) -> CompiledTrees | None:
        """Return the trees in the order in which they are added; None: they have no tables."""

    def numbers(self, X: Any) -> NDArray[Any] | None:
        """Check and encode model input as the library does; None: leave it to the library.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In C order; float64, or float32 where the library compares such.
        """

    def start(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return what the trees are added to, of shape (n_sums, n_rows)."""

    def prediction(self, total: NDArray[Any]) -> NDArray[Any]:
        """Turn sums of shape (n_sums, n_rows) into what the library's method returns."""
