"""Parquet as a worker of the direct scan reads it, tried without Spark."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import types as T

from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.spark.direct.source import Source
from spark_pseudolabel.spark.direct.survey import PlainTable, _merged, footers_of
from spark_pseudolabel.store.arrow_files import ArrowFiles


def like_spark(rows: pa.Table, schema: T.StructType) -> pa.Table:
    """Add what Spark writes into the footers of its files."""
    described = {"org.apache.spark.sql.parquet.row.metadata": schema.json()}
    return rows.replace_schema_metadata(described)


def opened(root: Path) -> PlainTable:
    """Open a table as runs do, whose files' footers are read by the driver."""
    listed = list(ArrowFiles.for_uri(str(root)).list(str(root)))
    footers, schemas = _merged([footers_of(listed, str(root))])
    ((schema, spark_schema),) = schemas.values()
    assert spark_schema is not None
    return PlainTable(str(root), tuple(footers), schema, spark_schema)


def test_old_timestamps_are_read_as_what_they_are(tmp_path: Path) -> None:
    moments = [datetime(1, 1, 1), datetime(1969, 12, 31), datetime(9999, 12, 31), None]
    rows = pa.table({"id": [0, 1, 2, 3], "t": pa.array(moments, pa.timestamp("us"))})
    schema = T.StructType(
        [T.StructField("id", T.LongType()), T.StructField("t", T.TimestampType())]
    )
    pq.write_table(
        like_spark(rows, schema), tmp_path / "a.parquet", use_deprecated_int96_timestamps=True
    )
    plain = opened(tmp_path)
    assert plain.readable(["t"])
    found = plain.collect(Source(plain.root, ("id",), ("t",)))
    assert found.schema == plain.schema
    seconds = to_frame(found, [Feature("t", "timestamp", "timestamp")])["t"]
    truth = [(moment - datetime(1970, 1, 1)) / timedelta(seconds=1) for moment in moments[:3]]
    assert seconds[:3].tolist() == truth
    assert seconds.isna().tolist() == [False, False, False, True]
