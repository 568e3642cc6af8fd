"""The loops that numba compiles, once per machine: ranks among thresholds, leaves, sums.

Imported where numba is installed only. What is compiled is kept beside this file, or where
``NUMBA_CACHE_DIR`` says, or in the user's cache directory where neither can be written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Loop = TypeVar("Loop", bound=Callable[..., Any])

BLOCK = 512
"""Rows that are scored together: their ranks, masks and sums stay in the processor's cache."""

MISSING_CATEGORY = 255
"""Code of a category that is missing or out of range."""


def compiled(loop: Loop) -> Loop:
    """Compile a loop when it is first called, and keep the result."""
    try:
        made: Loop = njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # there is no directory to keep it in
        made = njit(nogil=True)(loop)
    return made


def _inlined(loop: Loop) -> Loop:
    made: Loop = njit(inline="always")(loop)
    return made


@compiled
def _rank(
    X: NDArray[np.float64],
    start: int,
    n: int,
    column: int,
    thresholds: NDArray[np.float64],
    first: int,
    steps: int,
    low: float,
    scale: float,
    table: NDArray[Any],
    most: int,
    codes: NDArray[Any],
    to: int,
) -> bool:
    """Write the number of thresholds below each value, 0 for NaN; return whether there is a NaN.

    A value's place on an even grid tells all thresholds below it but for those in its own cell,
    of which there are `most`; where these are many (`most` is 0), halving finds the rank.
    """
    missing = False
    if most > 0:
        top = np.float64(table.shape[1] - 1)
        for j in range(n):
            x = X[start + j, column]
            missing |= x != x
            cell = (x - low) * scale
            cell = cell if cell > 0.0 else 0.0
            cell = cell if cell < top else top
            rank = np.int64(table[to, np.int64(cell)])
            for _ in range(most):
                rank += np.int64(thresholds[first + rank] < x)
            codes[to, j] = rank
    else:
        for j in range(n):
            x = X[start + j, column]
            missing |= x != x
            rank = np.int64(0)
            half = steps
            while half > 0:
                rank += half if thresholds[first + rank + half - 1] < x else 0
                half >>= 1
            codes[to, j] = rank
    return missing


@compiled
def _category(
    X: NDArray[np.float64], start: int, n: int, column: int, codes: NDArray[Any], to: int
) -> None:
    for j in range(n):
        x = X[start + j, column]
        codes[to, j] = np.int64(x) if 0.0 <= x < MISSING_CATEGORY else MISSING_CATEGORY


@_inlined
def _lowest_bit(byte: Any) -> Any:
    """Return the place of a byte's lowest bit that is set: the number of bits below it."""
    # Each step is cut back to eight bits: wider ones would take four times the registers.
    below = np.uint8(np.uint8(byte & np.uint8(np.uint8(0) - byte)) - np.uint8(1))
    below = np.uint8(below - np.uint8(np.uint8(below >> np.uint8(1)) & np.uint8(0x55)))
    below = np.uint8(
        np.uint8(below & np.uint8(0x33)) + np.uint8(np.uint8(below >> np.uint8(2)) & np.uint8(0x33))
    )
    return np.uint8(np.uint8(below + np.uint8(below >> np.uint8(4))) & np.uint8(0x0F))


@compiled
def _add_trees(
    codes: NDArray[Any],
    row_of: NDArray[np.int32],
    first_byte: NDArray[np.int32],
    first_test: NDArray[np.int32],
    slot: NDArray[np.int32],
    rank: NDArray[Any],
    mask: NDArray[np.uint8],
    first_choice: NDArray[np.int32],
    choice_row: NDArray[np.int32],
    choice_mask: NDArray[np.uint8],
    goes_left: NDArray[np.uint8],
    first_value: NDArray[np.int32],
    values: NDArray[Any],
    place: NDArray[np.int32],
    sums: NDArray[Any],
    alive: NDArray[np.uint8],
    leaf: NDArray[np.uint8],
) -> None:
    """Add the leaf of every tree to the sums of a block of rows, tree by tree.

    A test that fails takes the leaves on its left away; the first leaf that is left is the row's.
    """
    for tree in range(len(place)):
        for g in range(first_byte[tree], first_byte[tree + 1]):
            # The first test writes: cleared by the C library, bytes would be waited for.
            start = first_test[g]
            row, most, left = row_of[slot[start]], rank[start], mask[start]
            for j in range(BLOCK):
                alive[j] = np.uint8(255) if codes[row, j] <= most else left
            for q in range(start + 1, first_test[g + 1]):
                row, most, left = row_of[slot[q]], rank[q], mask[q]
                for j in range(BLOCK):
                    alive[j] &= np.uint8(255) if codes[row, j] <= most else left
            for q in range(first_choice[g], first_choice[g + 1]):
                row, left = choice_row[q], choice_mask[q]
                for j in range(BLOCK):
                    alive[j] &= goes_left[q, codes[row, j]] | left
            if g == first_byte[tree]:
                for j in range(BLOCK):
                    leaf[j] = np.uint8(255) if alive[j] == 0 else _lowest_bit(alive[j])
            else:
                base = np.uint8(8 * (g - first_byte[tree]))
                for j in range(BLOCK):
                    here = np.uint8(_lowest_bit(alive[j]) + base)
                    leaf[j] = min(leaf[j], np.uint8(255) if alive[j] == 0 else here)
        to, start = place[tree], first_value[tree]
        for j in range(BLOCK):
            sums[to, j] += values[start + leaf[j]]


