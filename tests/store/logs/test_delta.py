"""What the log of a Delta table says."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.logs.opening import read_version
from spark_pseudolabel.store.logs.version import TableVersion

ROWS = pa.table(
    {
        "id": list(range(6)),
        "day": pa.array([1, 2] * 3, pa.int32()).cast(pa.date32()),
        "place": ["a b", "c/d%é", None] * 2,
        "points": [[1.0, 2.0]] * 6,
    }
)


def version_at(root: Path, version: int | None = None) -> TableVersion:
    return read_version(LocalFiles(), str(root), "delta", {}, version=version)


def test_files_are_found_whatever_directories_are_called(tmp_path: Path) -> None:
    root = tmp_path / "a table"
    write_deltalake(root, ROWS, partition_by=["day", "place"])
    found = version_at(root)
    assert found.schema.types == [pa.int64(), pa.date32(), pa.string(), pa.list_(pa.float64())]
    assert {(root / file.info.path).stat().st_size for file in found.files} == {
        file.info.bytes for file in found.files
    }
    values = {(file.values["day"], file.values["place"]) for file in found.files}
    assert values == {
        (date(1970, 1, day), place) for day in (2, 3) for place in ("a b", "c/d%é", None)
    }
    assert found.deleted() == {}


def test_a_version_is_what_it_was(tmp_path: Path) -> None:
    write_deltalake(tmp_path, ROWS)
    first = version_at(tmp_path)
    DeltaTable(tmp_path).delete("id < 3")
    write_deltalake(tmp_path, ROWS, mode="append")
    again = read_version(LocalFiles(), str(tmp_path), "delta", {}, pinned=first.pinned)
    assert (again.pinned, again.files) == (first.pinned, first.files)
    assert version_at(tmp_path).pinned.version == 2
    assert version_at(tmp_path, 0).pinned == first.pinned


@pytest.mark.parametrize("version", [9, 0])
def test_a_version_that_is_not_there_is_named(tmp_path: Path, version: int) -> None:
    write_deltalake(tmp_path, ROWS)
    for _ in range(3):
        write_deltalake(tmp_path, ROWS, mode="append")
    table = DeltaTable(tmp_path)
    table.create_checkpoint()
    (tmp_path / "_delta_log" / f"{0:020}.json").unlink()
    with pytest.raises(InputError, match=f"Version {version} .* another version") as refused:
        version_at(tmp_path, version)
    assert refused.value.code == "version_expired"


def test_a_table_that_was_made_anew_is_another_one(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "one", ROWS)
    write_deltalake(tmp_path / "two", ROWS)
    pinned = version_at(tmp_path / "one").pinned
    with pytest.raises(InputError, match="another table than when the run began"):
        read_version(LocalFiles(), str(tmp_path / "two"), "delta", {}, pinned=pinned)


def test_files_of_another_table_are_left_to_spark(tmp_path: Path) -> None:
    write_deltalake(tmp_path, ROWS)
    commit = tmp_path / "_delta_log" / f"{0:020}.json"
    text = commit.read_text()
    name = version_at(tmp_path).files[0].info.path
    commit.write_text(text.replace(f'"{name}"', f'"file:///elsewhere/{name}"'))
    assert "files of another table" in version_at(tmp_path).only_spark


def test_what_the_library_cannot_read_is_left_to_spark(tmp_path: Path) -> None:
    write_deltalake(tmp_path, ROWS)
    commit = tmp_path / "_delta_log" / f"{0:020}.json"
    commit.write_text(commit.read_text().replace('"minReaderVersion":1', '"minReaderVersion":9'))
    found = version_at(tmp_path)
    assert (found.pinned.version, found.files) == (0, ())
    assert "deltalake can't read it" in found.only_spark


def test_a_directory_without_a_log_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a Delta table"):
        version_at(tmp_path)
