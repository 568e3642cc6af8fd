"""Two whole runs on one output: one wins each slot, the other ends with exit code 4."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spark_pseudolabel.store.layout import LEASE_DIR
from tests.cluster.tables import committed
from tests.torture.whole_runs import KILLED, Machine, Start, Undisturbed

_LOOK_S = 0.02
# Longer than one of two that start together is behind the other, unless the machine is loaded.
_SLOT_S = 25
_LEASE = "lease.taken"
_LATE = [0, 0]
# Of so many tries one must be a race.
_TRIES = 3


@dataclass(frozen=True)
class Race:
    """What two runs race for.

    Parameters
    ----------
    after
        Where an earlier start was killed, so that the slot is the next one; empty: none was.
    slot
        Where both wait, without the lease that would stop one of them, unless it is the lease.
    """

    slot: str
    after: str = ""


RACES = {
    "lease": Race(_LEASE),
    "model": Race("model.publish.tmp"),
    "round": Race("round.publish.tmp", after="model.publish.done"),
    "final": Race("final.publish.tmp", after="model.publish.done:3"),
}


def race_drivers(machine: Machine, base: Path, races: int) -> dict[str, Any]:
    """Race for each in turn, so many times in all; return the findings as JSON has them.

    Who comes so late that the run is finished has not raced: it is tried again.
    """
    undisturbed = Undisturbed.run(machine, base / "control")
    codes: Counter[str] = Counter()
    violations: list[str] = []
    won = tries = 0
    while won < races and tries < _TRIES * races:
        kind, number = list(RACES)[won % len(RACES)], tries
        tries += 1
        directory = base / f"race-{number}"
        directory.mkdir()
        _prepare(machine, directory, RACES[kind])
        before = committed(directory / "out")
        ended = _race(machine, directory, RACES[kind])
        won += ended != _LATE
        codes[f"{kind}: {ended}"] += 1
        problems = [
            *_problems(directory / "out", ended, before),
            *undisturbed.problems_of(directory / "out"),
        ]
        violations += [f"{kind} {number}: {problem}" for problem in problems]
        shutil.rmtree(directory)
    if won < races:
        violations.append(f"{won} races in {tries} tries: one of two always came late")
    return {"races": won, "exit_codes": dict(sorted(codes.items())), "violations": violations}


def _prepare(machine: Machine, directory: Path, race: Race) -> None:
    if not race.after:
        return
    command = machine.command(directory, submitted=False)
    start = Start(command, {**machine.environment, "SPL_FAILPOINT": race.after}, directory)
    code = start.wait()
    start.end()
    assert code in KILLED, start.last_words()


def _race(machine: Machine, directory: Path, race: Race) -> list[int | None]:
    """Start a run by Python and one by spark-submit at once; return their exit codes, sorted."""
    variables = dict(machine.environment)
    with ExitStack() as stack:
        if race.slot != _LEASE:
            stack.enter_context(_without_lease(directory / "out"))
        variables["SPL_FAILPOINT"] = f"{race.slot}:sleep"
        variables["SPL_FAILPOINT_SECONDS"] = str(_SLOT_S)
        starts = []
        for submitted in (False, True):
            place = directory / ("submit" if submitted else "python")
            place.mkdir()
            command = machine.command(directory, submitted=submitted)
            starts.append(Start(command, variables, place))
            stack.callback(starts[-1].end)
        return sorted(start.wait() for start in starts)


def _problems(output: Path, ended: list[int | None], before: dict[str, bytes]) -> Iterator[str]:
    after = committed(output)
    if any(after.get(name) != data for name, data in before.items()):
        yield "a manifest was replaced"
    writers = {json.loads(after[name])["writer"]["pid"] for name in after.keys() - before.keys()}
    if len(writers) != 1:
        yield f"{len(writers)} processes have committed"
    if ended not in ([0, 4], _LATE):
        yield f"ended with {ended}"


@contextmanager
def _without_lease(output: Path) -> Iterator[None]:
    """Take every lease away as soon as it stands there."""
    ended = threading.Event()

    def take() -> None:
        while not ended.wait(_LOOK_S):
            shutil.rmtree(output / LEASE_DIR, ignore_errors=True)

    taking = threading.Thread(target=take)
    taking.start()
    try:
        yield
    finally:
        ended.set()
        taking.join()
