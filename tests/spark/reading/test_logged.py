"""Tables that keep a log: the rows of one version, whatever has become of the table since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from spark_pseudolabel.config import Config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.logged import LoggedTable, logged_table
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.spark.reading.logged import rows_of
from spark_pseudolabel.store.files import FileInfo, LocalFiles
from spark_pseudolabel.store.inputs import PinnedTable
from spark_pseudolabel.store.logs.version import (
    FIELD_ID,
    LoggedFile,
    StoredColumn,
    TableVersion,
)
from tests.spark.tables import N_POOL, config_for, labeled_frame, pool_frame, write

PINNED = PinnedTable(format="iceberg", version=7, table="a")


def put(path: Path, numbers: Sequence[int], columns: Mapping[str, pa.Array]) -> FileInfo:
    """Write a file that numbers its columns, in row groups of three rows."""
    schema = pa.schema(
        [
            pa.field(name, column.type, metadata={FIELD_ID: str(number)})
            for number, (name, column) in zip(numbers, columns.items(), strict=True)
        ]
    )
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(dict(columns), schema=schema), path, row_group_size=3)
    return FileInfo(path.name, path.stat().st_size)


def table_of_two_files(spark: SparkSession, root: Path, changed: str = "a") -> LoggedTable:
    """Return a table of which a column was renamed and widened, and one came later."""
    first = put(
        root / "a.parquet",
        (1, 2),
        {"id": pa.array(range(7), pa.int32()), "old": pa.array([0.5] * 7, pa.float32())},
    )
    second = put(
        root / "b.parquet",
        (1, 2, 3),
        {
            "id": pa.array(range(10, 14), pa.int64()),
            "x": pa.array([1.5] * 4),
            "old": pa.array(["later"] * 4),
        },
    )
    schema = pa.schema(
        {"id": pa.int64(), "x": pa.float64(), "old": pa.string(), "day": pa.string()}
    )
    columns = [StoredColumn(name, name, number + 1) for number, name in enumerate(schema.names)]
    files = (LoggedFile(first, {"day": "mon"}), LoggedFile(second))
    # All of the second group of three, and a row of the last one, which goes on after the mask.
    deleted = {f"{changed}.parquet": np.isin(np.arange(6), [1, 3, 4, 5])}
    version = TableVersion(str(root), PINNED, schema, tuple(columns), files, lambda: deleted)
    return logged_table(spark, LocalFiles(), version, files)


EXPECTED = [
    {"id": 0, "x": 0.5, "old": None, "day": "mon"},
    {"id": 2, "x": 0.5, "old": None, "day": "mon"},
    {"id": 6, "x": 0.5, "old": None, "day": "mon"},
    *({"id": i, "x": 1.5, "old": "later", "day": None} for i in range(10, 14)),
]


def test_workers_and_spark_read_the_rows_that_the_log_leaves(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = table_of_two_files(spark, tmp_path)
    read = table.collect(table.source(("id",), ["x", "old", "day"]))
    assert read.to_pylist() == EXPECTED
    assert table.rows == len(EXPECTED)
    assert [row.asDict() for row in rows_of(spark, table).orderBy("id").collect()] == EXPECTED
    only_ids = table.collect(table.source(("id",)))
    assert only_ids.column("id").to_pylist() == [row["id"] for row in EXPECTED]


def test_a_file_that_is_gone_is_told_with_its_version(spark: SparkSession, tmp_path: Path) -> None:
    table = table_of_two_files(spark, tmp_path)
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(InputError, match=r"b\.parquet is gone, which snapshot 7 of") as refused:
        table.collect(table.source(("id",)))
    assert refused.value.code == "version_expired"


def test_deletes_of_a_file_that_is_not_there_are_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"deleted rows of c\.parquet, which is none of its files"):
        table_of_two_files(spark, tmp_path, changed="c")


# --- Delta


def delta_config(directory: Path, **unlabeled: Any) -> Config:
    """Return a configuration whose pool is a Delta table of two files."""
    write(directory, labeled=labeled_frame())
    pool = pool_frame()
    for part in (pool[:15], pool[15:]):
        write_deltalake(directory / "pool", pa.Table.from_pandas(part), mode="append")
    section = {"path": str(directory / "pool"), "format": "delta", **unlabeled}
    return config_for(directory, unlabeled=section)


def test_a_run_goes_on_with_the_version_that_it_began_with(
    spark: SparkSession, tmp_path: Path
) -> None:
    config = delta_config(tmp_path)
    first = read_inputs(spark, config)
    assert (first.pool_rows, first.no_scan, len(first.frozen.unlabeled.files)) == (N_POOL, "", 2)
    table = DeltaTable(tmp_path / "pool")
    table.delete("id < 105")
    later = pool_frame().assign(id=lambda rows: rows["id"] + 1000)
    write_deltalake(table, pa.Table.from_pandas(later), mode="append")
    table.optimize.compact()
    again = read_inputs(spark, config, proved=first.frozen)
    assert again.frozen == first.frozen
    now = read_inputs(spark, config)
    assert now.pool_rows == 2 * N_POOL - 5
    assert now.frozen.pinned["unlabeled"].version > first.frozen.pinned["unlabeled"].version
    section = {"path": str(tmp_path / "pool"), "format": "delta", "version": 1}
    assert read_inputs(spark, config_for(tmp_path, unlabeled=section)).frozen == first.frozen
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(InputError, match=r"gone, which version 1 of .* expired") as refused:
        read_inputs(spark, config, proved=first.frozen)
    assert refused.value.code == "version_expired"
    assert read_inputs(spark, config).pool_rows == 2 * N_POOL - 5


def test_a_table_whose_rows_are_all_deleted_is_an_empty_pool(
    spark: SparkSession, tmp_path: Path
) -> None:
    config = delta_config(tmp_path)
    DeltaTable(tmp_path / "pool").delete()
    inputs = read_inputs(spark, config)
    assert (inputs.pool_rows, inputs.frozen.unlabeled.files) == (0, ())


def test_one_table_with_labels_and_without_is_pinned(spark: SparkSession, tmp_path: Path) -> None:
    rows = pd.concat([labeled_frame(), pool_frame()])
    write_deltalake(tmp_path / "all", pa.Table.from_pandas(rows, preserve_index=False))
    labeled = {"path": str(tmp_path / "all"), "format": "delta", "label": "y"}
    config = config_for(tmp_path, labeled=labeled, unlabeled={"from": "labeled"})
    first = read_inputs(spark, config)
    DeltaTable(tmp_path / "all").delete("y = 'b'")
    again = read_inputs(spark, config, proved=first.frozen)
    assert (again.pool_rows, again.frozen) == (N_POOL, first.frozen)
    assert list(first.frozen.pinned) == ["labeled"]


def test_what_only_spark_reads_needs_its_jar(spark: SparkSession, tmp_path: Path) -> None:
    config = delta_config(tmp_path)
    commit = tmp_path / "pool" / "_delta_log" / f"{0:020}.json"
    commit.write_text(commit.read_text().replace('"minReaderVersion":1', '"minReaderVersion":9'))
    with pytest.raises(InputError, match=r"only Spark can read version 1 .*io\.delta:delta-spark"):
        read_inputs(spark, config)


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_a_catalog_that_does_not_know_a_table_is_told(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    write(tmp_path, labeled=labeled_frame())
    config = config_for(tmp_path, unlabeled={"table": "nowhere.pool", "format": kind})
    with pytest.raises(InputError, match=f"does not tell where the {kind} table 'nowhere.pool' is"):
        read_inputs(spark, config)
