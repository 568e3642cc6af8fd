"""Boosted trees as tables of bytes: what a library's model is turned into before it is compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_LEAVES = 256
"""Of a tree: the number of a leaf is a byte."""

CODES = 256
"""Codes of categories, of which the last one is for those that are missing or out of range."""

_CELLS = 1024
_MOST_IN_CELL = 4


@dataclass(frozen=True)
class Tree:
    """A binary tree; a row goes left where its value is at most the threshold.

    Parameters
    ----------
    feature
        ndarray of shape (n_nodes,): column of the value, -1 for a leaf.
    threshold
        ndarray of shape (n_nodes,) of float64.
    missing_left
        ndarray of shape (n_nodes,): whether rows without a value go left.
    left, right
        ndarrays of shape (n_nodes,): the next nodes; the root is node 0.
    value
        ndarray of shape (n_nodes,): what a leaf adds, float64 or float32.
    place
        To which sum.
    choices
        By node that asks for a category, ndarray of shape (256,): whether a code goes left.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[Any]
    place: int
    choices: dict[int, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def n_leaves(self) -> int:
        """How many leaves there are."""
        return int(np.count_nonzero(self.feature < 0))


class Tables(NamedTuple):
    """Arrays that :func:`~.loops.add_all` takes between rows and totals, in its order."""

    columns: NDArray[np.int32]
    categorical: NDArray[np.bool_]
    thresholds: NDArray[np.float64]
    first_threshold: NDArray[np.int32]
    n_thresholds: NDArray[np.int32]
    steps: NDArray[np.int32]
    low: NDArray[np.float64]
    scale: NDArray[np.float64]
    table: NDArray[Any]
    most: NDArray[np.int32]
    first_byte: NDArray[np.int32]
    first_test: NDArray[np.int32]
    slot: NDArray[np.int32]
    rank: NDArray[Any]
    mask: NDArray[np.uint8]
    first_choice: NDArray[np.int32]
    choice_row: NDArray[np.int32]
    choice_mask: NDArray[np.uint8]
    goes_left: NDArray[np.uint8]
    first_value: NDArray[np.int32]
    values: NDArray[Any]
    place: NDArray[np.int32]

    def add_to(self, X: NDArray[Any], total: NDArray[Any]) -> None:
        """Add the leaves of all rows to totals of shape (n_sums, n_rows), in C order."""
        from spark_pseudolabel.core.compiled import loops

        loops.add_all(X, *self, total)


@dataclass(frozen=True)
class _Grid:
    """How ranks among one column's thresholds are found; see :func:`.loops.add_all`."""

    padded: NDArray[np.float64]
    steps: int
    low: float = 0.0
    scale: float = 0.0
    cells: NDArray[np.intp] | None = None
    most: int = 0


def tables_of(trees: Sequence[Tree]) -> Tables | None:
    """Turn trees into tables; None where a tree or a column has too many leaves or thresholds."""
    if any(tree.n_leaves > MOST_LEAVES for tree in trees):
        return None
    columns, categorical, thresholds = _columns(trees)
    largest = max((len(of_column) for of_column in thresholds), default=0)
    if largest >= np.iinfo(np.uint16).max:
        return None
    kind = np.uint8 if largest < np.iinfo(np.uint8).max else np.uint16
    grids = [_grid(of_column) for of_column in thresholds]
    table = np.zeros((max(1, len(grids)), _CELLS), kind)
    for number, grid in enumerate(grids):
        if grid.cells is not None:
            table[number] = grid.cells
    tests = [_tests(tree, columns, thresholds) for tree in trees]
    by_byte = [byte for of_tree in tests for byte in of_tree]
    comparisons = [c for byte in by_byte for c in byte.comparisons or [_NO_COMPARISON]]
    choices = [c for byte in by_byte for c in byte.choices]
    return Tables(
        columns=columns,
        categorical=categorical,
        thresholds=np.concatenate([np.empty(0), *(grid.padded for grid in grids)]),
        first_threshold=_starts(len(grid.padded) for grid in grids)[:-1],
        n_thresholds=np.array([len(of_column) for of_column in thresholds], np.int32),
        steps=np.array([grid.steps for grid in grids], np.int32),
        low=np.array([grid.low for grid in grids], np.float64),
        scale=np.array([grid.scale for grid in grids], np.float64),
        table=table,
        most=np.array([grid.most for grid in grids], np.int32),
        first_byte=_starts(len(of_tree) for of_tree in tests),
        first_test=_starts(max(1, len(byte.comparisons)) for byte in by_byte),
        slot=np.array([c.slot for c in comparisons], np.int32),
        rank=np.array([c.rank for c in comparisons], kind),
        mask=np.array([c.mask for c in comparisons], np.uint8),
        first_choice=_starts(len(byte.choices) for byte in by_byte),
        choice_row=np.array([c.column for c in choices], np.int32),
        choice_mask=np.array([c.mask for c in choices], np.uint8),
        goes_left=np.array([c.goes_left for c in choices], np.uint8).reshape(-1, CODES),
        first_value=_starts(tree.n_leaves for tree in trees)[:-1],
        values=np.concatenate([tree.value[_leaves(tree)] for tree in trees]),
        place=np.array([tree.place for tree in trees], np.int32),
    )


def _columns(
    trees: Sequence[Tree],
) -> tuple[NDArray[np.int32], NDArray[np.bool_], list[NDArray[np.float64]]]:
    """Return the columns that are asked for, whether by category, and their thresholds."""
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    chooses = np.zeros(len(feature), dtype=bool)
    start = 0
    for tree in trees:
        chooses[[start + node for node in tree.choices]] = True
        start += len(tree.feature)
    columns = np.unique(feature[feature >= 0]).astype(np.int32)
    thresholds = [np.unique(threshold[(feature == c) & ~chooses]) for c in columns]
    categorical = np.array([chooses[feature == c].any() for c in columns], dtype=bool)
    return columns, categorical, thresholds


def _grid(thresholds: NDArray[np.float64]) -> _Grid:
    n = len(thresholds)
    size = 1 << n.bit_length()
    padded = np.full(size, np.inf)
    padded[:n] = thresholds
    halving = _Grid(padded, size >> 1)
    if n < 2 or not np.isfinite(thresholds).all():
        return halving
    low = float(thresholds[0])
    with np.errstate(all="ignore"):
        scale = float(np.float64(_CELLS - 1) / (thresholds[-1] - low))
        if not np.isfinite(scale) or scale <= 0:
            return halving
        # The same operations as in the loop: each is monotone, so that cells are in order.
        cell = np.clip((thresholds - low) * scale, 0.0, _CELLS - 1.0).astype(np.intp)
    most = int(np.bincount(cell).max())
    if most > _MOST_IN_CELL:
        return halving
    return _Grid(padded, size >> 1, low, scale, np.searchsorted(cell, np.arange(_CELLS)), most)


class _Comparison(NamedTuple):
    """What is left of eight leaves where a column's rank is more than that of a threshold."""

    slot: int
    rank: int
    mask: int


class _Choice(NamedTuple):
    """What is left of eight leaves where a column's code does not go left."""

    column: int
    goes_left: NDArray[np.uint8]
    mask: int


_NO_COMPARISON = _Comparison(0, 0, 255)


class _Byte(NamedTuple):
    """Eight leaves of a tree, and the tests that may take some of them away."""

    comparisons: list[_Comparison]
    choices: list[_Choice]


def _walk(tree: Tree) -> Iterator[tuple[int, int, int]]:
    """Yield each node with its first leaf and the one after its last on the left, or of itself."""
    n_leaves = 0
    # From left to right, without recursion: trees may be as deep as they have leaves.
    waiting: list[tuple[int, int | None]] = [(0, None)]
    while waiting:
        node, first_leaf = waiting.pop()
        if first_leaf is not None:
            yield node, first_leaf, n_leaves
        elif tree.feature[node] < 0:
            yield node, n_leaves, n_leaves + 1
            n_leaves += 1
        else:
            # The left side first; then what is known of the node; then its right side.
            waiting += [
                (int(tree.right[node]), None),
                (node, n_leaves),
                (int(tree.left[node]), None),
            ]


def _leaves(tree: Tree) -> list[int]:
    return [node for node, _, _ in _walk(tree) if tree.feature[node] < 0]


def _tests(
    tree: Tree, columns: NDArray[np.int32], thresholds: list[NDArray[np.float64]]
) -> list[_Byte]:
    by_byte = [_Byte([], []) for _ in range(_bytes(tree.n_leaves))]
    for node, start, end in _walk(tree):
        if tree.feature[node] < 0:
            continue
        number = int(np.searchsorted(columns, tree.feature[node]))
        for byte in range(start // 8, _bytes(end)):
            first, last = max(start - 8 * byte, 0), min(end - 8 * byte, 8)
            mask = 255 & ~((1 << last) - (1 << first))
            if node in tree.choices:
                goes_left = np.where(tree.choices[node], 255, 0).astype(np.uint8)
                by_byte[byte].choices.append(_Choice(number, goes_left, mask))
                continue
            rank = int(np.searchsorted(thresholds[number], tree.threshold[node]))
            slot = 2 * number + (0 if tree.missing_left[node] else 1)
            by_byte[byte].comparisons.append(_Comparison(slot, rank, mask))
    return by_byte


def _bytes(n_leaves: int) -> int:
    return (n_leaves + 7) // 8


def _starts(lengths: Any) -> NDArray[np.int32]:
    return np.cumsum([0, *lengths]).astype(np.int32)
