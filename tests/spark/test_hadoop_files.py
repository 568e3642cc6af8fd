"""The same promises as for local files, kept through the JVM; on ``file:`` paths."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.loop import require_file_system
from spark_pseudolabel.spark import hadoop_files
from spark_pseudolabel.spark.direct import survey
from spark_pseudolabel.spark.hadoop_files import HadoopFiles, files_for
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore
from tests.spark.tables import config_for, labeled_frame, pool_frame, write
from tests.store.builders import IDENTITY, INPUTS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(params=["create", "rename"])
def files(
    request: pytest.FixtureRequest, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> HadoopFiles:
    """Give both ways to put if absent; on file: neither is atomic, but both can be tried."""
    if request.param == "rename":
        monkeypatch.setattr(hadoop_files, "_RENAME_SCHEMES", frozenset({"file"}))
    return HadoopFiles(spark)


def test_the_first_content_stays_and_no_temporary_file_does(
    files: HadoopFiles, tmp_path: Path
) -> None:
    slot = f"file:{tmp_path}/a/slot"
    assert files.put_if_absent(slot, b"first")
    assert not files.put_if_absent(slot, b"second")
    assert files.read(slot) == b"first"
    assert [name for name in os.listdir(tmp_path / "a") if not name.endswith(".crc")] == ["slot"]


def test_replace_overwrites(files: HadoopFiles, tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        files.replace(f"file:{tmp_path}/status", content)
    assert files.read(f"file:{tmp_path}/status") == b"new"


def test_listings_equal_those_of_local_files(files: HadoopFiles, tmp_path: Path) -> None:
    for name in ("b/c/part=1; x/f", "b/d", "a b%20ü", "empty/"):
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(name)
    local = LocalFiles().list(str(tmp_path))
    found = files.list(f"file:{tmp_path}")
    assert [(info.path, info.bytes) for info in found] == [(i.path, i.bytes) for i in local]
    assert files.names(f"file:{tmp_path}") == LocalFiles().names(str(tmp_path))
    assert [info.path for info in files.list(f"file:{tmp_path}/b/d")] == [""]
    for missing in ("missing", "b/d/below"):
        assert files.list(f"file:{tmp_path}/{missing}") == []
        assert files.names(f"file:{tmp_path}/{missing}") == []


def test_a_view_of_several_file_systems_is_listed_by_what_its_links_lead_to(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_small(tmp_path / "disk" / "pool", n_files=2)
    (tmp_path / "disk" / "pool" / "below").mkdir()
    (tmp_path / "disk" / "pool" / "below" / "c").write_text("c")
    with mounted(spark, "lists", tmp_path / "disk"):
        files, root = files_for(spark, "viewfs://lists/data/pool")
        listed = LocalFiles().list(str(tmp_path / "disk" / "pool"))
        local = [(info.path, info.bytes) for info in listed]
        assert [(info.path, info.bytes) for info in files.list(root)] == local


def test_what_only_spark_opens_is_read_through_it(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    paths = write(tmp_path, labeled=labeled_frame())
    disk.mkdir()
    os.rename(paths["labeled"], disk / "labeled.parquet")
    os.link(disk / "labeled.parquet", disk / "test.parquet")
    # More files than the driver reads the footers of by itself.
    monkeypatch.setattr(survey, "_FOOTERS_ON_DRIVER", 1)
    write_small(disk / "pool", n_files=2)
    read = []
    with mounted(spark, "reads", disk):
        for root in (str(disk), "viewfs://reads/data"):
            config = config_for(
                tmp_path,
                labeled={"path": f"{root}/labeled.parquet", "label": "y"},
                unlabeled={"path": f"{root}/pool"},
            )
            read.append(read_inputs(spark, config))
    local, viewed = read
    assert viewed.labeled == local.labeled
    assert (viewed.pool_rows, viewed.scan is None) == (local.pool_rows, True)
    assert "can't read it" in viewed.no_scan
    ids = [one.frozen.unlabeled.ids_xor64 for one in read]
    assert ids[0] == ids[1]


@contextmanager
def mounted(spark: SparkSession, name: str, target: Path) -> Iterator[None]:
    """Let ``viewfs://NAME/data`` be a directory; pyarrow has no way there on this machine."""
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    key = f"fs.viewfs.mounttable.{name}.link./data"
    conf.set(key, f"file:{target}")
    try:
        yield
    finally:
        conf.unset(key)


