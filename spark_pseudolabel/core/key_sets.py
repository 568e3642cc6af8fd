"""Sets of row keys that stay small: 16 bytes a key, whatever the keys are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.core.hashing import xxhash64

_OTHER_SEED = 7_046_029_254_386_353_131


@dataclass(frozen=True)
class KeySet:
    """Keys, each by two 64-bit hashes: that two keys share both does not happen.

    Parameters
    ----------
    first
        ndarray of shape (n_keys,), ascending.
    second
        ndarray of shape (n_keys,): the other hash of the same keys.
    places
        ndarray of shape (n_keys,): where each key stood.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, columns: Sequence[pa.Array | pa.ChunkedArray]) -> KeySet:
        """Take keys, each once, of one or more columns.

        Examples
        --------
        >>> KeySet.of([pa.array(["a", "b"])]).find([pa.array(["b", "c", "a"])]).tolist()
        [1, -1, 0]
        """
        first, second = _hashes(columns)
        order = np.argsort(first, kind="stable")
        return cls(first[order], second[order], order)

    def __len__(self) -> int:
        return len(self.first)

    def find(self, columns: Sequence[pa.Array | pa.ChunkedArray]) -> NDArray[np.int64]:
        """Return where each key stands in this set.

        Returns
        -------
        ndarray of shape (n_rows,)
            -1 for a key that is not in it; of a key that is there twice, one place.
        """
        first, second = _hashes(columns)
        found = np.full(len(first), -1, dtype=np.int64)
        if not len(self.first):
            return found
        place = np.searchsorted(self.first, first)
        # Two keys may share the first hash: look at the one behind, too.
        for step in (0, 1):
            at = np.minimum(place + step, len(self.first) - 1)
            hit = (self.first[at] == first) & (self.second[at] == second)
            found[hit] = self.places[at[hit]]
        return found

    @staticmethod
    def ranks(columns: Sequence[pa.Array | pa.ChunkedArray]) -> NDArray[np.int64]:
        """Number keys: equal ones alike.

        Returns
        -------
        ndarray of shape (n_rows,)

        Examples
        --------
        >>> ranks = KeySet.ranks([pa.array([5, 3, 5])])
        >>> bool(ranks[0] == ranks[2] != ranks[1])
        True
        """
        pairs = np.stack(_hashes(columns), axis=1)
        _, inverse = np.unique(pairs, axis=0, return_inverse=True)
        return inverse.reshape(-1).astype(np.int64)

    def contains(self, columns: Sequence[pa.Array | pa.ChunkedArray]) -> NDArray[np.bool_]:
        """Return which keys are in this set."""
        hit: NDArray[np.bool_] = self.find(columns) >= 0
        return hit


def _hashes(
    columns: Sequence[pa.Array | pa.ChunkedArray],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    plain = [_plain(column) for column in columns]
    first = xxhash64(plain)
    return first, xxhash64(plain, np.full(len(first), _OTHER_SEED, dtype=np.int64))


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column in the one type that its kind has here: tables may differ in widths."""
    if pa.types.is_boolean(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.string())
