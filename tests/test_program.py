"""Commands that are printed work where they are printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spark_pseudolabel.program import command


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose program echoes, in a directory whose name needs quotes."""
    folder = tmp_path / "my env" / "bin"
    folder.mkdir(parents=True)
    (folder / "spark-pseudolabel").write_text('#!/bin/sh\necho "$0" "$@"\n')
    (folder / "spark-pseudolabel").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return folder


def test_the_name_is_enough_in_an_active_environment(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin:/bin")
    assert command("status", "an out") == "spark-pseudolabel status 'an out'"


def test_a_path_is_named_where_the_environment_is_not_active(environment: Path) -> None:
    printed = command("status", "out")
    assert printed == "'my env/bin/spark-pseudolabel' status out"
    said = subprocess.run(["sh", "-c", printed], capture_output=True, text=True, check=True)
    assert said.stdout == "my env/bin/spark-pseudolabel status out\n"


def test_the_interpreter_is_named_where_the_package_is_not_installed(environment: Path) -> None:
    (environment / "spark-pseudolabel").unlink()
    assert command("status") == "'my env/bin/python' -m spark_pseudolabel status"
