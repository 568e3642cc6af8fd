from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.spark.direct.source import BATCH_BYTES
from spark_pseudolabel.spark.frame.scoring import BATCH_ROWS, batches_within


def sizes(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"n": [batch.num_rows]})


@pytest.mark.parametrize("before", [None, "10000", "7", "0"])
def test_wide_rows_come_in_small_batches_and_the_setting_is_given_back(
    spark: SparkSession, before: str | None
) -> None:
    at_once = BATCH_BYTES // (8 * 4_096)
    rows = spark.range(0, 3 * at_once, numPartitions=1)
    own = spark.conf.get(BATCH_ROWS, None)
    give(spark, before)
    try:
        with batches_within(spark, cells=4_096):
            most = max(row.n for row in rows.mapInArrow(sizes, "n long").collect())
        assert most == (7 if before == "7" else at_once)
        assert spark.conf.get(BATCH_ROWS, None) == before
    finally:
        give(spark, own)


def give(spark: SparkSession, limit: str | None) -> None:
    if limit is None:
        spark.conf.unset(BATCH_ROWS)
    else:
        spark.conf.set(BATCH_ROWS, limit)
