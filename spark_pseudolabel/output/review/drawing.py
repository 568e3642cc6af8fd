"""The first rows of an order of chance, streamed: what answers to them tell holds for all rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.core.hashing import xxhash64

_GROUP = "spl_group"
_KEPT_BEFORE_PRUNING = 400_000


class Drawing:
    """Keeps, of each group, the rows that come first; memory holds no more than these twice.

    Parameters
    ----------
    keys
        Columns that identify a row: the order follows from them, and not from how rows are stored.
    seed, salt
        ``random_state``, and a number that nothing else in a run draws by.
    n
        How many rows of each group are kept.
    n_groups
        How many groups there are.
    """

    def __init__(self, keys: Sequence[str], seed: int, salt: int, n: int, n_groups: int = 1):
        self._keys, self._seed, self._salt, self._n = list(keys), seed, salt, n
        self._limits = np.full(n_groups, np.iinfo(np.int64).max, dtype=np.int64)
        self._kept: list[pa.Table] = []
        self._waiting = 0

    def add(self, rows: pa.Table, groups: NDArray[np.int64]) -> None:
        """Look at more rows; those of a negative group are left out."""
        keys = [rows.column(key) for key in self._keys]
        hashes = xxhash64([*keys, self._seed, self._salt]) if rows.num_rows else groups
        kept = (groups >= 0) & (hashes <= self._limits[groups])
        if not kept.any():
            return
        table = rows.filter(pa.array(kept))
        table = table.append_column(HASH, pa.array(hashes[kept], pa.int64()))
        self._kept.append(table.append_column(_GROUP, pa.array(groups[kept], pa.int64())))
        self._waiting += table.num_rows
        if self._waiting > _KEPT_BEFORE_PRUNING + self._n * len(self._limits):
            self._prune()

    def _prune(self) -> None:
        rows = self._ordered(_GROUP, HASH)
        groups = rows.column(_GROUP).to_numpy()
        rank = rank_in_runs(groups)
        last = rank == self._n - 1
        self._limits[groups[last]] = rows.column(HASH).to_numpy()[last]
        self._kept = [rows.filter(pa.array(rank < self._n))]
        self._waiting = 0

    def _ordered(self, *first: str) -> pa.Table:
        rows = pa.concat_tables(self._kept, promote_options="permissive")
        by = [(name, "ascending") for name in (*first, *self._keys)]
        return rows.take(pc.sort_indices(rows, sort_keys=by))

    def rows(self) -> pa.Table | None:
        """Return all kept rows, in the order of chance; None where no row was looked at."""
        if not self._kept:
            return None
        self._prune()
        return self._ordered(HASH).drop_columns([HASH, _GROUP])


def rank_in_runs(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each number in its run of equal ones.

    Examples
    --------
    >>> rank_in_runs(np.array([3, 3, 3, 5, 5])).tolist()
    [0, 1, 2, 0, 1]
    """
    starts = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    lengths = np.diff(np.append(starts, len(groups)))
    rank: NDArray[np.int64] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return rank
