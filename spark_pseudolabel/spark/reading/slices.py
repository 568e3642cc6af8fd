"""Collecting a DataFrame a few megabytes at a time: the JVM that passes them on has little memory.

``toArrow`` holds all rows in the driver's JVM before the first of them reaches Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark import RDD
from pyspark.sql import DataFrame

from spark_pseudolabel.spark.reading.names import map_in_arrow

_SLICE_BYTES = 32 * 2**20
"""Of what comes to the driver at once, as far as partitions allow."""

_CHUNK_BYTES = 4 * 2**20
_PARTITIONS = 64


def collect_arrow(rows: DataFrame) -> pa.Table:
    """Collect rows to the driver; an action.

    Workers pack them into chunks, which Spark spreads over partitions; of these the driver fetches
    as many at a time as one slice holds, told from those that it has seen.

    Parameters
    ----------
    rows
        Of types that Arrow takes.
    """
    packed = Unmapped.of(map_in_arrow(rows, _pack, "rows binary").repartition(_PARTITIONS).rdd)
    context = packed.context
    chunks: list[bytes] = []
    start, at_once = 0, 1
    while start < _PARTITIONS:
        partitions = range(start, min(_PARTITIONS, start + at_once))
        chunks += [bytes(row[0]) for row in context.runJob(packed, iter, partitions)]
        start = partitions.stop
        mean = sum(map(len, chunks)) / start
        at_once = max(1, min(_PARTITIONS, int(_SLICE_BYTES / max(mean, 1))))
    if not chunks:
        return rows.limit(0).toArrow()
    return pa.concat_tables([pa.ipc.open_stream(chunk).read_all() for chunk in chunks])


def _pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        n = max(1, int(batch.num_rows * _CHUNK_BYTES / max(batch.nbytes, 1)))
        for start in range(0, batch.num_rows, n):
            some = batch.slice(start, n)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(some)
            yield pa.RecordBatch.from_pydict({"rows": [sink.getvalue().to_pybytes()]})


class Unmapped(RDD[Any]):
    """Partitions that the driver fetches as they are.

    ``SparkContext.runJob`` maps them by a Python function; with 64 partitions of a small table,
    nearly all of them empty, handing each to a worker and back is most of what collecting takes.
    """

    @classmethod
    def of(cls, rdd: RDD[Any]) -> Unmapped:
        return cls(rdd._jrdd, rdd.ctx, rdd._jrdd_deserializer)

    def mapPartitions(self, f: Any, preservesPartitioning: bool = False) -> Any:  # noqa: N802, N803
        return self
