"""One look at all rows of a pool: the same answer from both backends, however rows are dealt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.core.parts import parts_of, pieces_of
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.direct.survey import read_footers, row_groups
from spark_pseudolabel.spark.direct.tasks import look_at_piece
from spark_pseudolabel.spark.frame.scoring import gathered
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.tasking import merge_tasks

N = 2_430
Seen = tuple[int, int, int]
"""Rows, the sum of their numbers, and how many answers were put together."""


def look(batches: Iterable[pa.RecordBatch]) -> Seen:
    numbers = [batch.column("x").to_numpy(zero_copy_only=False) for batch in batches]
    return sum(map(len, numbers)), sum(int(of_batch.sum()) for of_batch in numbers), 1


def together(seen: Sequence[Seen]) -> Seen:
    rows, total, answers = np.sum(seen, axis=0).tolist()
    return rows, total, answers


def by_workers(spark: SparkSession, folder: Path) -> Seen | None:
    files, root = files_for(spark, str(folder))
    footers, _ = read_footers(spark, files, root, files.list(root))
    parts = parts_of([group for footer in footers for group in row_groups(footer)], max_rows=30)
    look_at = partial(look_at_piece, source=PartSource(root, ("x",)), look=look)
    return merge_tasks(spark, look_at, pieces_of(parts, 1), together)


def by_spark(spark: SparkSession, folder: Path) -> Seen | None:
    rows = spark.read.parquet(str(folder)).repartition(81, "x")  # some of them are empty
    return gathered(rows, look, together)


@pytest.mark.parametrize("gather", [by_workers, by_spark])
def test_all_rows_are_looked_at_once_and_answers_merged_on_workers(
    spark: SparkSession, tmp_path: Path, gather: Callable[..., Seen | None]
) -> None:
    x = np.arange(N) % 70
    pq.write_table(pa.table({"x": x}), tmp_path / "0.parquet", row_group_size=30)
    seen = gather(spark, tmp_path)
    assert seen is not None
    assert seen[:2] == (N, x.sum())
    assert (seen[2] == 81) == (gather is by_workers)
    assert seen[2] <= 81


@pytest.mark.parametrize("gather", [by_workers, by_spark])
def test_nothing_is_seen_of_no_row(
    spark: SparkSession, tmp_path: Path, gather: Callable[..., Seen | None]
) -> None:
    pq.write_table(pa.table({"x": np.arange(0)}), tmp_path / "0.parquet")
    assert gather(spark, tmp_path) is None
