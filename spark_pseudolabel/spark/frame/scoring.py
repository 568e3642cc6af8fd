"""Scoring the pool: one map-only pass that turns wide rows into narrow ones."""

from __future__ import annotations

import contextlib
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import pyarrow as pa
from pyspark import Broadcast, SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema

from spark_pseudolabel.columns import (
    PACKED,
    UNREADABLE,
)
from spark_pseudolabel.core.features import Feature, Pack
from spark_pseudolabel.core.kernel import Scorer, Seen, score_batches
from spark_pseudolabel.core.scored_rows import scored_fields
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.spark.direct.source import BATCH_BYTES
from spark_pseudolabel.spark.reading.names import column, map_in_arrow
from spark_pseudolabel.spark.startup import jvm
from spark_pseudolabel.spark.startup.freezing import freeze_imported

BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"

_ANSWERS_ON_DRIVER = 8

# What Spark and Arrow turn into the same double.
_PLAIN = (T.DoubleType, T.FloatType, T.ByteType, T.ShortType, T.IntegerType, T.LongType)


@contextlib.contextmanager
def broadcast(context: SparkContext, scorer: Scorer) -> Iterator[Broadcast[Scorer]]:
    """Send a scorer to the executors for as long as the block lasts.

    Destroyed, not unpersisted: only that removes the driver's copy on disk, of which a run would
    otherwise collect one per round.
    """
    shared = context.broadcast(scorer)
    try:
        yield shared
    finally:
        shared.destroy()


def cells_of(features: Sequence[Feature]) -> int:
    """Return how many numbers and texts a row of these features has."""
    return sum(feature.width for feature in features)


@contextlib.contextmanager
def batches_within(spark: SparkSession, cells: int) -> Iterator[None]:
    """Let Spark hand rows of so many cells to workers in batches of bounded size.

    The session's limit is in rows, 10,000 unless it is set: of 4,096 numbers that is 330 MB, in the
    JVM and in the worker. It is given back at the end of the block.
    """
    limit = spark.conf.get(BATCH_ROWS)
    most = max(1, BATCH_BYTES // (8 * max(1, cells)))
    # Zero and less is Spark's word for no limit.
    rows = min(int(limit), most) if limit and int(limit) > 0 else most
    with batches_of(spark, rows):
        yield


@contextlib.contextmanager
def batches_of(spark: SparkSession, rows: int) -> Iterator[None]:
    """Let Spark hand so many rows at a time to workers, for as long as the block lasts."""
    before = spark.conf.get(BATCH_ROWS, None)
    spark.conf.set(BATCH_ROWS, str(rows))
    try:
        yield
    finally:
        with contextlib.suppress(*jvm.GONE):
            if before is None:
                spark.conf.unset(BATCH_ROWS)
            else:
                spark.conf.set(BATCH_ROWS, before)


def score_rows(rows: DataFrame, scorer: Broadcast[Scorer]) -> DataFrame:
    """Score every row of a DataFrame.

    Parameters
    ----------
    rows
        Holds the scorer's keys and features.
    scorer
        The model.

    Returns
    -------
    DataFrame
        One row per input row: the scorer's keys, and what
        :func:`~spark_pseudolabel.core.kernel.score_batch` makes.
    """
    value = scorer.value
    pack = _pack(rows, value.features)
    names = {*value.keys, *[feature.name for feature in value.features], UNREADABLE}
    if pack is not None:
        names -= {*pack.names} - {*value.keys}
    columns = [column(name) for name in rows.columns if name in names]
    if pack is not None:
        numbers = [column(name).cast("double") for name in pack.names]
        columns.append(F.array(*numbers).alias(pack.name))
    schema = scored_schema(rows, value)
    return map_in_arrow(rows.select(*columns), _scoring_function(scorer, pack), schema)


def _pack(rows: DataFrame, features: Sequence[Feature]) -> Pack | None:
    """Let numbers travel as one array where they are all plain numbers.

    Spark writes each value of each column of an Arrow batch by a call of its own, and after every
    row asks all columns for their size.
    """
    numeric = [feature for feature in features if feature.numeric]
    plain = all(isinstance(rows.schema[feature.name].dataType, _PLAIN) for feature in numeric)
    return Pack.of(numeric, PACKED) if plain and len(numeric) > 1 else None


def scored_schema(rows: DataFrame, scorer: Scorer) -> T.StructType:
    """Return the schema of scored rows."""
    # Arrow's fields are nullable, also where Spark knows that a file's name never is.
    fields = [T.StructField(key, rows.schema[key].dataType) for key in scorer.keys]
    scored = from_arrow_schema(pa.schema(scored_fields(scorer.carried)))
    return T.StructType([*fields, *scored.fields])


def _scoring_function(scorer: Broadcast[Scorer], pack: Pack | None):  # type: ignore[no-untyped-def]
    # A function of its own, so that nothing but the broadcast's handle is sent with each task.
    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        value = scorer.value
        if pack is not None:
            strings = [feature for feature in value.features if not feature.numeric]
            value = replace(value, features=(pack, *strings))
        yield from score_batches(batches, value, threads=_task_cores())
        freeze_imported()

    return score


def gathered(
    rows: DataFrame,
    look: Callable[[Iterable[pa.RecordBatch]], Seen],
    together: Callable[[Sequence[Seen]], Seen],
) -> Seen | None:
    """Look at all rows in workers; see :meth:`spark_pseudolabel.spark.pool.Pool.gather`."""

    def give(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # Tasks without a row have seen nothing.
        filled = (batch for batch in batches if batch.num_rows)
        first = next(filled, None)
        if first is not None:
            with hold_threads(_task_cores()):
                yield _bytes(pickle.dumps(look(chain([first], filled))))
        freeze_imported()

    def take(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        seen = [_seen(value) for batch in batches for value in batch[0].to_pylist()]
        if seen:
            yield _bytes(pickle.dumps(together(seen)))

    answers = map_in_arrow(rows, give, "seen binary")
    # As many for each merger as there are mergers for the driver.
    n_mergers = math.isqrt(rows.rdd.getNumPartitions())
    if n_mergers > _ANSWERS_ON_DRIVER:
        answers = map_in_arrow(answers.repartition(n_mergers), take, "seen binary")
    seen = [_seen(bytes(row.seen)) for row in answers.collect()]
    return together(seen) if seen else None


def _seen(value: bytes) -> Any:
    # Of this query's own tasks, by the way that their results take: never from storage.
    return pickle.loads(value)  # noqa: S301


def _bytes(value: bytes) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([value], pa.binary())], ["seen"])


def _task_cores() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.cpus() if context is not None else 1
