"""The loop that numba compiles for trees that rows walk down; see :mod:`.paths`.

Imported where numba is installed only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64
from numpy.typing import NDArray

from spark_pseudolabel.core.compiled.loops import compiled

BLOCK = 4096
"""Rows that walk down one tree before the next: their keys stay in the processor's cache."""

_TOGETHER = 8
_LEAST, _GREATEST = np.iinfo(np.int32).min, np.iinfo(np.int32).max
_INFINITE = 0x7F800000
"""Bits of infinity; those of a missing value are more, whatever its sign."""


@compiled
def _next(nodes: NDArray[np.int64], keys: NDArray[np.int32], row: Any, at: Any) -> Any:
    """Return the node after `at`, itself for a leaf; unsigned places need no look at their sign."""
    node = nodes[at]
    right = int64(keys[uint64(row + uint64(node & 0xFFF))]) > (node >> 32)
    return uint64((node >> 12) & 0xFFFFF) + uint64(right)


@compiled
def _add_tree(
    keys: NDArray[np.int32],
    width: int,
    nodes: NDArray[np.int64],
    values: NDArray[np.float64],
    P: NDArray[np.float64],
) -> None:
    """Add to each row of a block what its leaf says.

    Eight rows take a step together, for none of them has to wait for what another one reads.
    """
    i = 0
    while i + _TOGETHER <= len(P):
        row, by = uint64(i * width), uint64(width)
        a = b = c = d = e = f = g = h = uint64(0)
        while True:
            a1 = _next(nodes, keys, row, a)
            b1 = _next(nodes, keys, row + by, b)
            c1 = _next(nodes, keys, row + uint64(2) * by, c)
            d1 = _next(nodes, keys, row + uint64(3) * by, d)
            e1 = _next(nodes, keys, row + uint64(4) * by, e)
            f1 = _next(nodes, keys, row + uint64(5) * by, f)
            g1 = _next(nodes, keys, row + uint64(6) * by, g)
            h1 = _next(nodes, keys, row + uint64(7) * by, h)
            moved = (
                (a ^ a1) | (b ^ b1) | (c ^ c1) | (d ^ d1)
                | (e ^ e1) | (f ^ f1) | (g ^ g1) | (h ^ h1)
            )  # fmt: skip
            a, b, c, d, e, f, g, h = a1, b1, c1, d1, e1, f1, g1, h1
            if moved == uint64(0):
                break
        # The same words as in the test above: a leaf's number stands where a node has its key.
        leaf_a, leaf_b, leaf_c, leaf_d = (
            nodes[a] >> 32, nodes[b] >> 32, nodes[c] >> 32, nodes[d] >> 32
        )  # fmt: skip
        leaf_e, leaf_f, leaf_g, leaf_h = (
            nodes[e] >> 32, nodes[f] >> 32, nodes[g] >> 32, nodes[h] >> 32
        )  # fmt: skip
        for k in range(P.shape[1]):
            P[i, k] += values[leaf_a, k]
            P[i + 1, k] += values[leaf_b, k]
            P[i + 2, k] += values[leaf_c, k]
            P[i + 3, k] += values[leaf_d, k]
            P[i + 4, k] += values[leaf_e, k]
            P[i + 5, k] += values[leaf_f, k]
            P[i + 6, k] += values[leaf_g, k]
            P[i + 7, k] += values[leaf_h, k]
        i += _TOGETHER
    while i < len(P):
        at = uint64(0)
        after = _next(nodes, keys, uint64(i * width), at)
        while after != at:
            at = after
            after = _next(nodes, keys, uint64(i * width), at)
        for k in range(P.shape[1]):
            P[i, k] += values[nodes[at] >> 32, k]
        i += 1


@compiled
def _write_keys(bits: NDArray[np.int32], missing: bool, keys: NDArray[np.int32]) -> None:
    """Do what :func:`.paths.keys_of` does, with columns for what is missing behind the others."""
    n_columns = bits.shape[1]
    for i in range(len(bits)):
        for j in range(n_columns):
            number = bits[i, j]
            # Without its sign, 0 has one key only.
            key = np.int32(0) if number == _LEAST else number ^ ((number >> 31) & _GREATEST)
            keys[i, j] = key
            if missing:
                gone = (number & _GREATEST) > _INFINITE
                keys[i, j] = _LEAST if gone else key
                keys[i, n_columns + 1 + j] = _GREATEST if gone else key
        keys[i, n_columns] = _LEAST


@compiled
def add_leaves(
    bits: NDArray[np.int32],
    missing: bool,
    nodes: NDArray[np.int64],
    first_node: NDArray[np.int64],
    values: NDArray[np.float64],
    first_value: NDArray[np.int64],
    P: NDArray[np.float64],
) -> None:
    """Add the leaves of all trees, one after the other, to probabilities of shape (n, n_classes).

    Parameters
    ----------
    bits
        ndarray of shape (n, n_columns), in C order: numbers of single precision, read as whole
        ones.
    missing
        Whether any is missing.
    nodes, first_node, values, first_value
        From :class:`~.paths.Paths`.
    P
        ndarray of shape (n, n_classes), in C order.
    """
    width = bits.shape[1] + 1
    if missing:
        width += bits.shape[1]
    keys = np.empty((min(BLOCK, len(P)), width), np.int32)
    for start in range(0, len(P), BLOCK):
        end = min(start + BLOCK, len(P))
        _write_keys(bits[start:end], missing, keys)
        for tree in range(len(first_node) - 1):
            of_tree = nodes[first_node[tree] : first_node[tree + 1]]
            says = values[first_value[tree] : first_value[tree + 1]]
            _add_tree(keys.reshape(-1), width, of_tree, says, P[start:end])
