"""What earlier generations have seen: the hashes of all ids, and the files, without reading all.

Both are kept as *segments*, files of an attempt that never change. A generation writes one of its
own and merges it with those before it that are no larger, as a binary counter carries (Bentley and
Saxe 1980, decomposable searching problems): of n generations there are log n segments, and what one
generation writes is log n of its own size on average. Names of segments are in the manifest that
ends a generation, so that the next one lists nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.core.uniqueness import Hashes
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.inputs import SeenFile
from spark_pseudolabel.store.manifest import FileEntry, damaged
from spark_pseudolabel.store.store import Attempt, RoundStore

HASH = "hash"
"""The column of a segment of ids."""

MAX_ROWS = 2**25
"""Hashes of a segment that is not merged any more: 256 MB."""

Mask = NDArray[np.bool_]

_GROUP_ROWS = 2**20


def carried(sizes: Sequence[int], rows: int, most: int) -> int:
    """Return with how many of the latest segments new rows are merged.

    Parameters
    ----------
    sizes
        Rows of the segments, in order.
    rows
        Of the new one.
    most
        Rows of a segment, at most.

    Examples
    --------
    >>> [carried([4, 2, 1], 1, 9), carried([4, 2], 1, 9), carried([], 5, 9), carried([4], 4, 7)]
    [3, 0, 0, 0]
    """
    merged = 0
    for size in reversed(sizes):
        if size > rows or rows + size > most:
            break
        merged, rows = merged + 1, rows + size
    return merged


def known(store: RoundStore, segments: Sequence[FileEntry], hashes: Hashes) -> Mask:
    """Return which hashes earlier generations have seen.

    Parameters
    ----------
    store
        Of the output.
    segments
        Of ids.
    hashes
        ndarray of shape (n_rows,), ascending.

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    seen = np.zeros(len(hashes), dtype=bool)
    for entry in segments if len(hashes) else ():
        for group in _groups(store, entry):
            first, last = np.searchsorted(hashes, [group[0], group[-1]])
            last += int(last < len(hashes) and hashes[last] == group[-1])
            asked = hashes[first:last]
            places = np.minimum(np.searchsorted(group, asked), len(group) - 1)
            seen[first:last] |= group[places] == asked
    return seen


def add_ids(
    store: RoundStore, attempt: Attempt, segments: Sequence[FileEntry], hashes: Iterable[Hashes]
) -> tuple[FileEntry, ...]:
    """Add the ids of a generation to the segments; return those that there are then.

    Parameters
    ----------
    store, attempt
        Where new segments are written.
    segments
        Those that there are.
    hashes
        Of the new ids, in chunks of any size and order.
    """
    kept = list(segments)
    for number, chunk in enumerate(_chunks(hashes)):
        merged = carried([entry.rows for entry in kept], len(chunk), MAX_ROWS)
        older = [group for entry in kept[len(kept) - merged :] for group in _groups(store, entry)]
        together = np.sort(np.concatenate([chunk, *older]))
        data = _written(pa.table({HASH: together}))
        entry = store.write_file(attempt, f"ids-{number:04d}.parquet", data, len(together))
        kept[len(kept) - merged :] = [entry]
    return tuple(kept)


def add_files(
    store: RoundStore, attempt: Attempt, segments: Sequence[FileEntry], files: Sequence[SeenFile]
) -> tuple[FileEntry, ...]:
    """Add the files of a generation to the segments of files; else as :func:`add_ids`."""
    if not files:
        return tuple(segments)
    merged = carried([entry.rows for entry in segments], len(files), MAX_ROWS)
    older = read_files(store, segments[len(segments) - merged :])
    rows = [*older, *files]
    table = pa.table(
        {
            "path": pa.array([file.path for file in rows], pa.string()),
            "bytes": pa.array([file.bytes for file in rows], pa.int64()),
            "mtime_ns": pa.array([file.mtime_ns for file in rows], pa.int64()),
        }
    )
    entry = store.write_file(attempt, "files.parquet", _written(table), len(rows))
    return (*segments[: len(segments) - merged], entry)


def read_files(store: RoundStore, segments: Sequence[FileEntry]) -> list[SeenFile]:
    """Return the files that earlier generations have read."""
    batches = [batch for entry in segments for batch in _batches(store, entry)]
    return [SeenFile(*row.values()) for batch in batches for row in batch.to_pylist()]


def _chunks(hashes: Iterable[Hashes]) -> Iterator[Hashes]:
    """Yield hashes in runs that one segment holds."""
    waiting: list[Hashes] = []
    n_waiting = 0
    for piece in hashes:
        for start in range(0, len(piece), MAX_ROWS):
            part = piece[start : start + MAX_ROWS]
            if waiting and n_waiting + len(part) > MAX_ROWS:
                yield np.concatenate(waiting)
                waiting, n_waiting = [], 0
            waiting.append(part)
            n_waiting += len(part)
    if n_waiting:
        yield np.concatenate(waiting)


def _groups(store: RoundStore, entry: FileEntry) -> Iterator[Hashes]:
    for batch in _batches(store, entry):
        if batch.num_rows:
            yield batch.column(0).to_numpy()


def _batches(store: RoundStore, entry: FileEntry) -> Iterator[pa.RecordBatch]:
    where = join(store.root, entry.path)
    try:
        with store.files.open_input(where) as opened:
            parquet = pq.ParquetFile(opened, page_checksum_verification=True)
            yield from parquet.iter_batches(batch_size=_GROUP_ROWS, use_threads=False)
    except FileNotFoundError as error:
        raise damaged(where, "is gone") from error
    except (pa.ArrowException, OSError) as error:
        raise damaged(where, f"is not as it was written: {error}") from error


def _written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=_GROUP_ROWS,
        use_dictionary=False,
        compression="zstd",
        write_page_checksum=True,
    )
    return sink.getvalue()
