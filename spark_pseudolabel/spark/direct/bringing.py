"""Bringing rows from workers to the driver, past the JVM, whose memory is not for rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

import pyarrow as pa
from pyspark.sql import SparkSession

from spark_pseudolabel.spark.direct.tasks import from_stream, to_stream
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.spark.tasking import run_tasks
from spark_pseudolabel.store.arrow_files import ArrowFiles

T = TypeVar("T")

_INLINE_BYTES = 32 * 2**20
"""Of the answers of all tasks that may pass through the JVM: a file costs more than few rows."""

_MAX_TASKS = 1_000
_READERS = 8


@dataclass(frozen=True)
class _Left:
    """Rows that a task has left in a file of this name."""

    name: str


def bring(
    spark: SparkSession,
    read: Callable[[T], Iterable[pa.Table]],
    work: Sequence[T],
    scratch: Scratch,
) -> list[pa.Table]:
    """Read rows on workers; return them, those of a piece of work together and in order.

    Parameters
    ----------
    spark
        The session.
    read
        Yields tables of one schema for a piece of work; one of them is in memory at a time.
    work
        The pieces; a thousand tasks share them at most.
    scratch
        Where tasks leave rows that are more than some kilobytes.
    """
    at_once = -(-len(work) // _MAX_TASKS) or 1
    chunks = [work[start : start + at_once] for start in range(0, len(work), at_once)]
    inline = _INLINE_BYTES // max(1, len(chunks))
    folder = scratch.path

    def answer(chunk: Sequence[T]) -> bytes | _Left:
        return _streamed((rows for piece in chunk for rows in read(piece)), inline, folder)

    with scratch.cleared(), ThreadPoolExecutor(_READERS) as threads:
        answers = [part_answer for part_answer in run_tasks(spark, answer, chunks) if part_answer]
        return list(threads.map(lambda part_answer: _table(part_answer, scratch), answers))


def _table(answer: bytes | _Left, scratch: Scratch) -> pa.Table:
    return scratch.read(answer.name) if isinstance(answer, _Left) else from_stream(answer)


def _streamed(tables: Iterable[pa.Table], inline: int, folder: str) -> bytes | _Left:
    """Return tables as a stream if it is small; else write it, and return its name."""
    first: list[pa.Table] = []
    size = 0
    rest = iter(tables)
    for rows in rest:
        first.append(rows)
        size += rows.nbytes
        if size > inline:
            return _written(first, rest, folder)
    return to_stream(pa.concat_tables(first)) if first else b""


def _written(first: list[pa.Table], rest: Iterator[pa.Table], folder: str) -> _Left:
    name = f"{uuid4().hex}.arrow"
    with (
        ArrowFiles.for_uri(folder).open_output(f"{folder}/{name}") as file,
        pa.ipc.new_stream(file, first[0].schema) as writer,
    ):
        while first:
            writer.write_table(first.pop(0))
        for rows in rest:
            writer.write_table(rows)
    return _Left(name)
