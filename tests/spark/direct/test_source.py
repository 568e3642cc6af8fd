"""Parquet as a worker of the direct scan reads it, tried without Spark."""

from __future__ import annotations

import base64
import json
import pickle
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import types as T

from spark_pseudolabel.columns import FILE, ROW_INDEX
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct import source as source_module
from spark_pseudolabel.spark.direct.damage import is_damage
from spark_pseudolabel.spark.direct.source import PartSource, read_part
from spark_pseudolabel.spark.direct.survey import FileSchema, PlainTable, footers_of, merged_answers
from spark_pseudolabel.spark.reading.schema_text import has_unknown_types, parse_schema
from spark_pseudolabel.store.arrow_files import ArrowFiles


def like_spark(rows: pa.Table, schema: T.StructType) -> pa.Table:
    """Add what Spark writes into the footers of its files."""
    described = {"org.apache.spark.sql.parquet.row.metadata": schema.json()}
    return rows.replace_schema_metadata(described)


def opened(root: Path) -> PlainTable:
    """Open a table as runs do, whose files' footers are read by the driver."""
    listed = list(ArrowFiles.for_uri(str(root)).list(str(root)))
    footers, schemas = merged_answers([footers_of(listed, str(root))])
    (described,) = schemas.values()
    assert described.spark_schema is not None
    return PlainTable(str(root), tuple(footers), described.schema, described.spark_schema)


def schemas_of(root: Path) -> dict[str, FileSchema]:
    """Return what the footers of a directory say of its schemas."""
    listed = list(ArrowFiles.for_uri(str(root)).list(str(root)))
    return merged_answers([footers_of(listed, str(root))])[1]


EVIL = "evil_module_of_the_tests"


class Bomb:
    """Tells when it is unpickled."""

    went_off: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, ...]:
        return Bomb.went_off.append, ("unpickled",)


@pytest.mark.parametrize("key", [FILE, ROW_INDEX])
def test_an_id_may_be_called_like_a_row_s_place(tmp_path: Path, key: str) -> None:
    pq.write_table(pa.table({key: [7, 5], "x": [0.1, 0.2]}), tmp_path / "a.parquet")
    plain = opened(tmp_path)
    found = plain.collect(PartSource(plain.root, (key,), ("x",)))
    assert found.to_pydict() == {key: [7, 5], "x": [0.1, 0.2]}


@pytest.mark.parametrize("keys", [("id",), (FILE, ROW_INDEX)])
def test_no_rows_have_the_columns_of_rows(tmp_path: Path, keys: tuple[str, ...]) -> None:
    rows = pa.table({"id": pa.array([1], pa.int32()), "x": [0.5]})
    found = []
    for name, some in (("one", rows), ("none", rows[:0])):
        (tmp_path / name).mkdir()
        pq.write_table(some, tmp_path / name / "a.parquet")
        plain = opened(tmp_path / name)
        found.append(plain.collect(PartSource(plain.root, keys, ("x",))))
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
    found = plain.collect(PartSource(plain.root, ("id",), ("t",)))
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
    source = PartSource(plain.root, ("id",), ("x", "s"))
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
        plain.collect(PartSource(plain.root, ("id",), ("x",)))
    assert told.value.errno == 5


VERSION = b"org.apache.spark.version"
OLD, TODAY, UNTOLD = "old", "today", "untold"


@pytest.mark.parametrize(
    ("footer", "calendar"),
    [
        ({b"org.apache.spark.legacyDateTime": b"", VERSION: b"3.5.1"}, OLD),
        ({b"org.apache.spark.legacyINT96": b"", VERSION: b"4.3.0"}, OLD),
        ({VERSION: b"2.4.8"}, OLD),
        ({VERSION: b"3.0.3"}, OLD),
        ({VERSION: b"3.0.0-SNAPSHOT"}, OLD),
        ({VERSION: b"of somebody"}, OLD),
        ({VERSION: b"3.1.0"}, TODAY),
        ({VERSION: b"10.0.0"}, TODAY),
        ({}, UNTOLD),
    ],
)
def test_the_calendar_of_dates_is_what_spark_takes_it_for(
    tmp_path: Path, footer: dict[bytes, bytes], calendar: str
) -> None:
    rows = pa.table({"id": [1], "t": pa.array([datetime(1500, 1, 1)], pa.timestamp("us"))})
    pq.write_table(rows.replace_schema_metadata(footer), tmp_path / "a.parquet")
    (described,) = schemas_of(tmp_path).values()
    assert described.calendar == calendar


