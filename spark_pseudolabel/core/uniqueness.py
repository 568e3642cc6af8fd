"""Whether ids are all different, found from their hashes in groups that each fit into memory.

Equal ids have equal hashes, so that hashes which all differ prove it of the ids. Two different ids
share a 64-bit hash by chance, once in 2**64 pairs: 3 times among 10 billion ids, never among a
hundred million. Whoever finds that looks at the ids themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

GROUP_ROWS = 4_000_000
"""Hashes of a group: 32 MB, and as much again while they are sorted."""

Hashes = NDArray[np.uint64]

_HASHES = 2**64


def group_count(rows: int) -> int:
    """Return into how many groups the hashes of some rows are shared out.

    Examples
    --------
    >>> [group_count(rows) for rows in (0, 4_000_000, 10_000_000_000)]
    [1, 1, 2500]
    """
    return max(1, -(-rows // GROUP_ROWS))


def in_groups(hashes: NDArray[np.int64], n_groups: int) -> Iterator[tuple[int, Hashes]]:
    """Share hashes out by their range, so that equal ones meet in one group.

    Parameters
    ----------
    hashes
        ndarray of shape (n_rows,).
    n_groups
        How many groups there are.

    Yields
    ------
    tuple
        Number of a group and its hashes, ascending; groups that get none are left out.
    """
    ordered = np.sort(hashes.view(np.uint64))
    starts = np.array([_HASHES * group // n_groups for group in range(n_groups)], dtype=np.uint64)
    edges = [*np.searchsorted(ordered, starts).tolist(), len(ordered)]
    for group in range(n_groups):
        if edges[group] < edges[group + 1]:
            yield group, ordered[edges[group] : edges[group + 1]]


def repeated(runs: Sequence[Hashes]) -> Hashes:
    """Return the hashes that occur more than once in some runs together, ascending.

    Examples
    --------
    >>> repeated([np.array([1, 5], np.uint64), np.array([2, 5, 9, 9], np.uint64)]).tolist()
    [5, 9]
    """
    if not runs:
        return np.zeros(0, dtype=np.uint64)
    together = np.concatenate(runs)
    together.sort()
    return np.unique(together[1:][together[1:] == together[:-1]])


def ascend(keys: pa.Array) -> bool:
    """Whether every key is greater than the one before it; not where one is null.

    Examples
    --------
    >>> [ascend(pa.array(keys)) for keys in (["a", "b"], ["a", "a"], [1, None], [])]
    [True, False, False, True]
    """
    if keys.null_count:
        return False
    return len(keys) < 2 or bool(pc.all(pc.less(keys[:-1], keys[1:])).as_py())
