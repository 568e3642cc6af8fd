"""Scoring a table with true labels, which may be larger than the driver's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import CLASS_SCORES, CODE, HIGHEST, LOWEST, SCORE, VALUE
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import Scorer
from spark_pseudolabel.core.number_scores import SAID
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.parts import Part
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.core.trust.metrics import LOG_LOSS_FLOOR, Metrics, metrics_of_table
from spark_pseudolabel.core.trust.number_metrics import NumberSums
from spark_pseudolabel.spark.direct.survey import PlainTable
from spark_pseudolabel.spark.direct.tasks import (
    confusion_of_part,
    confusion_together,
    sums_of_part,
    true_codes,
    true_numbers,
)
from spark_pseudolabel.spark.frame.scoring import (
    batches_within,
    broadcast,
    cells_of,
    gathered,
    score_rows,
)
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.schema import select_features
from spark_pseudolabel.spark.reading.tables import Table, to_arrow
from spark_pseudolabel.spark.tasking import merge_tasks
from spark_pseudolabel.store.arrow_files import reached_otherwise

TRUE_LABEL = "spl_true_label"
_TRUE_CODE = "spl_true_code"
_TRUE_VALUE = "spl_true_value"
_MAX_ROWS_ON_DRIVER = 2_000_000


class HeldOutRows(Protocol):
    """Rows with true labels, for the report only."""

    @property
    def rows(self) -> DataFrame:
        """Keys, features and ``spl_true_label``."""
        ...

    def count(self) -> int:
        """Count the rows."""
        ...

    def overlap(self, known: pa.Table) -> pa.Table:
        """Return the keys that are also among the known ones."""
        ...

    def evaluate(self, scorer: Scorer, classes: Sequence[Label]) -> Metrics:
        """Compute a model's metrics.

        Parameters
        ----------
        scorer
            Gives probabilities and keeps no key.
        classes
            Labels by class index; a true label that is not among them is always wrong.
        """
        ...

    def evaluate_numbers(self, scorer: Scorer, task: NumberTask) -> Metrics:
        """Compute the metrics of a model of numbers; see :meth:`evaluate`."""
        ...

    def truth(self, classes: Sequence[Label]) -> pa.Table | None:
        """Return keys and ``spl_code``, -1 for unknown labels; None if that is too much to hold."""
        ...

    def true_numbers(self) -> pa.Table | None:
        """Return keys and ``spl_value``; None if that is too much to hold."""
        ...


def open_test(
    spark: SparkSession,
    table: Table,
    label: str,
    keys: Sequence[str],
    features: Sequence[Feature],
    *,
    direct: bool,
) -> HeldOutRows:
    """Open a table with true labels; `direct` tells whether workers open files by themselves."""
    test = FrameTest(spark, table, tuple(keys), tuple(features), label)
    plain = table.plain
    if plain is None or not direct or not plain.readable([*(f.name for f in features), label]):
        return test
    return ScannedTest(**vars(test), plain=plain)


@dataclass(frozen=True)
class FrameTest:
    """Test rows that only Spark can read."""

    spark: SparkSession
    table: Table
    keys: tuple[str, ...]
    features: tuple[Feature, ...]
    label: str

    @cached_property
    def rows(self) -> DataFrame:
        """Keys, features and ``spl_true_label``."""
        rows, label = self.table.rows, column(self.label).alias(TRUE_LABEL)
        return rows.select(*columns(self.keys), *select_features(rows, self.features), label)

    @reading("test")
    def count(self) -> int:
        """Count the rows; an action."""
        return self.rows.count()

    @reading("test")
    def overlap(self, known: pa.Table) -> pa.Table:
        """Return the keys that are also among the known ones; an action."""
        keys = list(self.keys)
        schema = T.StructType([self.table.schema[key] for key in keys])
        others = self.spark.createDataFrame(known.to_pandas(), schema=schema)
        shared = self.rows.select(*columns(keys)).join(
            F.broadcast(others), on=keys, how="left_semi"
        )
        return to_arrow(shared)

    @reading("test")
    def evaluate(self, scorer: Scorer, classes: Sequence[Label]) -> Metrics:
        """Compute a model's metrics; an action, of which counts come back."""
        keyed, cells = replace(scorer, keys=(TRUE_LABEL,)), cells_of(self.features)
        with batches_within(self.spark, cells), broadcast(self.spark.sparkContext, keyed) as shared:
            scored = score_rows(self.rows, shared)
            return _metrics(scored.withColumn(_TRUE_CODE, code_of(classes)), len(classes))

    @reading("test")
    def evaluate_numbers(self, scorer: Scorer, task: NumberTask) -> Metrics:
        """Compute the metrics of a model of numbers; an action, of which sums come back."""
        keyed, cells = replace(scorer, keys=(TRUE_LABEL,)), cells_of(self.features)
        rows = self.rows.withColumn(TRUE_LABEL, F.col(TRUE_LABEL).cast("double"))
        with batches_within(self.spark, cells), broadcast(self.spark.sparkContext, keyed) as shared:
            sums = gathered(score_rows(rows, shared), _sums_function(task), NumberSums.together)
        return (sums or _no_sums(task)).metrics()

    def truth(self, classes: Sequence[Label]) -> pa.Table | None:
        """Return nothing: how many rows there are is not known before they are read."""
        return None

    def true_numbers(self) -> pa.Table | None:
        """Return nothing, as :meth:`truth`."""
        return None