def write_small(folder: Path, n_files: int) -> None:
    folder.mkdir(parents=True)
    for number in range(n_files):
        rows = pool_frame().iloc[:3].assign(id=[1_000 + 3 * number + i for i in range(3)])
        rows.to_parquet(folder / f"{number:03d}.parquet", index=False)


def test_a_missing_file_is_told_as_in_python(files: HadoopFiles, tmp_path: Path) -> None:
    for read in (files.read, files.open_input):
        with pytest.raises(FileNotFoundError):
            read(f"file:{tmp_path}/missing")


def test_an_open_file_serves_pyarrow(files: HadoopFiles, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(100_000)}), tmp_path / "t.parquet")
    with files.open_input(f"file:{tmp_path}/t.parquet") as opened:
        assert pq.read_table(opened).num_rows == 100_000
    with files.open_input(f"file:{tmp_path}/t.parquet") as opened:
        assert opened.read() == (tmp_path / "t.parquet").read_bytes()
        assert opened.read(1) == b""


def test_directories_are_renamed_never_replaced(files: HadoopFiles, tmp_path: Path) -> None:
    files.make_dirs(f"file:{tmp_path}/a/b")
    files.put_if_absent(f"file:{tmp_path}/a/b/f", b"x")
    files.rename_dir(f"file:{tmp_path}/a", f"file:{tmp_path}/new/c")
    assert files.read(f"file:{tmp_path}/new/c/b/f") == b"x"
    files.make_dirs(f"file:{tmp_path}/d")
    with pytest.raises(FileExistsError):
        files.rename_dir(f"file:{tmp_path}/d", f"file:{tmp_path}/new")
    files.delete_tree(f"file:{tmp_path}/new")
    files.delete_tree(f"file:{tmp_path}/missing")
    assert files.names(f"file:{tmp_path}") == ["d"]


def test_threads_of_python_may_share_it(files: HadoopFiles, tmp_path: Path) -> None:
    slots = [f"file:{tmp_path}/slot-{number}" for number in range(4)]
    threads = [
        threading.Thread(target=files.put_if_absent, args=(slot, slot.encode())) for slot in slots
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [files.read(slot) for slot in slots] == [slot.encode() for slot in slots]


def test_a_run_begins_and_continues_through_the_jvm(files: HadoopFiles, tmp_path: Path) -> None:
    root = f"file:{tmp_path}/out"
    first = RoundStore.begin(files, root, IDENTITY, INPUTS, "0.1.0")
    assert RoundStore.begin(files, root, IDENTITY, INPUTS, "0.1.0").run_id == first.run_id


@pytest.mark.parametrize("form", ["{}", "{}/", "file:{}", "file://{}"])
def test_local_paths_need_no_jvm(spark: SparkSession, tmp_path: Path, form: str) -> None:
    files, root = files_for(spark, form.format(tmp_path))
    assert isinstance(files, LocalFiles)
    assert root == str(tmp_path)


def test_a_plain_path_follows_the_default_file_system(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HadoopFiles, "qualified", lambda *_: "hdfs://name:8020/user/me/out/")
    files, root = files_for(spark, "out/")
    assert isinstance(files, HadoopFiles)
    assert root == "hdfs://name:8020/user/me/out"


@pytest.mark.parametrize("uri", ["s3a://bucket/out", "foo://x/y", ":x"])
def test_a_path_that_spark_cannot_open_is_refused_by_name(spark: SparkSession, uri: str) -> None:
    with pytest.raises(InputError, match=f"'{uri}'") as caught:
        files_for(spark, uri)
    assert caught.value.code == "unknown_file_system"


def test_a_plain_output_path_must_be_local_for_spark_too(spark: SparkSession) -> None:
    elsewhere = HadoopFiles(spark)
    with pytest.raises(InputError, match=r"Write output\.path: hdfs://h/user/me/out, or"):
        require_file_system("out", elsewhere, "hdfs://h/user/me/out")
    require_file_system("hdfs://h/out", elsewhere, "hdfs://h/out")
    require_file_system("out", LocalFiles(), "/home/me/out")
