"""The median of numbers that lie in many places, from two counts of their bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Values of some bits, ascending, and how many numbers have each."""

_LOW = 16


def high_bits(values: NDArray[np.float32]) -> Counts:
    """Count numbers, none below 0, by the upper half of their bits: these are ordered as they."""
    return _counted(_bits(values) >> _LOW)


def low_bits(values: NDArray[np.float32], high: int) -> Counts:
    """Count the numbers with a given upper half by the lower half of their bits."""
    bits = _bits(values)
    return _counted(bits[bits >> _LOW == high] & (2**_LOW - 1))


def together(parts: Sequence[Counts]) -> Counts:
    """Add counts up."""
    every, n = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    values, place = np.unique(every, return_inverse=True)
    total = np.zeros(len(values), dtype=np.int64)
    np.add.at(total, place, n)
    return values, total


def at_rank(counts: Counts, rank: int) -> tuple[int, int]:
    """Return the bits of the number with a rank from 0, and its rank among those with the same."""
    values, n = counts
    ends = np.cumsum(n)
    place = int(np.searchsorted(ends, rank, side="right"))
    return int(values[place]), rank - int(ends[place] - n[place])


def number_of(high: int, low: int) -> float:
    """Return the number with these halves of its bits.

    Examples
    --------
    >>> values = np.array([0.5, 0.1, 7.25, 3.0, 0.1], np.float32)
    >>> high, rank = at_rank(high_bits(values), 2)
    >>> low, _ = at_rank(low_bits(values, high), rank)
    >>> number_of(high, low)
    0.5
    """
    return float(np.array([high << _LOW | low], dtype=np.uint32).view(np.float32)[0])


def _bits(values: NDArray[np.float32]) -> NDArray[np.int64]:
    bits: NDArray[np.int64] = np.abs(values).view(np.uint32).astype(np.int64)
    return bits


def _counted(bits: NDArray[np.int64]) -> Counts:
    values, n = np.unique(bits, return_counts=True)
    return values, n.astype(np.int64)
