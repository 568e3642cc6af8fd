"""Trees of any size as words that rows walk down, each step without a branch.

A word of 64 bits is a node: the key of its threshold (32), where its children are, the right one
behind the left one (20), and the column that it asks for (12). The key of a number is a whole
number; keys are in the order of the numbers. A leaf asks for a column that no row is larger in and
is its own left child; in place of a key it has its number among the leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MOST_COLUMNS = 2**12
_MOST_NODES = 2**20
_KEY, _CHILD = 32, 12
_LEAST, _GREATEST = np.iinfo(np.int32).min, np.iinfo(np.int32).max


@dataclass(frozen=True)
class Paths:
    """A forest's trees, one after the other.

    Parameters
    ----------
    nodes
        ndarray of shape (n_nodes,) of int64.
    missing_right
        ndarray of shape (n_nodes,): whether rows without a value go right.
    first_node, first_value
        ndarrays of shape (n_trees + 1,) of int64: where each tree begins.
    values
        ndarray of shape (n_leaves, n_classes): what each leaf adds.
    n_columns
        Columns of the model's input.
    """

    nodes: NDArray[np.int64]
    missing_right: NDArray[np.bool_]
    first_node: NDArray[np.int64]
    first_value: NDArray[np.int64]
    values: NDArray[np.float64]
    n_columns: int

    def add_to(self, X: NDArray[np.float32], total: NDArray[np.float64]) -> None:
        """Add the leaves of all rows to totals of shape (n_classes, n_rows), in Fortran order."""
        from spark_pseudolabel.core.compiled import walks

        missing, nodes = bool(np.isnan(X).any()), self.nodes
        if missing:
            # Columns are there twice: what is missing is less than all, or more.
            nodes = nodes + self.missing_right * (self.n_columns + 1)
        walks.add_leaves(
            X.view(np.int32), missing, nodes, self.first_node, self.values, self.first_value,
            total.T,
        )  # fmt: skip


class GrownTree(NamedTuple):
    """A binary tree of any size; a row goes left where its value is at most the threshold.

    Parameters
    ----------
    feature
        ndarray of shape (n_nodes,): column of the value.
    threshold
        ndarray of shape (n_nodes,) of float64; values are of single precision.
    missing_left
        ndarray of shape (n_nodes,): whether rows without a value go left.
    left, right
        ndarrays of shape (n_nodes,): the next nodes, negative for a leaf; the root is node 0.
    value
        ndarray of shape (n_nodes, n_classes): what a leaf adds.
    """

    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    value: NDArray[np.float64]


def paths_of(trees: Sequence[GrownTree], n_columns: int) -> Paths | None:
    """Turn trees into words; None where a tree has too many nodes, or rows too many columns."""
    if 2 * n_columns + 1 > _MOST_COLUMNS or max(len(t.left) for t in trees) > _MOST_NODES:
        return None
    orders = [_from_the_root(tree) for tree in trees]
    each = [_words(tree, order, n_columns) for tree, order in zip(trees, orders, strict=True)]
    leaves = [order[tree.left[order] < 0] for tree, order in zip(trees, orders, strict=True)]
    return Paths(
        nodes=np.concatenate(each),
        missing_right=np.concatenate(
            [
                (tree.left[order] >= 0) & ~tree.missing_left[order]
                for tree, order in zip(trees, orders, strict=True)
            ]
        ),
        first_node=np.cumsum([0, *map(len, each)], dtype=np.int64),
        first_value=np.cumsum([0, *map(len, leaves)], dtype=np.int64),
        values=np.concatenate([t.value[of] for t, of in zip(trees, leaves, strict=True)]),
        n_columns=n_columns,
    )


def keys_of(X: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return whole numbers in the order of numbers, and a column behind them that holds the least.

    Parameters
    ----------
    X
        ndarray of shape (n_rows, n_columns); NaN has some key.

    Returns
    -------
    ndarray of shape (n_rows, n_columns + 1)

    Examples
    --------
    >>> keys_of(np.array([[-np.inf, -1.5, -0.0, 0.0, 1e-45, np.inf]], np.float32)).tolist()
    [[-2139095041, -1069547521, 0, 0, 1, 2139095040, -2147483648]]
    """
    keys = np.empty((len(X), X.shape[1] + 1), np.int32)
    # Without its sign, 0 has one key only.
    bits = (X + np.float32(0.0)).view(np.int32)
    np.bitwise_xor(bits, (bits >> 31) & _GREATEST, out=keys[:, :-1])
    keys[:, -1] = _LEAST
    return keys


def _from_the_root(tree: GrownTree) -> NDArray[np.intp]:
    """Return nodes level by level, so that the two children of a node are neighbors."""
    levels = [np.zeros(1, np.intp)]
    while len(inner := levels[-1][tree.left[levels[-1]] >= 0]):
        levels.append(np.column_stack([tree.left[inner], tree.right[inner]]).ravel())
    return np.concatenate(levels)


def _words(tree: GrownTree, order: NDArray[np.intp], n_columns: int) -> NDArray[np.int64]:
    place = np.empty(len(tree.left), np.int64)
    place[order] = np.arange(len(order))
    leaf = tree.left[order] < 0
    child = np.where(leaf, np.arange(len(order)), place[tree.left[order]])
    column = np.where(leaf, n_columns, tree.feature[order])
    threshold = tree.threshold[order]
    with np.errstate(over="ignore"):
        single = threshold.astype(np.float32)
    # What is at most a threshold is at most the next number of single precision that is.
    single = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
    key = np.where(leaf, np.cumsum(leaf) - 1, keys_of(single[:, np.newaxis])[:, 0])
    words: NDArray[np.int64] = key.astype(np.int64) << _KEY | child << _CHILD | column
    return words
