from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_pseudolabel.spark.reading import slices


@pytest.mark.parametrize("n", [0, 3, 3_000])
def test_rows_come_as_arrow_gives_them_in_no_order(
    spark: SparkSession, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_SLICE_BYTES", 20_000)
    monkeypatch.setattr(slices, "_PARTITIONS", 7)
    schema = "s string, d date, t timestamp, v array<double>, n decimal(9,2), f float"
    first = (None, date(1600, 1, 1), datetime(2020, 5, 1), [1.0, None], Decimal("1.25"), 0.5)
    row = spark.createDataFrame([first], schema)
    rows = spark.range(0, n, numPartitions=3).crossJoin(F.broadcast(row))
    collected, expected = slices.collect_arrow(rows), rows.toArrow()
    assert collected.schema == expected.schema
    assert collected.sort_by("id") == expected.sort_by("id")


def test_a_chunk_holds_few_bytes_however_wide_the_rows() -> None:
    wide = pa.RecordBatch.from_pydict({"v": [[0.5] * 4_096] * 700})
    chunks = [batch.column(0)[0].as_py() for batch in slices._pack([wide])]
    assert max(map(len, chunks)) < 1.1 * slices._CHUNK_BYTES
    tables = [pa.ipc.open_stream(chunk).read_all() for chunk in chunks]
    assert sum(table.num_rows for table in tables) == 700
