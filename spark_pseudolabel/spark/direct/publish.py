"""Writing published tables out of narrow files, in workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from spark_pseudolabel.core.parts import Part
from spark_pseudolabel.spark.direct.narrow import Written, part_number, read_narrow, write_tables
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.direct.tasks import from_stream, to_stream, with_features
from spark_pseudolabel.spark.pool import Transform
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.store.arrow_files import ArrowFiles
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import FileEntry

ROWS_PER_FILE = 2_000_000
_INLINE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class PublishTask:
    """One file of a published table.

    Parameters
    ----------
    number
        Of the file.
    pieces
        Parts of the pool, each with the narrow files of its rows.
    more
        Further rows, an Arrow stream or the file of one, or None.
    """

    number: int
    pieces: tuple[tuple[Part, tuple[str, ...]], ...] = ()
    more: bytes | str | None = None


def given_rows(rows: pa.Table | None, scratch: Scratch) -> bytes | str | None:
    """Return the driver's rows for :class:`PublishTask`: as they are, or many as a file."""
    if rows is None:
        return None
    stream = to_stream(rows)
    return stream if len(stream) <= _INLINE_BYTES else scratch.put("given.arrow", stream)


def publish_tasks(
    entries: Sequence[FileEntry], root: str, parts: Sequence[Part], more: bytes | str | None
) -> list[PublishTask]:
    """Share narrow files out to the files of a published table; at least one."""
    paths: dict[int, list[FileEntry]] = defaultdict(list)
    for entry in entries:
        paths[part_number(entry.path)].append(entry)
    work: list[PublishTask] = []
    pieces: list[tuple[Part, tuple[str, ...]]] = []
    n_rows = 0
    for number in sorted(paths):
        entries_of_part = paths[number]
        pieces.append((parts[number], tuple(join(root, entry.path) for entry in entries_of_part)))
        n_rows += sum(entry.rows for entry in entries_of_part)
        if n_rows >= ROWS_PER_FILE:
            work.append(PublishTask(len(work), tuple(pieces)))
            pieces, n_rows = [], 0
    if pieces or more is not None or not work:
        work.append(PublishTask(len(work), tuple(pieces), more))
    return work


def publish_part(
    task: PublishTask,
    transform: Transform,
    schema: pa.Schema,
    source: PartSource | None,
    folder: str,
) -> Written:
    """Write one file; `source` is the pool where its features are to be in it."""
    return write_tables(
        folder, f"part-{task.number:06d}", schema, _tables(task, transform, schema, source)
    )


def _tables(
    task: PublishTask, transform: Transform, schema: pa.Schema, source: PartSource | None
) -> Iterator[pa.Table]:
    if task.more is not None:
        more = task.more
        stream = ArrowFiles.for_uri(more).read(more) if isinstance(more, str) else more
        yield from_stream(stream).cast(schema)
    for part, paths in task.pieces:
        narrow = pa.concat_tables([read_narrow(path) for path in paths])
        for rows in [narrow] if source is None else with_features(part, narrow, source):
            yield transform(rows).cast(schema)