@dataclass(frozen=True)
class ScannedTest(FrameTest):
    """Test rows that workers read by themselves, as they do the pool."""

    plain: PlainTable

    def count(self) -> int:
        """Count the rows by the files' footers."""
        return self.plain.rows

    def overlap(self, known: pa.Table) -> pa.Table:
        """Return the keys that are also among the known ones."""
        with reached_otherwise():
            if not self._is_large:
                rows = self.plain.collect(self.plain.source(self.keys))
                values = known.column(self.keys[0]).combine_chunks()
                return rows.filter(pc.is_in(rows.column(self.keys[0]), value_set=values))
        return super().overlap(known)

    def evaluate(self, scorer: Scorer, classes: Sequence[Label]) -> Metrics:
        """Compute a model's metrics; a job, of which counts come back."""
        source = self.plain.source((), [*(f.name for f in self.features), self.label])
        label = self.label
        with broadcast(self.spark.sparkContext, scorer) as shared:

            def confusion(part: Part) -> tuple[NDArray[np.int64], float]:
                return confusion_of_part(part, source, shared.value, label, classes)

            table = merge_tasks(self.spark, confusion, self.plain.parts, confusion_together)
        if table is None:
            table = np.zeros((len(classes) + 1, len(classes) + 1), dtype=np.int64), 0.0
        return metrics_of_table(*table)

    def truth(self, classes: Sequence[Label]) -> pa.Table | None:
        """Return keys and ``spl_code``; None if they are too many to hold, or out of reach."""
        with reached_otherwise():
            if not self._is_large:
                rows = self.plain.collect(self.plain.source(self.keys, [self.label]))
                codes = true_codes(rows.column(self.label), classes)
                return rows.select(list(self.keys)).append_column(CODE, pa.array(codes))
        return None

    def evaluate_numbers(self, scorer: Scorer, task: NumberTask) -> Metrics:
        """Compute the metrics of a model of numbers; a job, of which sums come back."""
        source = self.plain.source((), [*(f.name for f in self.features), self.label])
        label = self.label
        with broadcast(self.spark.sparkContext, scorer) as shared:

            def sums_of(part: Part) -> NumberSums:
                return sums_of_part(part, source, shared.value, label, task)

            sums = merge_tasks(self.spark, sums_of, self.plain.parts, NumberSums.together)
        return (sums or _no_sums(task)).metrics()

    def true_numbers(self) -> pa.Table | None:
        """Return keys and ``spl_value``; None if they are too many to hold, or out of reach."""
        with reached_otherwise():
            if not self._is_large:
                rows = self.plain.collect(self.plain.source(self.keys, [self.label]))
                values = true_numbers(rows.column(self.label))
                return rows.select(list(self.keys)).append_column(VALUE, pa.array(values))
        return None

    @property
    def _is_large(self) -> bool:
        return self.plain.rows > _MAX_ROWS_ON_DRIVER


def _no_sums(task: NumberTask) -> NumberSums:
    return NumberSums.of(np.zeros(0), np.zeros((0, SAID)), task)