def test_dates_of_the_old_calendar_are_left_to_spark_and_other_columns_are_not(
    tmp_path: Path,
) -> None:
    rows = pa.table({"id": [1], "x": [0.5], "d": pa.array([0], pa.date32())})
    pq.write_table(rows.replace_schema_metadata({VERSION: b"2.4.0"}), tmp_path / "a.parquet")
    plain = replace(opened(tmp_path), as_dated=False)
    assert plain.readable(["id", "x"])
    assert not plain.readable(["x", "d"])
    assert opened(tmp_path).readable(["x", "d"])


PICKLE = base64.b64encode(pickle.dumps(Bomb())).decode()


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "udt", "class": None, "pyClass": f"{EVIL}.A", "sqlType": "long"},
        {"type": "udt", "pyClass": "os.A", "sqlType": "long", "serializedClass": PICKLE},
        {"type": "udt", "class": "org.apache.spark.ml.linalg.VectorUDT", "pyClass": f"{EVIL}.A"},
        {"type": "array", "elementType": {"type": "udt", "pyClass": f"{EVIL}.A"}},
        {"type": "map", "keyType": "long", "valueType": {"type": "udt", "pyClass": f"{EVIL}.A"}},
        {"type": "struct", "fields": [{"name": "y", "type": {"type": "udt", "pyClass": EVIL}}]},
        {"type": EVIL},
        EVIL,
        ["long"],
        None,
    ],
)
def test_nothing_that_a_footer_names_is_imported_or_unpickled(tmp_path: Path, kind: object) -> None:
    described = {"type": "struct", "fields": [{"name": "x", "type": kind}]}
    text = {"org.apache.spark.sql.parquet.row.metadata": json.dumps(described)}
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(text), tmp_path / "a.parquet")
    before = set(sys.modules)
    (found,) = schemas_of(tmp_path).values()
    # What is no schema at all is as if it were not there.
    is_plain = found.spark_schema["x"].dataType == T.LongType()
    assert is_plain or has_unknown_types(found.spark_schema)
    assert EVIL not in sys.modules
    assert set(sys.modules) == before
    assert not Bomb.went_off


def test_a_vector_is_the_only_user_defined_type_that_is_known(tmp_path: Path) -> None:
    schema = T.StructType([T.StructField("v", VectorUDT()), T.StructField("n", T.LongType())])
    parsed = parse_schema(schema.json())
    assert parsed == schema


@pytest.mark.parametrize("kind", ["columns", "a vector"])
def test_batches_of_wide_rows_hold_few_of_them(tmp_path: Path, kind: str) -> None:
    n, width = 300, 4_096
    if kind == "columns":
        features = {f"f{i}": pa.array(np.zeros(n, np.float32)) for i in range(width)}
    else:  # all alike, which a file stores in some bytes
        features = {"f0": pa.array(list(np.zeros((n, width))), pa.list_(pa.float64()))}
    pq.write_table(
        pa.table({"id": range(n), **features}), tmp_path / "a.parquet", row_group_size=200
    )
    table = opened(tmp_path)
    read = PartSource(table.root, ("id",), tuple(features))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_module, "BATCH_BYTES", 2**21)
        (part,) = table.parts
        batches = list(read_part(read, part))
    assert max(len(rows.positions) for rows in batches) <= 2 * 2**21 // (8 * width)
    assert np.concatenate([rows.positions for rows in batches]).tolist() == list(range(n))
