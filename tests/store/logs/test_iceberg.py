"""What the metadata of an Iceberg table say."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.types import DoubleType, LongType, StringType

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.inputs import PinnedTable
from spark_pseudolabel.store.logs.iceberg import EMPTY
from spark_pseudolabel.store.logs.opening import read_version
from spark_pseudolabel.store.logs.version import Names, TableVersion
from tests.store.logs.warehouse import in_memory, latest

ROWS = pa.table({"id": [1, 2], "n": pa.array([1, 2], pa.int32()), "x": [0.5, 1.5]})


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return in_memory(tmp_path)


@pytest.fixture
def table(catalog: Catalog) -> Table:
    made = catalog.create_table("db.pool", schema=ROWS.schema)
    made.append(ROWS)
    return made


def version_of(
    table: Table, *, pinned: PinnedTable | None = None, version: int | None = None
) -> TableVersion:
    found = LocalFiles(), latest(table)
    return read_version(*found, "iceberg", {}, pinned=pinned, version=version)


def names_in(version: TableVersion, place: int) -> Names | None:
    path = f"{version.root}/{version.files[place].info.path}"
    return version.names_in(pq.read_schema(path), (), path)


def test_a_snapshot_is_what_it_was(table: Table) -> None:
    first = version_of(table)
    table.delete("id = 1")
    table.append(ROWS)
    with table.update_schema() as change:
        change.rename_column("x", "y")
    again = version_of(table, pinned=first.pinned)
    assert (again.pinned, again.files, again.schema) == (first.pinned, first.files, first.schema)
    assert first.schema.names == ["id", "n", "x"]
    assert names_in(first, 0) is None
    now = version_of(table)
    assert now.schema.names == ["id", "n", "y"]
    assert now.pinned.version != first.pinned.version
    assert version_of(table, version=first.pinned.version).schema.names == ["id", "n", "x"]


def test_columns_are_known_by_number(table: Table) -> None:
    with table.update_schema() as change:
        change.rename_column("x", "y").delete_column("n").update_column("id", LongType())
    with table.update_schema() as change:
        change.add_column("n", DoubleType()).add_column("x", StringType())
    found = version_of(table)
    assert found.schema.names == ["id", "y", "n", "x"]
    # What is called x and n now are other columns than those that the file has.
    assert names_in(found, 0) == (("id", "id"), ("y", "x"))


def test_a_snapshot_that_is_gone_is_named(table: Table) -> None:
    with pytest.raises(InputError, match=r"Snapshot 7 of .* another version") as refused:
        version_of(table, version=7)
    assert refused.value.code == "version_expired"
    gone = version_of(table).pinned.model_copy(update={"version": 7})
    with pytest.raises(InputError, match="Snapshot 7 of"):
        version_of(table, pinned=gone)


def test_a_table_without_rows_has_no_files(catalog: Catalog) -> None:
    found = version_of(catalog.create_table("db.empty", schema=ROWS.schema))
    assert (found.pinned.version, found.files, found.only_spark) == (EMPTY, (), "")


def test_the_latest_metadata_are_those_that_hadoop_tables_name(table: Table) -> None:
    metadata = Path(latest(table))
    root = metadata.parents[1]
    files = LocalFiles()
    with pytest.raises(InputError, match="metadata file"):
        read_version(files, str(root), "iceberg", {})
    (metadata.parent / "v1.metadata.json").write_bytes(metadata.read_bytes())
    (metadata.parent / "version-hint.text").write_text("1")
    first = read_version(files, str(root), "iceberg", {})
    table.append(ROWS)
    # The next one is there; the hint may come later.
    (metadata.parent / "v2.metadata.json").write_bytes(Path(latest(table)).read_bytes())
    second = read_version(files, str(root), "iceberg", {})
    assert (len(first.files), len(second.files)) == (1, 2)


def test_files_from_before_the_table_are_read_by_the_names_it_maps(
    catalog: Catalog, tmp_path: Path
) -> None:
    table = catalog.create_table("db.adopted", schema=ROWS.schema)
    path = Path(table.location().removeprefix("file://")) / "data" / "old.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(ROWS, path)
    table.add_files([str(path)])
    with table.update_schema() as change:
        change.rename_column("x", "y")
    found = version_of(table)
    assert names_in(found, 0) == (("id", "id"), ("n", "n"), ("y", "x"))


def test_files_elsewhere_are_left_to_spark(catalog: Catalog, tmp_path: Path) -> None:
    table = catalog.create_table("db.scattered", schema=ROWS.schema)
    pq.write_table(ROWS, tmp_path / "elsewhere.parquet")
    table.add_files([str(tmp_path / "elsewhere.parquet")])
    assert "outside of its directory" in version_of(table).only_spark
