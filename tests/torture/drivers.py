"""Kills of whole runs: the Python driver at every failpoint and at random times, and its JVM.

A sweep kills one run at each step in turn, every start at the step after the one before. The other
runs are killed by chance. Half of all are started by plain Python, which starts its JVM, half by
spark-submit, a JVM which starts Python. Prints one JSON document and ends with 1 if anything was
violated; see scripts/torture.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spark_pseudolabel.store.layout import VIEWS
from tests.cluster.processes import ENDS_WITHIN_S
from tests.cluster.tables import committed
from tests.torture.driver_races import race_drivers
from tests.torture.onlooker import Onlooker
from tests.torture.told import tell
from tests.torture.whole_runs import KILLED, Machine, Start, Undisturbed

How = Literal["point", "driver", "jvm", "none"]

_STEPS = ("publish.tmp", "publish.done")
_MODEL = ("train.collected", "model.fitted", "model.written", *(f"model.{s}" for s in _STEPS))
_SCORE = ("score.started", "broadcast.destroyed", "score.written", "verify.done")
_ROUND = (*_SCORE, *(f"round.{step}" for step in _STEPS))
_FINAL = tuple(f"final.{step}" for step in _STEPS)
_SWAP = ("view.swap.tmp", "view.swap.done")
_SWAP_AGAIN = ("view.swap.tmp", "view.swap.aside", "view.swap.done")
# Until the run has ended after one round; then its continuation, which replaces the tables.
SWEEP = (
    ("lease.taken", *_MODEL, *_ROUND, *_MODEL, *_FINAL, *_SWAP * len(VIEWS)),
    (*_ROUND, *_MODEL, *_FINAL, *_SWAP_AGAIN * len(VIEWS)),
)
_POINTS = tuple(dict.fromkeys(point for part in SWEEP for point in part))
# Then no kills any more, so that what the run comes to can be compared.
_LET_GO_AFTER = 20
_TRIES_UNDISTURBED = 3
_BUSY, _MOST_BUSY = 4, 100
# A driver whose JVM is gone says that another try may help.
_ENDS: dict[How, tuple[int, ...]] = {
    "point": KILLED,
    "driver": KILLED,
    "jvm": (10, *KILLED),
    "none": (),
}
# One whose JVM was killed before Spark ran says so.
_NOT_STARTED = (3, "Spark did not start")
_PATIENCE_S = 1.0
# Its own, and one that a JVM left behind by the start before began at its end.
_MOST_IN_VAIN = 2


class Kill(NamedTuple):
    """What is done to a start: armed at a point, or killed after some seconds."""

    how: How
    point: str = ""
    after_s: float = 0.0
    must_hit: bool = False


Phases = Iterable[tuple[Sequence[str], Iterable[Kill]]]
"""Further arguments, and the kills until the run with those has come to its end."""


@dataclass(frozen=True)
class Committed:
    """What an output holds: manifests by name, tries of steps, those of rounds in vain."""

    manifests: Mapping[str, bytes]
    tries: Counter[str]
    in_vain: frozenset[str]

    @classmethod
    def of(cls, output: Path) -> Committed:
        """Look at an output."""
        manifests = committed(output)
        named = {json.loads(data)["attempt_id"] for data in manifests.values()}
        tries = [
            path
            for path in output.glob("_attempts/*/*/*")
            if path.parent.name.startswith(("model-", "round-"))
        ]
        return cls(
            manifests,
            Counter(path.parent.name for path in tries),
            frozenset(path.name for path in tries if path.name not in named),
        )

    def problems_since(self, before: Committed) -> Iterator[str]:
        """Say what a start did to committed work, and whether it did too many steps in vain."""
        for name, data in before.manifests.items():
            step = Path(name).stem
            if self.manifests.get(name) != data:
                yield f"{name} was committed and is changed"
            if self.tries[step] > before.tries[step]:
                yield f"{step} was committed and is done again"
        if len(self.in_vain - before.in_vain) > _MOST_IN_VAIN:
            yield "more than the step in flight was lost"


@dataclass
class Found:
    """What the kills came to."""

    kills: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    jvm_exit_codes: Counter[int] = field(default_factory=Counter)
    runs: int = 0
    starts: int = 0
    busy: int = 0
    reads: int = 0
    steps_lost: int = 0
    violations: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kills": sum(self.kills.values()),
            "by_kind": dict(self.kills),
            "at_points": sum(self.points.values()),
            "points": dict(sorted(self.points.items())),
            "runs": self.runs,
            "starts": self.starts,
            "found_another_alive": self.busy,
            "steps_in_flight_lost": self.steps_lost,
            "jvm_exit_codes": {str(code): n for code, n in self.jvm_exit_codes.items()},
            "reads": self.reads,
            "violations": self.violations,
        }


@dataclass
class Torture:
    """Kills run after run on one machine."""

    machine: Machine
    base: Path
    chance: random.Random
    found: Found = field(default_factory=Found)

    def kill_until(self, kills: int, *, sweep: bool) -> Found:
        """Sweep both shapes if asked to, then kill by chance until there were so many kills."""
        undisturbed = Undisturbed.run(self.machine, self.base / "control")
        found = self.found
        with Onlooker(undisturbed.rounds) as onlooker:
            for submitted in (False, True) if sweep else ():
                self._run(_sweep(), undisturbed, onlooker, submitted)
            while sum(found.kills.values()) < kills:
                by_chance = [((), _chances(self.chance, undisturbed.seconds))]
                self._run(by_chance, undisturbed, onlooker, submitted=found.runs % 2 == 1)
        found.reads = onlooker.reads
        found.violations += onlooker.violations
        return found

    def _run(
        self, phases: Phases, undisturbed: Undisturbed, onlooker: Onlooker, submitted: bool
    ) -> None:
        self.found.runs += 1
        directory = self.base / f"run-{self.found.runs}"
        directory.mkdir()
        output = directory / "out"
        onlooker.look_at(output)
        with ExitStack() as left:
            for arguments, kills in phases:
                self._to_the_end(directory, arguments, kills, submitted, left)
        self._violated(directory, undisturbed.problems_of(output))
        onlooker.look_at(None)
        shutil.rmtree(directory)

    def _to_the_end(
        self,
        directory: Path,
        arguments: Sequence[str],
        kills: Iterable[Kill],
        submitted: bool,
        left: ExitStack,
    ) -> None:
        """Start a run again and again, each time with the next kill, until it comes to its end."""
        command = self.machine.command(directory, *arguments, submitted=submitted)
        for kill in kills:
            before = Committed.of(directory / "out")
            code = self._start(command, directory, kill, left)
            while code == _BUSY and self.found.busy < _MOST_BUSY:
                # A driver outlives its JVM by some seconds, and holds the output for so long.
                self.found.busy += 1
                time.sleep(_PATIENCE_S)
                code = self._start(command, directory, kill, left)
            after = Committed.of(directory / "out")
            self.found.steps_lost += len(after.in_vain - before.in_vain)
            self._violated(directory, after.problems_since(before))
            if code == 0:
                if kill.must_hit:
                    self._violated(directory, [f"{kill.point} was not reached"])
                return
        self._violated(directory, ["did not come to its end"])

    def _start(self, command: list[str], directory: Path, kill: Kill, left: ExitStack) -> int:
        """Start a run and kill it; return the code it ended with."""
        armed = {"SPL_FAILPOINT": kill.point} if kill.point else {}
        start = Start(command, {**self.machine.environment, **armed}, directory)
        self.found.starts += 1
        # What the start before left behind, such as its JVM, lives on until this one has ended.
        with left.pop_all():
            left.callback(start.end)
            code = start.wait(kill.after_s or ENDS_WITHIN_S)
            if code is None and kill.how != "point":
                start.kill(kill.how)
                code = start.wait()
        if code is None:
            raise TimeoutError(f"{command} must end within {ENDS_WITHIN_S:g} s.")
        ended, said = _NOT_STARTED
        unborn = kill.how == "jvm" and code == ended and said in start.last_words()
        if unborn or code in _ENDS[kill.how]:
            self._count(kill, code)
        elif code not in (0, _BUSY):
            self._violated(directory, [f"{kill} ended with {code}: {start.last_words()}"])
        return code

    def _count(self, kill: Kill, code: int) -> None:
        self.found.kills[kill.how] += 1
        if kill.point:
            self.found.points[kill.point.split(":")[0]] += 1
        if kill.how == "jvm":
            self.found.jvm_exit_codes[code] += 1

    def _violated(self, directory: Path, problems: Iterable[str]) -> None:
        self.found.violations += [f"{directory.name}: {problem}" for problem in problems]


def _sweep() -> Phases:
    for part, arguments in zip(SWEEP, (("--set", "rounds.max=1"), ()), strict=True):
        points = [Kill("point", point, must_hit=True) for point in part]
        yield arguments, [*points, Kill("none")]


def _chances(chance: random.Random, most_s: float) -> Iterator[Kill]:
    for _ in range(_LET_GO_AFTER):
        how: How = chance.choice(("point", "driver", "driver", "jvm"))
        if how == "point":
            yield Kill(how, f"{chance.choice(_POINTS)}:{chance.choice((1, 1, 2))}")
        else:
            yield Kill(how, after_s=chance.uniform(0.2, most_s))
    yield from [Kill("none")] * _TRIES_UNDISTURBED


def main() -> int:
    """Kill, or race, as often as asked for."""
    parser = argparse.ArgumentParser(prog="torture drivers", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--races", type=int, default=0, help="instead, two whole runs at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-sweep", action="store_true", help="kill by chance only")
    arguments = parser.parse_args()

    def torture(base: Path) -> dict[str, Any]:
        machine = Machine.make(base)
        if arguments.races:
            return race_drivers(machine, base, arguments.races)
        torture = Torture(machine, base, random.Random(arguments.seed))
        return torture.kill_until(arguments.kills, sweep=not arguments.no_sweep).to_dict()

    return tell(torture)


if __name__ == "__main__":
    sys.exit(main())
