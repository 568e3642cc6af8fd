"""Writing published tables out of narrow files, in workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from spark_pseudolabel.core.splits import Part
from spark_pseudolabel.spark.direct.narrow import Written, part_number, read_narrow, write_tables
from spark_pseudolabel.spark.direct.source import Source
from spark_pseudolabel.spark.direct.tasks import from_stream, to_stream, with_features
from spark_pseudolabel.spark.pool import Transform
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import FileEntry

ROWS_PER_FILE = 2_000_000


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
        Further rows, an Arrow stream, or None.
    """

    number: int
    pieces: tuple[tuple[Part, tuple[str, ...]], ...] = ()
    more: bytes | None = None


def publish_tasks(
    entries: Sequence[FileEntry], root: str, parts: Sequence[Part], more: pa.Table | None
) -> list[PublishTask]:
    """Share narrow files out to the files of a published table; at least one."""
    paths: dict[int, list[FileEntry]] = defaultdict(list)
    for entry in entries:
        paths[part_number(entry.path)].append(entry)
    work: list[PublishTask] = []
    pieces: list[tuple[Part, tuple[str, ...]]] = []
    n_rows = 0
    for number in sorted(paths):
        mine = paths[number]
        pieces.append((parts[number], tuple(join(root, entry.path) for entry in mine)))
        n_rows += sum(entry.rows for entry in mine)
        if n_rows >= ROWS_PER_FILE:
            work.append(PublishTask(len(work), tuple(pieces)))
            pieces, n_rows = [], 0
    if pieces or more is not None or not work:
        stream = to_stream(more) if more is not None else None
        work.append(PublishTask(len(work), tuple(pieces), stream))
    return work


def publish_part(
    task: PublishTask,
    transform: Transform,
    schema: pa.Schema,
    source: Source | None,
    folder: str,
) -> Written:
    """Write one file; `source` is the pool where its features are to be in it."""
    return write_tables(
        folder, f"part-{task.number:06d}", schema, _tables(task, transform, schema, source)
    )


def _tables(
    task: PublishTask, transform: Transform, schema: pa.Schema, source: Source | None
) -> Iterator[pa.Table]:
    if task.more is not None:
        yield from_stream(task.more).cast(schema)
    for part, paths in task.pieces:
        narrow = pa.concat_tables([read_narrow(path) for path in paths])
        rows = narrow if source is None else with_features(part, narrow, source)
        yield transform(rows).cast(schema)
