"""Commands that write, from the first configuration to labels of new rows."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.cli import main
from spark_pseudolabel.config.example import EXAMPLE

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spark_pseudolabel", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environ},
        check=False,
    )


def test_python_m_is_the_same_program() -> None:
    found = python("init", "c.yaml")
    assert found.returncode == 0
    assert Path("c.yaml").read_text() == EXAMPLE


def test_init_writes_the_example_once(capsys: Captured) -> None:
    assert main(["init", "c.yaml"]) == 0
    assert Path("c.yaml").read_text() == EXAMPLE
    assert main(["init", "c.yaml"]) == 2
    assert "must not exist yet" in capsys.readouterr().err
    assert main(["init", "no/such/c.yaml"]) == 2


def test_a_wrong_key_is_told_within_a_second_and_without_a_jvm() -> None:
    sections = "labeled: {path: a, label: y}\nunlabeled: {path: b}\noutput: {path: out}\n"
    Path("c.yaml").write_text(sections + "selection:\n  treshold: 0.8\n")
    found = python("run", "c.yaml", JAVA_HOME="/nowhere", PATH="/nowhere")
    said = "c.yaml:5 selection.treshold: unknown key, did you mean 'threshold'?\n"
    assert (found.returncode, found.stdout, found.stderr) == (2, "", said)


def test_a_wrong_parameter_is_told_while_the_jvm_starts_and_leaves_none(tmp_path: Path) -> None:
    sections = "labeled: {table: a, label: y}\nunlabeled: {table: b}\nid: i\noutput: {path: out}\n"
    model = "model: {estimator: LogisticRegression, params: {nonsense: 1}}\n"
    Path("c.yaml").write_text(sections + model)
    found = python("run", "c.yaml", "--quiet", MARK=str(tmp_path))
    assert (found.returncode, found.stdout) == (2, "")
    assert "LogisticRegression has no parameter 'nonsense'" in found.stderr
    deadline = time.monotonic() + 60
    while (left := _processes_with(f"MARK={tmp_path}")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def _processes_with(variable: str) -> list[str]:
    """Return the numbers of processes with a variable in their environment."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in environ.read_bytes().split(b"\0"):
                found.append(environ.parent.name)
    return found


@pytest.fixture
def conf(tmp_path: Path) -> str:
    """Write tables with two well separated classes, and a configuration for them."""
    import pandas as pd

    rows = pd.DataFrame({"row_id": range(60), "x": [i % 2 + i / 1000 for i in range(60)]})
    labels = ["odd" if i % 2 else "even" for i in range(60)]
    rows.assign(y=labels).iloc[:20].to_parquet("labeled.parquet")
    rows.iloc[20:].to_parquet("pool.parquet")
    # Whole paths: the JVM of the tests was started in another directory.
    Path("c.yaml").write_text(
        f"labeled: {{path: {tmp_path}/labeled.parquet, label: y}}\n"
        f"unlabeled: {{path: {tmp_path}/pool.parquet}}\n"
        "id: row_id\nmodel: {estimator: LogisticRegression, params: {C: 1000}}\n"
        "selection: {policy: threshold}\n"
        f"output: {{path: {tmp_path}/out}}\n"
    )
    return "c.yaml"


def test_a_run_from_plan_to_label(spark: Any, conf: str, tmp_path: Path, capsys: Captured) -> None:
    def document(*arguments: str) -> dict[str, Any]:
        code = main([*arguments, "--output-format", "json"])
        out, err = capsys.readouterr()
        assert (code, err if code else "") == (0, "")
        return dict(json.loads(out))

    assert document("plan", conf)["rows"]["pool"] == 40
    assert not Path("out").exists()
    report = document("run", conf, "--result", "r.json")
    assert report == json.loads(Path("r.json").read_text())
    assert report == json.loads(Path("out/report.json").read_text())
    assert report["rows"]["accepted"] == 40
    assert main(["run", conf]) == 0
    assert capsys.readouterr().out.startswith(f"Nothing to do: {tmp_path}/out is fin")
    # As a kill leaves it between the tables and the reports of a run that was continued.
    Path("out/report.json").write_text(json.dumps({**report, "n_iter": 0}))
    assert document("run", conf) == json.loads(Path("out/report.json").read_text()) == report
    assert document("report", "out", "--html", "page.html") == report
    assert "<html" in Path("page.html").read_text()
    assert document("status", "out")["state"] == "done"
    assert document("verify", "out", "--deep")["ok"] is True
    assert document("explain", "out", "--id", "30")["kind"] == "accepted"
    labeled = document(
        "label", "out", "--input", f"{tmp_path}/pool.parquet", "--output", f"{tmp_path}/new"
    )
    assert (labeled["rows"], labeled["accepted"]) == (40, 40)
    for damaged in Path("out/model").iterdir():
        damaged.write_bytes(b"")
    assert main(["verify", "out"]) == 5
