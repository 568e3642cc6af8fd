"""The short form of scripts/torture, in processes of its own: this one may have threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _torture(name: str, directory: Path) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.torture", name, "--short", "--dir", str(directory)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.stdout, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)[name]
    if "left out" in found:
        pytest.skip(f"{name} {found['left out']}")
    assert (found["violations"], ended.returncode) == ([], 0)
    return found


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """Return a directory in memory where there is one: a kill does not need a real flush."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else tmp_path


def test_without_a_kill_nothing_is_violated(memory: Path) -> None:
    assert _torture("control", memory)["reads"] > 0


def test_a_kill_at_a_system_call_tears_nothing_and_loses_nothing(memory: Path) -> None:
    found = _torture("publish", memory)
    assert (found["kills"], found["torn"], found["lost"]) == (100, 0, 0)
    assert found["reads"] > found["kills"]


def test_each_outcome_of_a_publish_has_its_exit_code(memory: Path) -> None:
    codes = _torture("outcomes", memory)["exit_codes"]
    assert codes == {"0": 6, "4": 6, "6": 12, "10": 6}


def test_of_two_writers_one_wins(memory: Path) -> None:
    assert _torture("races", memory)["trials"] == 12


def test_a_full_disk_leaves_a_run_that_can_go_on(memory: Path) -> None:
    assert _torture("disk", memory)["points"] == 24


def test_every_planted_bug_is_caught(memory: Path) -> None:
    found = _torture("bugs", memory)
    assert found["planted"] == found["caught"] == 6
