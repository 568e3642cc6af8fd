"""Parquet as a worker of the direct scan reads it, tried without Spark."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import types as T

from spark_pseudolabel.columns import FILE, ROW_INDEX
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct import source as source_module
from spark_pseudolabel.spark.direct.damage import is_damage
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


@pytest.mark.parametrize("key", [FILE, ROW_INDEX])
def test_an_id_may_be_called_like_a_row_s_place(tmp_path: Path, key: str) -> None:
    pq.write_table(pa.table({key: [7, 5], "x": [0.1, 0.2]}), tmp_path / "a.parquet")
    plain = opened(tmp_path)
    found = plain.collect(Source(plain.root, (key,), ("x",)))
    assert found.to_pydict() == {key: [7, 5], "x": [0.1, 0.2]}


@pytest.mark.parametrize("keys", [("id",), (FILE, ROW_INDEX)])
def test_no_rows_have_the_columns_of_rows(tmp_path: Path, keys: tuple[str, ...]) -> None:
    rows = pa.table({"id": pa.array([1], pa.int32()), "x": [0.5]})
    found = []
    for name, some in (("one", rows), ("none", rows[:0])):
        (tmp_path / name).mkdir()
        pq.write_table(some, tmp_path / name / "a.parquet")
        plain = opened(tmp_path / name)
        found.append(plain.collect(Source(plain.root, keys, ("x",))))
    assert [table.num_rows for table in found] == [1, 0]
    assert found[0].schema == found[1].schema


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


CODECS = ("none", "snappy", "gzip", "zstd", "lz4", "brotli")


@pytest.mark.parametrize("codec", CODECS)
def test_damage_that_shows_is_told_with_the_file_s_name(tmp_path: Path, codec: str) -> None:
    """A flipped byte that gives other values can't be seen; all others are damage, by name."""
    n = 300
    x, words = np.random.default_rng(0).normal(size=n), [f"word {i % 37}" for i in range(n)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": range(n), "x": x, "s": words}), path, compression=codec)
    plain, data = opened(tmp_path), path.read_bytes()
    source = Source(plain.root, ("id",), ("x", "s"))
    end = len(data) - pq.read_metadata(path).serialized_size - 8
    told: list[InputError] = []
    for place in range(4, end, 97):
        flipped = bytearray(data)
        flipped[place : place + 8] = bytes(255 - byte for byte in data[place : place + 8])
        path.write_bytes(flipped)
        try:
            plain.collect(source)
        except InputError as error:
            told.append(error)
    assert {(error.code, error.where) for error in told} == {("damaged_file", str(path))}
    assert all(str(path) in error.message for error in told)
    # On an object store the words alone tell it from what may pass.
    causes = [error.__cause__ for error in told if isinstance(error.__cause__, Exception)]
    assert [cause for cause in causes if not is_damage(cause, "s3://bucket/a.parquet")] == []


def test_what_may_pass_is_left_to_spark_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def open_input(self, path: str) -> None:
            raise OSError(5, "Input/output error")

    pq.write_table(pa.table({"id": [1], "x": [0.5]}), tmp_path / "a.parquet")
    plain = opened(tmp_path)
    monkeypatch.setattr(source_module, "_files", lambda root: Failing())
    with pytest.raises(OSError, match=r"a\.parquet") as told:
        plain.collect(Source(plain.root, ("id",), ("x",)))
    assert told.value.errno == 5


def test_dates_of_the_old_calendar_are_left_to_spark(tmp_path: Path) -> None:
    schema = T.StructType([T.StructField("t", T.TimestampType())])
    rows = like_spark(pa.table({"t": pa.array([datetime(1500, 1, 1)], pa.timestamp("us"))}), schema)
    old = {**rows.schema.metadata, b"org.apache.spark.legacyDateTime": b""}
    pq.write_table(rows.replace_schema_metadata(old), tmp_path / "a.parquet")
    listed = list(ArrowFiles.for_uri(str(tmp_path)).list(str(tmp_path)))
    _, schemas = _merged([footers_of(listed, str(tmp_path))])
    assert [for_spark for _, for_spark in schemas.values()] == [None]
