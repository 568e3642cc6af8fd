from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from spark_pseudolabel.store import failpoint as module
from spark_pseudolabel.store.failpoint import EXIT_CODE, FailpointError, failpoint, parse

REACH_THREE_TIMES = """
from spark_pseudolabel.store.failpoint import failpoint
for turn in range(3):
    print(turn, flush=True)
    failpoint("a.b")
"""


def _run(armed: str) -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, "-c", REACH_THREE_TIMES],
        env={"SPL_FAILPOINT": armed},
        capture_output=True,
        text=True,
    )
    return run.returncode, "".join(run.stdout.split())


@pytest.fixture(autouse=True)
def _not_reached_yet() -> None:
    module._reached.clear()


@pytest.mark.parametrize(
    ("armed", "code", "turns"),
    [
        ("a.b", -signal.SIGKILL, "0"),
        ("a.b:2", -signal.SIGKILL, "01"),
        ("a.b:3:exit", EXIT_CODE, "012"),
        ("a.b:4:exit", 0, "012"),
        ("other", 0, "012"),
    ],
)
def test_the_process_ends_at_the_turn_that_is_armed(armed: str, code: int, turns: str) -> None:
    assert _run(armed) == (code, turns)


def test_nothing_happens_unless_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPL_FAILPOINT", raising=False)
    failpoint("a.b")


def test_raise_raises_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPL_FAILPOINT", "a.b:raise")
    with pytest.raises(FailpointError, match=r"a\.b"):
        failpoint("a.b")
    failpoint("a.b")


def test_sleep_goes_on_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPL_FAILPOINT", "a.b:sleep")
    monkeypatch.setenv("SPL_FAILPOINT_SECONDS", "0.05")
    start = time.monotonic()
    failpoint("a.b")
    assert time.monotonic() - start >= 0.05


@pytest.mark.parametrize("armed", ["a:explode", "a:0", "a:1:kill:more", "a:kill:1"])
def test_a_wrong_setting_is_refused(armed: str) -> None:
    with pytest.raises(ValueError, match="SPL_FAILPOINT must be"):
        parse(armed)
