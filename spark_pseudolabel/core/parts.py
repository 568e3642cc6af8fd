"""Parts of a pool of Parquet files, each scored by one task, the same in every round and rerun."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 262_144
"""Rows of a part, unless a single row group has more."""

MAX_BYTES = 128 * 2**20
"""Uncompressed bytes of a part, unless a single row group has more."""

MAX_PIECES = 16
MIN_PIECE_ROWS = 2_048

Packed = bytes
"""Flags in little space; see :func:`packed`."""


@dataclass(frozen=True)
class FileColumns:
    """How a file holds the columns of a table whose log says so.

    A column of the table that is in neither is missing in every row of the file.

    Parameters
    ----------
    names
        Columns that the file has: what the table calls them, what the file does.
    values
        Columns that have one value in all rows, which is not in the file.
    """

    names: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class RowGroup:
    """One row group of a Parquet file.

    Parameters
    ----------
    file
        Path relative to the table's directory; empty where the table is a single file.
    file_bytes
        The file's length when it was listed.
    index
        Position of the row group in its file.
    first_row
        Position of its first row in its file.
    rows
        Number of rows.
    bytes
        Uncompressed size of all its columns.
    columns
        How its file holds the table's columns; None: by their own names.
    deleted
        Which rows the table's log has deleted, as :func:`packed` makes it; empty: none.
    """

    file: str
    file_bytes: int
    index: int
    first_row: int
    rows: int
    bytes: int
    columns: FileColumns | None = None
    deleted: Packed = b""

    def kept(self, wanted: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Take deleted rows out of those that are wanted.

        Parameters
        ----------
        wanted
            ndarray of shape (rows,); None: all rows. So is what is returned.
        """
        if not self.deleted:
            return wanted
        there = ~unpacked(self.deleted, self.rows)
        return there if wanted is None else wanted & there


@dataclass(frozen=True)
class Part:
    """Row groups that are read by one task; rows are known by their position in it.

    Parameters
    ----------
    number
        From 0, in the order of the files.
    groups
        In the order of file and position.
    """

    number: int
    groups: tuple[RowGroup, ...]

    @cached_property
    def rows(self) -> int:
        """Number of rows."""
        return sum(group.rows for group in self.groups)


@dataclass(frozen=True)
class Piece:
    """The rows of a part that one task scores.

    Parameters
    ----------
    part
        The part.
    number
        From 0, within the part.
    start, stop
        Their positions in the part.
    """

    part: Part
    number: int
    start: int
    stop: int


def packed(flags: NDArray[np.bool_]) -> Packed:
    """Return flags in little space, none where none is set.

    Examples
    --------
    >>> packed(np.array([False, False])), unpacked(packed(np.array([True, False])), 2).tolist()
    (b'', [True, False])
    """
    return zlib.compress(np.packbits(flags).tobytes(), 1) if flags.any() else b""


def unpacked(stored: Packed, n: int) -> NDArray[np.bool_]:
    """Return what :func:`packed` made of `n` flags."""
    bits = np.frombuffer(zlib.decompress(stored), dtype=np.uint8)
    return np.unpackbits(bits, count=n).view(np.bool_)


def pieces_of(parts: Sequence[Part], tasks: int) -> list[Piece]:
    """Cut parts into pieces, so that a small pool keeps every core busy, too.

    Parameters
    ----------
    parts
        Of the pool.
    tasks
        As many pieces as there should be at least; fewer if they would become too small, or if
        too many tasks would read the same row group.
    """
    share = min(MAX_PIECES, -(-tasks // max(1, len(parts))))
    return [piece for part in parts for piece in _cut(part, share)]


def _cut(part: Part, share: int) -> Iterator[Piece]:
    n = max(1, min(share, part.rows // MIN_PIECE_ROWS))
    edges = [part.rows * i // n for i in range(n + 1)]
    for number, (start, stop) in enumerate(pairwise(edges)):
        yield Piece(part, number, start, stop)


def parts_of(
    groups: Iterable[RowGroup], max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES
) -> list[Part]:
    """Put row groups together, in order, up to a size that is worth a task.

    A function of the files alone: rounds know rows by their place in a part, also when a run goes
    on with another number of cores.
    """
    packed = _packed(groups, max_rows, max_bytes)
    return [Part(number, tuple(part)) for number, part in enumerate(packed)]


def _packed(groups: Iterable[RowGroup], max_rows: int, max_bytes: int) -> Iterator[list[RowGroup]]:
    part: list[RowGroup] = []
    rows = size = 0
    for group in groups:
        if part and (rows + group.rows > max_rows or size + group.bytes > max_bytes):
            yield part
            part, rows, size = [], 0, 0
        if group.rows:
            part.append(group)
            rows, size = rows + group.rows, size + group.bytes
    if part:
        yield part