@compiled
def add_all(
    X: NDArray[np.float64],
    columns: NDArray[np.int32],
    categorical: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    first_threshold: NDArray[np.int32],
    n_thresholds: NDArray[np.int32],
    steps: NDArray[np.int32],
    low: NDArray[np.float64],
    scale: NDArray[np.float64],
    table: NDArray[Any],
    most: NDArray[np.int32],
    first_byte: NDArray[np.int32],
    first_test: NDArray[np.int32],
    slot: NDArray[np.int32],
    rank: NDArray[Any],
    mask: NDArray[np.uint8],
    first_choice: NDArray[np.int32],
    choice_row: NDArray[np.int32],
    choice_mask: NDArray[np.uint8],
    goes_left: NDArray[np.uint8],
    first_value: NDArray[np.int32],
    values: NDArray[Any],
    place: NDArray[np.int32],
    total: NDArray[Any],
) -> None:
    """Add the leaves of all trees to the totals of all rows, a block of them at a time."""
    n_columns = len(columns)
    # The ranks of a column stand in one row; those of its rows with NaN on the right in another.
    codes = np.zeros((max(1, 2 * n_columns), BLOCK), rank.dtype)
    row_of = np.zeros(max(1, 2 * n_columns), np.int32)
    alive = np.empty(BLOCK, np.uint8)
    leaf = np.empty(BLOCK, np.uint8)
    sums = np.zeros((len(total), BLOCK), total.dtype)
    for start in range(0, len(X), BLOCK):
        n = min(BLOCK, len(X) - start)
        for c in range(n_columns):
            row_of[2 * c] = row_of[2 * c + 1] = c
            if categorical[c]:
                _category(X, start, n, columns[c], codes, c)
                continue
            first = first_threshold[c]
            if _rank(
                X, start, n, columns[c], thresholds, first, steps[c], low[c], scale[c], table,
                most[c], codes, c,
            ):  # fmt: skip
                row_of[2 * c + 1] = n_columns + c
                for j in range(n):
                    x = X[start + j, columns[c]]
                    codes[n_columns + c, j] = n_thresholds[c] if x != x else codes[c, j]
        for k in range(len(total)):
            for j in range(n):
                sums[k, j] = total[k, start + j]
        _add_trees(
            codes, row_of, first_byte, first_test, slot, rank, mask, first_choice, choice_row,
            choice_mask, goes_left, first_value, values, place, sums, alive, leaf,
        )  # fmt: skip
        for k in range(len(total)):
            for j in range(n):
                total[k, start + j] = sums[k, j]


@compiled
def sigmoid_single(total: NDArray[np.float32], P: NDArray[np.float32]) -> None:
    """Write the second class's probability for sums of shape (1, n), as XGBoost rounds it."""
    for i in range(len(P)):
        x = -total[0, i]
        x = x if x < np.float32(88.7) else np.float32(88.7)
        P[i, 1] = np.float32(1.0) / (math.exp(x) + np.float32(1.0) + np.float32(1e-16))
        P[i, 0] = np.float32(1.0) - P[i, 1]


@compiled
def softmax_single(total: NDArray[np.float32], P: NDArray[np.float32]) -> None:
    """Write probabilities for sums of shape (n_classes, n), as XGBoost rounds them."""
    for i in range(len(P)):
        most = total[0, i]
        for k in range(len(total)):
            most = max(most, total[k, i])
        together = np.float64(0.0)
        for k in range(len(total)):
            P[i, k] = math.exp(np.float32(total[k, i] - most))
            together += P[i, k]
        for k in range(len(total)):
            P[i, k] = P[i, k] / np.float32(together)


@compiled
def sigmoid_double(total: NDArray[np.float64], slope: float, P: NDArray[np.float64]) -> None:
    """Write the second class's probability for sums of shape (1, n), as LightGBM rounds it."""
    for i in range(len(P)):
        P[i, 1] = 1.0 / (1.0 + math.exp(-slope * total[0, i]))
        P[i, 0] = 1.0 - P[i, 1]


@compiled
def softmax_double(total: NDArray[np.float64], P: NDArray[np.float64]) -> None:
    """Write probabilities for sums of shape (n_classes, n), as LightGBM rounds them."""
    for i in range(len(P)):
        most = total[0, i]
        for k in range(len(total)):
            most = max(most, total[k, i])
        together = 0.0
        for k in range(len(total)):
            P[i, k] = math.exp(total[k, i] - most)
            together += P[i, k]
        for k in range(len(total)):
            P[i, k] /= together
