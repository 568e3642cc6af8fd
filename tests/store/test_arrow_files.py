from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import fs

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.arrow_files import ArrowFiles, arrow_path


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3a://bucket/out/a", "bucket/out/a"),
        ("gs://bucket/a", "bucket/a"),
        ("hdfs://name:8020/a/b", "/a/b"),
        ("abfss://box@account.dfs.core.windows.net/a/b", "box/a/b"),
        ("/plain", "/plain"),
    ],
)
def test_a_uri_becomes_the_path_pyarrow_expects(uri: str, path: str) -> None:
    assert arrow_path(uri) == path


def test_arrow_files_read_list_and_refuse_to_publish(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"123")
    files = ArrowFiles(fs.LocalFileSystem())
    root = str(tmp_path)
    found = files.list(root)
    assert [(info.path, info.bytes) for info in found] == [("d/file", 3)]
    assert files.list(f"{root}/d/file")[0].path == ""
    assert files.names(root) == ["d"]
    assert files.names(f"{root}/missing") == files.list(f"{root}/missing") == []
    assert (files.read(f"{root}/d/file"), files.exists(f"{root}/x")) == (b"123", False)
    with pytest.raises(FileNotFoundError):
        files.read(f"{root}/missing")
    with files.open_input(f"{root}/d/file") as opened:
        assert opened.read(2) == b"12"
    with pytest.raises(InputError, match="needs Spark"):
        files.put_if_absent(f"{root}/slot", b"x")
