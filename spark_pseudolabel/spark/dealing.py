"""Rows to be learned from, dealt to shards that lie on the workers' disks.

A shuffle of Spark's, once for each fit: of the rows that a model learns from, not of the pool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pyspark import RDD, StorageLevel
from pyspark.sql import DataFrame, SparkSession

from spark_pseudolabel.core.teachers.lines import (
    ShardFacts,
    chunks_of,
    joined_streams,
    sorted_lines,
)
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.slices import Unmapped
from spark_pseudolabel.spark.startup import jvm
from spark_pseudolabel.spark.tasking import Refused, without_refusal


@dataclass(frozen=True)
class Dealt:
    """Shards of lines; each is a partition, and comes as Arrow streams of some kilobytes.

    Parameters
    ----------
    spark
        The session.
    shards
        The partitions.
    facts
        What is known of each.
    """

    spark: SparkSession
    shards: RDD[bytes | Refused]
    facts: tuple[ShardFacts, ...]

    def read(self) -> Iterator[Sequence[bytes]]:
        """Yield the streams of each shard, in order; one shard is on the driver at a time."""
        unmapped = Unmapped.of(self.shards)
        for number, facts in enumerate(self.facts):
            if facts.lines:
                yield self.shards.context.runJob(unmapped, iter, [number])

    @property
    def rows(self) -> DataFrame:
        """The streams as a DataFrame of one column, ``lines``, with the same partitions."""
        packed = self.shards.map(lambda stream: (stream,))
        return self.spark.createDataFrame(packed, "lines binary")


@contextlib.contextmanager
def dealt(
    spark: SparkSession,
    of_pool: RDD[tuple[int, bytes | Refused]],
    of_driver: Sequence[tuple[int, bytes]],
    keys: Sequence[str],
    n_shards: int,
    n_classes: int,
) -> Iterator[Dealt]:
    """Bring lines to their shards, in order, for as long as the block lasts.

    Parameters
    ----------
    spark
        The session.
    of_pool
        Numbers of shards and streams of lines: those that workers deal.
    of_driver
        The same of those that the driver has.
    keys
        Columns of the id.
    n_shards, n_classes
        How many there are.

    Raises
    ------
    PseudoLabelError
        What a worker has refused.
    """
    names = tuple(keys)

    def in_order(dealt: Iterable[tuple[int, bytes | Refused]]) -> Iterator[bytes | Refused]:
        streams = [stream for _, stream in dealt]
        refused = [stream for stream in streams if isinstance(stream, Refused)]
        if refused:
            yield refused[0]
        else:
            yield from chunks_of(sorted_lines((s for s in streams if isinstance(s, bytes)), names))

    def facts(streams: Iterable[bytes | Refused]) -> Iterator[ShardFacts | Refused]:
        received = list(streams)
        refused = [stream for stream in received if isinstance(stream, Refused)]
        of_lines = [stream for stream in received if isinstance(stream, bytes)]
        yield refused[0] if refused else ShardFacts.of(joined_streams(of_lines), n_classes)

    given = spark.sparkContext.parallelize(of_driver, max(1, len(of_driver)))
    shards = of_pool.union(given).partitionBy(n_shards, int).mapPartitions(in_order)
    shards.persist(StorageLevel.DISK_ONLY)
    try:
        with reading("unlabeled"):
            found = without_refusal(shards.mapPartitions(facts).collect())
        yield Dealt(spark, shards, tuple(found))
    finally:
        with contextlib.suppress(*jvm.GONE):
            shards.unpersist()
