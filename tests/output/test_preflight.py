"""What is refused before Spark starts: here no Java is there that could."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import identity, load_config
from spark_pseudolabel.spark.startup import session
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.identity import create_run
from tests.store.builders import INPUTS


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A configuration of two tables that would do, on a machine where no JVM can start."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no-java"))
    # Another test of this process may have a session, which a command would work on.
    monkeypatch.setattr(session, "is_active", lambda: False)
    monkeypatch.setattr(session.jvm, "is_there", lambda: False)
    pq.write_table(pa.table({"id": [1], "x": [0.5], "y": ["a"]}), tmp_path / "labeled.parquet")
    (tmp_path / "pool").mkdir()
    pq.write_table(pa.table({"id": [2], "x": [0.5]}), tmp_path / "pool" / "one.parquet")
    pq.write_table(pa.table({"ID": [3], "z": [0.5]}), tmp_path / "pool" / "two.parquet")
    return {
        "labeled": {"path": str(tmp_path / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(tmp_path / "pool")},
        "id": "id",
        "output": {"path": str(tmp_path / "out")},
    }


def _said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], conf: dict[str, Any], command: str = "run"
) -> tuple[int, str, str]:
    """Run a command; return exit code, code and message of the error."""
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(conf))
    code = main([command, str(tmp_path / "conf.yaml"), "--output-format", "json", "--quiet"])
    error = json.loads(capsys.readouterr().out)["error"]
    return code, error["code"], error["message"]


def test_tables_that_will_do_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tables: dict[str, Any]
) -> None:
    # All files together have the columns, in whatever case: what that comes to only the run says.
    assert _said(tmp_path, capsys, tables)[:2] == (3, "no_java")
    tables["unlabeled"] = {"table": "somewhere.pool"}
    tables["features"] = {"include": ["x"]}
    assert _said(tmp_path, capsys, tables, "plan")[:2] == (3, "no_java")


@pytest.mark.parametrize(
    ("sections", "code", "where"),
    [
        ({"unlabeled": {"path": "nowhere"}}, "missing_path", "nowhere"),
        ({"test": {"path": "nowhere.parquet"}}, "missing_path", "nowhere.parquet"),
        ({"id": "key"}, "missing_column", "'key'"),
        ({"features": {"include": ["x", "w"]}}, "missing_column", "'w'"),
        ({"validation": {"fraction": 0.5, "group": "who"}}, "missing_column", "'who'"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_wrong_path_or_column_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tables: dict[str, Any],
    command: str,
    sections: dict[str, Any],
    code: str,
    where: str,
) -> None:
    found = _said(tmp_path, capsys, {**tables, **sections}, command)
    assert found[:2] == (3, code)
    assert where in found[2]


@pytest.mark.parametrize("name", ["labeled.csv", "labeled.csv.gz"])
def test_a_csv_file_is_known_by_its_header(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tables: dict[str, Any], name: str
) -> None:
    text = b'\xef\xbb\xbf"id";"a ""b"""\n1;2\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    options = {"sep": ";"}
    tables["labeled"] |= {"path": str(tmp_path / name), "format": "csv", "options": options}
    code, kind, message = _said(tmp_path, capsys, tables)
    assert (code, kind) == (3, "missing_column")
    assert "'y'" in message
    assert "Its columns are 'id', 'a \"b\"'." in message
    assert "labeled.csv" in message


def test_another_configuration_of_an_output_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tables: dict[str, Any]
) -> None:
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(tables))
    before = identity(load_config(str(tmp_path / "conf.yaml"), (), ()))
    create_run(LocalFiles(), str(tmp_path / "out"), before, INPUTS, "1")
    assert _said(tmp_path, capsys, tables)[1] == "no_java"
    code, kind, message = _said(tmp_path, capsys, {**tables, "random_state": 7})
    assert (code, kind) == (3, "other_run")
    assert "random_state" in message
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    full = {**tables, "output": {"path": str(tmp_path / "full")}}
    assert _said(tmp_path, capsys, full)[1] == "output_not_empty"


def test_label_looks_at_its_paths_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tables: dict[str, Any]
) -> None:
    out = str(tmp_path / "out")
    call = ["label", out, "--input", str(tmp_path / "pool"), "--output", str(tmp_path / "new")]
    assert main(call) == 3
    assert "no-java" not in capsys.readouterr().err
