"""Candidates counted by class and confidence bin: all that a selection rule may look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BINS = 1001
"""Bin b holds the confidences c with floor(round(1e6 * c) / 1000) = b; bin 1000 holds 1.0 only."""

Key = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Counts:
    """How many valid candidates of each class fall into each confidence bin.

    Parameters
    ----------
    n
        ndarray of shape (n_classes, BINS) of int64; row i belongs to the i-th class.
    """

    n: NDArray[np.int64]

    @classmethod
    def from_rows(cls, n_classes: int, rows: Iterable[Sequence[int]]) -> Counts:
        """Build from (code, bin, count) triples."""
        n = np.zeros((n_classes, BINS), dtype=np.int64)
        for code, bin_, count in rows:
            n[code, bin_] += count
        return cls(n)

    @classmethod
    def of(
        cls, n_classes: int, codes: NDArray[np.int32], confidence: NDArray[np.float64]
    ) -> Counts:
        """Count rows, of which those with a negative code are invalid and left out."""
        valid = codes >= 0
        cells = codes[valid].astype(np.int64) * BINS + bin_of(confidence[valid])
        return cls(np.bincount(cells, minlength=n_classes * BINS).reshape(n_classes, BINS))

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.n + other.n)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and np.array_equal(self.n, other.n)

    __hash__ = None  # type: ignore[assignment]

    @property
    def total(self) -> int:
        """Number of valid candidates."""
        return int(self.n.sum())

    @property
    def by_class(self) -> NDArray[np.int64]:
        """Valid candidates per class, shape (n_classes,)."""
        by_class: NDArray[np.int64] = self.n.sum(axis=1)
        return by_class

    def to_sparse(self) -> dict[str, list[list[int]]]:
        """Return the form kept in manifests: by class index, [[bin, count], ...]."""
        return {
            str(code): [[int(bin_), int(row[bin_])] for bin_ in np.flatnonzero(row)]
            for code, row in enumerate(self.n)
        }

    @classmethod
    def from_sparse(cls, data: Mapping[str, Sequence[Sequence[int]]]) -> Counts:
        """Read what :meth:`to_sparse` wrote.

        Raises
        ------
        ValueError
            If a class, a bin or a count is none.
        """
        if set(data) != {str(code) for code in range(len(data))}:
            raise ValueError("must count every class by its index")
        n = np.zeros((len(data), BINS), dtype=np.int64)
        for code, cells in data.items():
            bins, counts = np.array(cells, dtype=np.int64).reshape(-1, 2).T
            if ((bins < 0) | (bins >= BINS) | (counts < 0)).any():
                raise ValueError(f"must count rows in bins 0 to {BINS - 1}")
            n[int(code), bins] = counts
        return cls(n)

    def coarse(self, bins: int) -> NDArray[np.int64]:
        """Sum into `bins` equal-width bins over [0, 1] (1000 must be a multiple), for pictures."""
        wide: NDArray[np.int64] = self.n[:, :-1].reshape(len(self.n), bins, -1).sum(axis=2)
        wide[:, -1] += self.n[:, -1]
        return wide


def bin_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each confidence; the same arithmetic as in ``spark.selection``."""
    return (np.rint(confidence * 1e6).astype(np.int64)) // 1000


@dataclass(frozen=True)
class Bin:
    """The rows of some classes whose confidence is in one bin."""

    codes: Sequence[int]
    bin: int


@dataclass(frozen=True)
class Tie:
    """The rows of some classes at one confidence; `n` (>= 1) of them are asked for."""

    codes: Sequence[int]
    confidence: float
    n: int


Values = tuple[NDArray[np.float64], NDArray[Any]]
"""Distinct confidences, and how many rows have each."""


class Candidates(Protocol):
    """The scored rows of one round, wherever they are, as a selection rule may ask for them."""

    def counts(self) -> Counts:
        """Count valid candidates by class and bin."""
        ...

    def values(self, bins: Sequence[Bin]) -> list[Values]:
        """Return, for each of some bins, the distinct confidences inside it and their counts."""
        ...

    def nth_keys(self, ties: Sequence[Tie]) -> list[Key]:
        """Return, for each of some ties, the n-th lowest row key in it."""
        ...
