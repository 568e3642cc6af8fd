from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.errors import OutputBusyError
from spark_pseudolabel.store import lease
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.lease import hold, read_lease

HOLDER = """
import sys, time
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.lease import hold
with hold(LocalFiles(), sys.argv[1], "run-1"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Let another process hold the lease until the test ends it."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def _record(root: Path, **changes: Any) -> None:
    path = root / "_lease" / "lease.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_lease_lasts_as_long_as_its_context(tmp_path: Path) -> None:
    with hold(LocalFiles(), str(tmp_path), "run-1") as held:
        assert held.taken_over is None
        found = read_lease(LocalFiles(), str(tmp_path))
        assert found is not None
        assert (found.owner, found.pid) == ("run-1", os.getpid())
    assert os.listdir(tmp_path) == []


def test_a_live_process_keeps_its_lease(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    with (
        pytest.raises(OutputBusyError, match=f"process {other.pid} on .*, since 20") as caught,
        hold(LocalFiles(), str(tmp_path), "run-2"),
    ):
        pass
    assert caught.value.exit_code == 4


def test_a_dead_process_loses_it_at_once(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert read_lease(LocalFiles(), str(tmp_path)) is None
    with hold(LocalFiles(), str(tmp_path), "run-2") as held:
        assert held.taken_over is not None
        assert held.taken_over.pid == other.pid


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells zombies from the living")
def test_a_dead_process_that_nobody_waits_for_loses_it_too(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    os.kill(other.pid, signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    with hold(LocalFiles(), str(tmp_path), "run-2") as held:
        assert held.taken_over is not None
        assert held.taken_over.pid == other.pid


def test_a_second_hold_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with (
        hold(LocalFiles(), str(tmp_path), "a"),
        pytest.raises(OutputBusyError),
        hold(LocalFiles(), str(tmp_path), "b"),
    ):
        pass
    with hold(LocalFiles(), str(tmp_path), "c"):
        pass


@pytest.mark.parametrize(
    ("changes", "busy"),
    [
        ({"machine": "elsewhere", "pid": 999999}, True),  # pids of other machines say nothing
        ({"machine": "elsewhere", "heartbeat": time.time() - 31}, False),
        ({"machine": "elsewhere", "heartbeat": time.time() + 3600}, False),
        ({"heartbeat": "soon"}, False),
        ({"pid_started": "1"}, False),  # the pid is used again by another process
        ({"pid": -1}, False),
        ({"pid": None}, False),
    ],
)
def test_what_counts_as_alive(
    tmp_path: Path, other: subprocess.Popen[bytes], changes: dict[str, Any], busy: bool
) -> None:
    _record(tmp_path, **changes)
    assert (read_lease(LocalFiles(), str(tmp_path)) is not None) == busy


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x80"])
def test_an_unreadable_lease_is_taken_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "_lease").mkdir()
    (tmp_path / "_lease" / "lease.json").write_bytes(content)
    with hold(LocalFiles(), str(tmp_path), "run"):
        pass


def test_the_heart_beats_and_stops_with_the_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.02)
    path = tmp_path / "_lease" / "lease.json"
    with hold(LocalFiles(), str(tmp_path), "run"):
        first = json.loads(path.read_text())["heartbeat"]
        deadline = time.monotonic() + 10
        while json.loads(path.read_text())["heartbeat"] == first:
            assert time.monotonic() < deadline
    assert not path.exists()


def test_a_lease_taken_over_is_left_to_its_new_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.02)
    path = tmp_path / "_lease" / "lease.json"
    with hold(LocalFiles(), str(tmp_path), "run"):
        _record(tmp_path, token="another")
        time.sleep(0.2)
    assert json.loads(path.read_text())["token"] == "another"


def test_a_heartbeat_that_fails_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.02)

    def full(*_: object) -> None:
        raise OSError("no space left")

    with hold(LocalFiles(), str(tmp_path), "run"):
        monkeypatch.setattr(LocalFiles, "replace", full)
        time.sleep(0.1)


def test_a_full_disk_costs_the_lease_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise OSError("no space left")

    monkeypatch.setattr(LocalFiles, "put_if_absent", full)
    with hold(LocalFiles(), str(tmp_path), "run") as held:
        assert held.taken_over is None
