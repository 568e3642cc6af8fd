"""A run that was killed goes on where it was, and ends with the labels of an undisturbed one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from scripts.benchmarks.timing import tree
from tests.cluster.driver import Driver
from tests.cluster.processes import command_line, ended, run_command, running
from tests.cluster.tables import (
    committed,
    configuration,
    labels_sha256,
    scored_attempts,
    write_configuration,
)

LONG_S = 600
# The moment, and what stands committed when it comes.
MOMENTS = {
    "model.fitted": [],
    "round.publish.done": ["model-0001.json", "round-0001.json"],
}


@pytest.mark.parametrize(
    "moment",
    [
        # Nothing is committed then; scripts/torture drivers kills at every moment.
        pytest.param("model.fitted", marks=pytest.mark.long),
        "round.publish.done",
    ],
)
def test_a_killed_run_is_resumed(
    moment: str,
    machine: dict[str, str],
    driver_of: Callable[[str], Driver],
    tables: Path,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    conf = write_configuration(tmp_path / "conf.yaml", configuration(tables, output))
    armed = machine | {"SPL_FAILPOINT": moment}
    assert ended(run_command(conf), armed, tmp_path) == -signal.SIGKILL
    before = committed(output)
    assert sorted(before) == MOMENTS[moment]
    assert not (output / "report.json").exists()
    _resume(driver_of("local[2]"), conf, tmp_path / "result.json")
    _require_finished_once(output, before, undisturbed)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("snapshot.written", marks=pytest.mark.long),
        pytest.param("snapshot.publish.tmp", marks=pytest.mark.long),
        # In one process tests/runs/test_snapshots.py does the same by default.
        pytest.param("snapshot.publish.done", marks=pytest.mark.long),
        pytest.param("model.fitted", marks=pytest.mark.long),
        pytest.param("snapshot.deleting", marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_killed_around_its_snapshot_is_resumed(
    moment: str,
    machine: dict[str, str],
    driver_of: Callable[[str], Driver],
    tables: Path,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    output, folder = tmp_path / "out", tmp_path / "csv"
    folder.mkdir()
    for file in (tables / "pool").iterdir():
        rows = pd.read_parquet(file).astype({"width": "float64"})
        rows.to_csv(folder / f"{file.stem}.csv", index=False)
    as_csv = configuration(tables, output, unlabeled={"path": str(folder)})
    conf = write_configuration(tmp_path / "conf.yaml", as_csv)
    armed = machine | {"SPL_FAILPOINT": moment}
    assert ended(run_command(conf), armed, tmp_path) == -signal.SIGKILL
    before, frozen = committed(output), _snapshots(output)
    _resume(driver_of("local[2]"), conf, tmp_path / "result.json")
    _require_finished_once(output, before, undisturbed)
    assert len(frozen) == (moment in ("snapshot.publish.done", "model.fitted"))
    assert not _snapshots(output)
    assert not list((output / "_snapshots").rglob("*.parquet"))


def _snapshots(output: Path) -> list[Path]:
    return sorted((output / "_snapshots").glob("*/snapshot.json"))


def test_a_run_whose_jvm_is_killed_says_that_another_try_may_help(
    machine: dict[str, str],
    driver_of: Callable[[str], Driver],
    tables: Path,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    conf = write_configuration(tmp_path / "conf.yaml", configuration(tables, output))
    slow = machine | {"SPL_FAILPOINT": "score.started:sleep", "SPL_FAILPOINT_SECONDS": "5"}
    with running(run_command(conf), slow, tmp_path) as first:
        _wait_until(lambda: bool(committed(output)), lambda: first.poll() is None)
        os.kill(
            next(pid for pid in tree(first.pid) if b"/java" in command_line(pid)[0]), signal.SIGKILL
        )
        assert first.wait(LONG_S) == 10
    before = committed(output)
    _resume(driver_of("local[2]"), conf, tmp_path / "result.json")
    _require_finished_once(output, before, undisturbed)


def test_a_second_run_waits_outside_and_takes_over_from_a_dead_one(
    machine: dict[str, str],
    driver_of: Callable[[str], Driver],
    tables: Path,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    output, result = tmp_path / "out", tmp_path / "result.json"
    conf = write_configuration(tmp_path / "conf.yaml", configuration(tables, output))
    slow = machine | {"SPL_FAILPOINT": "score.written:sleep", "SPL_FAILPOINT_SECONDS": str(LONG_S)}
    second = driver_of("local[2]")
    with running(run_command(conf), slow, tmp_path) as first:
        _wait_until(lambda: bool(scored_attempts(output)), lambda: first.poll() is None)
        busy = second.command("run", conf, result=result)
        assert busy.exit_code == 4
        assert str(first.pid) in busy.document["error"]["message"]
        assert first.poll() is None
        first.kill()
    before = committed(output)
    assert sorted(before) == ["model-0001.json"]
    resumed = second.command("run", conf, result=result)
    assert resumed.exit_code == 0, resumed.document
    _require_finished_once(output, before, undisturbed)


def _resume(driver: Driver, conf: str, result: Path) -> None:
    outcome = driver.command("run", conf, result=result)
    assert outcome.exit_code == 0, outcome.document


def _require_finished_once(output: Path, before: dict[str, bytes], undisturbed: Path) -> None:
    """What was committed stands as it was and was not done again; the labels are the same."""
    assert labels_sha256(output) == labels_sha256(undisturbed)
    after = committed(output)
    assert {name: after[name] for name in before} == before
    assert sorted(after) == sorted(committed(undisturbed))
    for name in before:
        if name.startswith("round-"):
            assert len(scored_attempts(output)[Path(name).stem]) == 1


def _wait_until(
    reached: Callable[[], bool], alive: Callable[[], bool], within_s: float = 300.0
) -> None:
    deadline = time.monotonic() + within_s
    while not reached():
        assert alive(), "The first run ended before it was expected to."
        assert time.monotonic() < deadline
        time.sleep(0.2)
