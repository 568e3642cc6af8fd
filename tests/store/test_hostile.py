"""Hostile files are refused by name, and nothing in them is looked up, compiled or run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Grouped by who refuses: the store, the configuration, the pinned list of types.
EXIT_CODES = {2, 3, 5}


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    """Try them all in one process, since an audit hook stays for the life of its process."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.store.hostile"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def test_the_watch_sees_a_pickle_that_is_loaded(found: dict[str, dict[str, Any]]) -> None:
    control = found["control"]
    assert control["refused"] is None
    assert any(event.startswith("pickle.find_class") for event in control["events"])


def test_every_hostile_file_is_refused_with_a_message(found: dict[str, dict[str, Any]]) -> None:
    tried = {name: one for name, one in found.items() if name != "control"}
    assert len(tried) >= 40
    taken = {name: one for name, one in tried.items() if one["refused"] not in EXIT_CODES}
    assert taken == {}


def test_nothing_foreign_is_looked_up_compiled_or_run(found: dict[str, dict[str, Any]]) -> None:
    ran = {name: one["events"] for name, one in found.items() if one["events"]}
    assert list(ran) == ["control"]


def test_a_function_in_a_partial_is_what_is_refused(found: dict[str, dict[str, Any]]) -> None:
    assert "os.system" in found["partial of os.system"]["message"]