def _sums_function(task: NumberTask) -> Callable[[Iterable[pa.RecordBatch]], NumberSums]:
    """Return what sums over scored rows that have their true number beside them."""

    def sums_of(batches: Iterable[pa.RecordBatch]) -> NumberSums:
        sums = []
        for batch in batches:
            y, *said = (
                batch.column(name).fill_null(np.nan).to_numpy(zero_copy_only=False)
                for name in (TRUE_LABEL, VALUE, SCORE, LOWEST, HIGHEST)
            )
            sums.append(NumberSums.of(y, np.column_stack(said), task))
        return NumberSums.together(sums)

    return sums_of


@reading("test")
def numbers_against_truth(
    accepted: DataFrame, test: HeldOutRows, keys: Sequence[str], task: NumberTask
) -> dict[str, int]:
    """Count accepted numbers whose true one is known, and those within the tolerance; an action.

    Parameters
    ----------
    accepted
        Keys and ``spl_value``.
    test
        Rows with true numbers.
    task
        What is asked of them.
    """
    known = test.rows.select(*columns(keys), F.col(TRUE_LABEL).cast("double").alias(_TRUE_VALUE))
    both = accepted.select(*columns(keys), VALUE).join(known, on=list(keys), how="inner")

    def right(batches: Iterable[pa.RecordBatch]) -> tuple[int, int]:
        n = correct = 0
        for batch in batches:
            y, value = (
                batch.column(name).fill_null(np.nan).to_numpy(zero_copy_only=False)
                for name in (_TRUE_VALUE, VALUE)
            )
            n, correct = n + len(y), correct + int(task.is_right(y, value).sum())
        return n, correct

    counted = gathered(both.select(_TRUE_VALUE, VALUE), right, _added)
    n, correct = counted or (0, 0)
    return {"n": n, "correct": correct}


def _added(counts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(n for n, _ in counts), sum(correct for _, correct in counts)


@reading("test")
def labels_against_truth(
    accepted: DataFrame, test: HeldOutRows, keys: Sequence[str], classes: Sequence[Label]
) -> dict[str, int]:
    """Count accepted labels whose true label is known, and those that are right; an action.

    Parameters
    ----------
    accepted
        Keys and ``spl_code``.
    test
        Rows with true labels.
    """
    known = test.rows.select(*columns(keys), code_of(classes).alias(_TRUE_CODE))
    right = F.col(CODE) == F.col(_TRUE_CODE)
    row = (
        accepted.select(*columns(keys), CODE)
        .join(known, on=list(keys), how="inner")
        .agg(F.count(F.lit(1)).alias("n"), F.count(F.when(right, 1)).alias("correct"))
        .collect()[0]
    )
    return {"n": int(row["n"]), "correct": int(row["correct"])}


def code_of(classes: Sequence[Label], column: str = TRUE_LABEL) -> Column:
    """Return a label's class index, ``len(classes)`` for a label that is not among them."""
    position = F.array_position(F.array(*[F.lit(label) for label in classes]), F.col(column))
    return F.coalesce(F.nullif(position, F.lit(0)) - 1, F.lit(len(classes))).cast("int")


def label_of(classes: Sequence[Label], label_type: str, code: Column | None = None) -> Column:
    """Return the label of a class index (``spl_code``), in the type of the labeled column."""
    code = F.col(CODE) if code is None else code
    # Not element_at: for a null index and a constant array Spark 4.3 returns the last element.
    labels = F.array(*[F.lit(label) for label in classes])
    return F.get(labels, code).cast(label_type)


def _metrics(scored: DataFrame, unknown: int) -> Metrics:
    p_true = F.coalesce(F.get(F.col(CLASS_SCORES), F.col(_TRUE_CODE)), F.lit(0.0))
    loss = -F.log(F.greatest(p_true, F.lit(LOG_LOSS_FLOOR)))
    predicted = F.coalesce(F.col(CODE), F.lit(unknown))
    counted = scored.groupBy(_TRUE_CODE, predicted.alias(CODE)).agg(
        F.count(F.lit(1)).alias("n"), F.sum(loss).alias("loss")
    )
    table = np.zeros((unknown + 1, unknown + 1), dtype=np.int64)
    total_loss = 0.0
    for row in counted.orderBy(_TRUE_CODE, CODE).collect():
        table[row[_TRUE_CODE], row[CODE]] = row["n"]
        total_loss += row["loss"]
    return metrics_of_table(table, total_loss)
