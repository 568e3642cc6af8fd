"""Which rows are most worth a person's minute: unsure, unlike each other, and of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def uncertainty(confidence: Floats, n_classes: int) -> Floats:
    """Return how unsure a model is of a row, in [0, 1].

    Parameters
    ----------
    confidence
        ndarray of shape (n_rows,): probability of the likeliest class; NaN where there is none.
    n_classes
        How many there are.

    Returns
    -------
    ndarray of shape (n_rows,)
        0 where the model is certain, 1 where it knows nothing.

    Examples
    --------
    >>> uncertainty(np.array([1.0, 0.75, 0.5, np.nan]), 2).tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    guess = 1.0 / max(n_classes, 2)
    unsure = (1.0 - np.nan_to_num(confidence, nan=guess)) / (1.0 - guess)
    clipped: Floats = np.clip(unsure, 0.0, 1.0)
    return clipped


def shares(n: int, available: Sequence[int]) -> list[int]:
    """Share places out evenly; what a group cannot fill goes to the others.

    Examples
    --------
    >>> shares(10, [2, 100, 100]), shares(3, [1, 1]), shares(4, [5, 5, 5])
    ([2, 4, 4], [1, 1], [2, 1, 1])
    """
    given = [0] * len(available)
    left = min(n, sum(available))
    while left:
        open_groups = [i for i, rows in enumerate(available) if given[i] < rows]
        # What is left over of an even share goes to the first groups, and only at the end.
        each = max(left // len(open_groups), 1)
        for i in open_groups[:left]:
            take = min(each, available[i] - given[i])
            given[i] += take
            left -= take
    return given


def best(worth: Floats, ties: Places, n: int) -> Places:
    """Return the places of the `n` rows worth most, the best first; equal ones by `ties`."""
    order: Places = np.lexsort((ties, -worth))[:n]
    return order


def spread(vectors: Floats, worth: Floats, ties: Places, n: int, known: Floats) -> Places:
    """Choose rows that are worth much and unlike each other and the known ones.

    Greedy: the next row is that with the largest product of its worth and its distance to the
    nearest row that is chosen already, or known (k-center, Sener and Savarese 2018, weighted by
    worth). A copy of a chosen row has the distance 0 and comes after all others.

    Parameters
    ----------
    vectors
        ndarray of shape (n_rows, n_features), scaled alike.
    worth
        ndarray of shape (n_rows,), not negative.
    ties
        ndarray of shape (n_rows,), different numbers: of equal rows the lower one is chosen.
    n
        How many.
    known
        ndarray of shape (n_known, n_features): labeled rows; may have none.

    Returns
    -------
    ndarray of shape (min(n, n_rows),)
        Places, in the order in which they were chosen.

    Examples
    --------
    >>> X = np.array([[0.0], [0.0], [1.0]])
    >>> spread(X, np.ones(3), np.arange(3), 3, np.zeros((0, 1))).tolist()
    [0, 2, 1]
    """
    n = min(n, len(vectors))
    chosen = np.zeros(n, dtype=np.int64)
    distance = _nearest(vectors, known)
    left = np.ones(len(vectors), dtype=np.bool_)
    by_tie = np.argsort(ties, kind="stable")
    for place in range(n):
        # Distances that differ in the last bits only would let the processor decide.
        gain = np.round(worth * distance, 9) if np.isfinite(distance).all() else worth.copy()
        gain[~left] = -1.0
        # Copies of what is chosen: the most worthy first.
        if gain.max() <= 0.0:
            gain = np.where(left, worth, -1.0)
        pick = int(by_tie[np.argmax(gain[by_tie])])
        chosen[place], left[pick] = pick, False
        distance = np.minimum(distance, np.linalg.norm(vectors - vectors[pick], axis=1))
    return chosen


def _nearest(vectors: Floats, known: Floats) -> Floats:
    distance = np.full(len(vectors), np.inf)
    for row in known:
        distance = np.minimum(distance, np.linalg.norm(vectors - row, axis=1))
    return distance


def without_copies(fingerprints: Places, order: Places) -> Places:
    """Return an order with copies of earlier rows behind all others.

    Examples
    --------
    >>> without_copies(np.array([7, 7, 8]), np.array([0, 1, 2])).tolist()
    [0, 2, 1]
    """
    _, first = np.unique(fingerprints[order], return_index=True)
    is_first = np.zeros(len(order), dtype=np.bool_)
    is_first[first] = True
    kept: Places = np.concatenate([order[is_first], order[~is_first]])
    return kept
