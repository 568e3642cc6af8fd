"""What ``doctor`` finds on machines that lack something; no JVM starts but for its version."""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from spark_pseudolabel.cli import main
from spark_pseudolabel.output import doctor
from spark_pseudolabel.output.doctor import NEEDED, examine, free_memory
from spark_pseudolabel.report.document import Finding

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
MEMINFO = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n"


def _finding(name: str) -> Finding:
    return next(check for check in examine().checks if check.name == name)


def _fake_java(home: Path, script: str) -> None:
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "java"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_bounds_are_those_of_the_package() -> None:
    declared = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    needed = [Requirement(text) for text in declared]
    assert {each.name: each.specifier for each in needed} == {
        each.name: Requirement(str(each)).specifier for each in NEEDED
    }


def test_a_machine_that_runs_these_tests_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--output-format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"]
    names = {check["name"] for check in document["checks"]}
    assert {"python", "libraries", "java", "host name", "memory", "disk"} <= names
    assert all(check["remedy"] or check["state"] == "ok" for check in document["checks"])


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'openjdk version \"11.0.2\" 2019-01-15' >&2", "11.0.2"),
        ("echo 'Error: could not find libjvm.so' >&2", "{}/bin/java does not tell its version"),
    ],
)
def test_a_java_that_will_not_do_is_exit_3_with_the_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    found: str,
) -> None:
    _fake_java(tmp_path, script)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert main(["doctor"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("Something here would stop a run.")
    assert f"problem: {found.format(tmp_path)}" in " ".join(out.split())
    assert "JAVA_HOME" in out
    assert err == "This machine is not ready: see java above, with what to do.\n"


def test_a_missing_java_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert _finding("java").state == "problem"


def test_another_spark_than_pyspark_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "RELEASE").write_text("Spark 3.5.1 (git revision x) built for Hadoop 3.3.4\n")
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert "Spark 3.5.1; pyspark is" in _finding("spark").found
    assert _finding("spark").state == "problem"


def test_workers_of_another_python_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 3.9\n")
    other.chmod(0o755)
    monkeypatch.setenv("PYSPARK_PYTHON", str(other))
    assert "Python 3.9; the driver's is" in _finding("worker python").found
    monkeypatch.setenv("PYSPARK_PYTHON", "./environment/bin/python")
    assert _finding("worker python").state == "warning"


def test_a_host_name_without_an_address_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise socket.gaierror(name)

    for name in ("SPARK_LOCAL_IP", "SPARK_LOCAL_HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "gethostbyname", unknown)
    found = _finding("host name")
    assert (found.state, "/etc/hosts" in str(found.remedy)) == ("warning", True)


def test_a_library_that_is_too_old_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.0.0")
    found = _finding("pandas")
    assert found.found == "2.0.0; pandas>=2.2.3,<3 is needed"
    assert found.remedy == "pip install 'pandas>=2.2.3,<3'"


def test_a_folder_that_cannot_be_written_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path / "missing"))
    found = [check for check in examine().checks if check.name == "disk"]
    assert [check.state for check in found][-1] == "problem"


def test_memory_is_what_a_container_leaves(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO)
    assert free_memory(tmp_path) == (16_384_000_000, 8_192_000_000)
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    for name, text in {"memory.max": "max", "memory.current": "5"}.items():
        (group / name).write_text(text)
    assert free_memory(tmp_path) == (16_384_000_000, 8_192_000_000)
    (group / "memory.max").write_text("2000000000\n")
    (group / "memory.current").write_text("1500000000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 400000000\n")
    assert free_memory(tmp_path) == (2_000_000_000, 900_000_000)


def test_a_check_that_fails_itself_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> str:
        raise PermissionError("no")

    monkeypatch.setattr(socket, "gethostname", broken)
    assert "could not be looked at (PermissionError: no)" in _finding("host name").found
    assert _finding("python").state == "ok"
