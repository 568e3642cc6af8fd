"""Scoring the pool: one map-only pass that turns wide rows into narrow ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark import Broadcast, SparkContext
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_pseudolabel.columns import CLASS_SCORES, CODE, INVALID, SCORE
from spark_pseudolabel.core.kernel import Scorer, score_batches


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
        One row per input row: the scorer's keys, ``spl_code``, ``spl_confidence``,
        ``spl_reason`` and, if the scorer gives them, ``spl_probabilities``.
    """
    value = scorer.value
    columns = [*value.keys, *[feature.name for feature in value.features]]
    return rows.select(*dict.fromkeys(columns)).mapInArrow(
        _scoring_function(scorer), schema=scored_schema(rows, value)
    )


def scored_schema(rows: DataFrame, scorer: Scorer) -> T.StructType:
    """Return the schema of scored rows."""
    # Arrow's fields are nullable, also where Spark knows that a file's name never is.
    fields = [T.StructField(key, rows.schema[key].dataType) for key in scorer.keys]
    fields += [
        T.StructField(CODE, T.IntegerType()),
        T.StructField(SCORE, T.DoubleType()),
        T.StructField(INVALID, T.StringType()),
    ]
    if scorer.probabilities:
        fields.append(T.StructField(CLASS_SCORES, T.ArrayType(T.DoubleType())))
    return T.StructType(fields)


def _scoring_function(scorer: Broadcast[Scorer]):  # type: ignore[no-untyped-def]
    # A function of its own, so that nothing but the broadcast's handle is sent with each task.
    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return score_batches(batches, scorer.value, threads=_task_cores())

    return score


def _task_cores() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.cpus() if context is not None else 1
