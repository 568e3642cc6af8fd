"""Kills of whole runs: the Python driver at every failpoint and at random times, and its JVM.

Prints one JSON document and ends with 1 if anything was violated; see scripts/torture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.cluster.processes import ROOT, ended, run_command, running, submit_command
from tests.cluster.standalone import environment, python_of_workers, spark_home
from tests.cluster.tables import (
    committed,
    configuration,
    labels_sha256,
    scored_attempts,
    write_configuration,
    write_tables,
)

JOB = ROOT / "jobs" / "pseudolabel.py"
_STEPS = ("tmp", "done")
POINTS = [
    "lease.taken",
    *[f"train.collected:{n}" for n in (1, 2, 3)],
    *[f"model.fitted:{n}" for n in (1, 2, 3)],
    *[f"model.written:{n}" for n in (1, 2, 3)],
    *[f"model.publish.{step}:{n}" for step in _STEPS for n in (1, 2, 3)],
    *[f"{name}:{n}" for name in ("score.started", "score.written") for n in (1, 2)],
    *[f"{name}:{n}" for name in ("broadcast.destroyed", "verify.done") for n in (1, 2)],
    *[f"round.publish.{step}:{n}" for step in _STEPS for n in (1, 2)],
    *[f"final.publish.{step}" for step in _STEPS],
    *[f"view.swap.{step}:{n}" for step in ("tmp", "done") for n in (1, 2, 3)],
]
"""Steps of a run of two rounds, each with the times it is reached."""
_RANDOM_S = (3.0, 30.0)
_MOST_STARTS = 30


@dataclass
class Found:
    """What the kills came to."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    jvm_exit_codes: Counter[int] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kills": sum(self.kills.values()),
            "runs": self.runs,
            "by_kind": dict(Counter(name.split(" ")[0] for name in self.kills.elements())),
            "points_hit": len({name for name in self.kills if "." in name}),
            "jvm_exit_codes": {str(code): n for code, n in self.jvm_exit_codes.items()},
            "violations": self.violations,
        }


@dataclass(frozen=True)
class Machine:
    """Where runs take place: a Spark, the environment of its processes, the tables."""

    home: Path
    environment: Mapping[str, str]
    tables: Path

    @classmethod
    def make(cls, base: Path) -> Machine:
        """Make all of it below `base`."""
        home = spark_home(base / "spark")
        write_tables(base / "tables")
        variables = environment(home, python_of_workers(base / "python"))
        return cls(home, variables | {"PYSPARK_DRIVER_PYTHON": sys.executable}, base / "tables")

    def command(self, conf: str, *, submitted: bool) -> list[str]:
        """Return the command that runs a configuration, by itself or through spark-submit."""
        if submitted:
            return submit_command(str(self.home), "local[2]", JOB, "run", conf)
        return run_command(conf)


def kill_until(machine: Machine, base: Path, kills: int, seed: int) -> Found:
    """Kill run after run, each resumed until it ends, `kills` times in all."""
    chance, found, points = random.Random(seed), Found(), cycle(POINTS)
    control = base / "control"
    control.mkdir()
    conf = write_configuration(
        control / "conf.yaml", configuration(machine.tables, control / "out")
    )
    code = ended(machine.command(conf, submitted=False), machine.environment, control)
    if code:
        found.violations.append(f"null control ended with {code}")
        return found
    expected = labels_sha256(control / "out")
    while sum(found.kills.values()) < kills:
        found.runs += 1
        directory = base / f"run-{found.runs}"
        directory.mkdir()
        submitted = found.runs % 2 == 0
        _one_run(machine, directory, submitted, chance, points, found, expected)
    return found


def _one_run(
    machine: Machine,
    directory: Path,
    submitted: bool,
    chance: random.Random,
    points: Iterator[str],
    found: Found,
    expected: str,
) -> None:
    output = directory / "out"
    conf = write_configuration(directory / "conf.yaml", configuration(machine.tables, output))
    command = machine.command(conf, submitted=submitted)
    before: dict[str, bytes] = {}
    attempts: dict[str, list[str]] = {}
    for start in range(_MOST_STARTS):
        how = chance.choice(("point", "point", "point", "time", "jvm"))
        # Towards the end a run is let go, so that its labels can be compared.
        how = "none" if start > _MOST_STARTS // 2 else how
        point = next(points) if how == "point" else ""
        code = _start(machine, command, directory, how, point, chance)
        killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if killed or how == "jvm":
            found.kills[f"{how} {point}".strip()] += 1
        if how == "jvm":
            found.jvm_exit_codes[code] += 1
        found.violations += _changed(directory.name, before, attempts, output)
        before, attempts = committed(output), scored_attempts(output)
        if code == 0:
            break
        if not killed and how != "jvm":
            found.violations.append(f"{directory.name}: {how} {point} ended with {code}")
            return
    if not output.exists() or labels_sha256(output) != expected:
        found.violations.append(f"{directory.name}: other labels than the undisturbed run's")


def _changed(
    name: str, before: dict[str, bytes], attempts: dict[str, list[str]], output: Path
) -> Iterator[str]:
    """Say which committed work was changed, or done again."""
    after, again = committed(output), scored_attempts(output)
    for manifest, data in before.items():
        if after.get(manifest) != data:
            yield f"{name}: {manifest} was committed and is changed"
        round_ = Path(manifest).stem
        if len(again.get(round_, ())) > len(attempts.get(round_, ())):
            yield f"{name}: {round_} was committed and was scored again"


def _start(
    machine: Machine,
    command: list[str],
    directory: Path,
    how: str,
    point: str,
    chance: random.Random,
) -> int:
    """Start a run and kill it; return the code it ended with."""
    variables = dict(machine.environment) | ({"SPL_FAILPOINT": point} if point else {})
    if how not in ("time", "jvm"):
        return ended(command, variables, directory)
    with running(command, variables, directory) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(chance.uniform(*_RANDOM_S))
        victim = process.pid if how == "time" else _jvm_below(process.pid)
        if victim is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        return process.wait(300)


def _jvm_below(pid: int) -> int | None:
    """Return the JVM among a process and all below it, None before it has started."""
    found = [pid]
    for parent in found:
        for file in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in file.read_text().split()]
    return next((one for one in found if _name(one) == "java"), None)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def main() -> int:
    """Kill as often as asked for."""
    parser = argparse.ArgumentParser(prog="torture drivers", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        base = Path(name)
        found = kill_until(Machine.make(base), base, arguments.kills, arguments.seed).to_dict()
    found["seconds"] = round(time.monotonic() - started, 1)
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(bool(found["violations"]))


if __name__ == "__main__":
    sys.exit(main())
