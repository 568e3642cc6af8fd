"""A writer killed right before and right after every system call that changes the disk.

After each kill the output is opened by a fresh process: everything that the writer was told is
committed must be there, everything that is there must be whole, and another start must come to the
same end. A reader looks on all the time.
"""

from __future__ import annotations

import json
import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.readers import Reader, reading
from tests.torture.tracer import KILL, Decide, End, Stop, exit_code, fork, run
from tests.torture.workload import Ways, commits, problems_at_the_end, problems_of, to_the_end, work

# A start that is killed, and the one after it, and the one after that.
MOST_IN_A_ROW = 4
_SEED = 0


@dataclass
class Findings:
    """What a torture came to.

    Parameters
    ----------
    trials, kills
        Outputs made, writers killed.
    calls
        Kills by system call.
    codes
        Exit codes of writers that were not killed.
    violations
        Whatever must not be.
    """

    trials: int = 0
    kills: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, where: str, problems: Sequence[str]) -> None:
        """Note what went wrong, and where."""
        self.violations += [f"{where}: {problem}" for problem in problems]

    def document(self, reader: Reader | None = None) -> dict[str, Any]:
        """Return the findings as JSON has them, by what was violated."""
        told = self.violations + (reader.violations if reader else [])
        return {
            "trials": self.trials,
            "kills": self.kills,
            "kills_by_call": dict(self.calls.most_common()),
            "exit_codes": {str(code): n for code, n in sorted(self.codes.items())},
            "torn": sum(": torn" in one for one in told),
            "lost": sum(": lost" in one for one in told),
            "reads": reader.reads if reader else 0,
            "violations": told[:20],
        }


def kill_everywhere(
    base: Path, ways: Ways, kills: int, *, at: str | None = None, until_caught: bool = False
) -> dict[str, Any]:
    """Kill a writer `kills` times: first once at every stop, then several starts in a row.

    Parameters
    ----------
    base
        Where outputs are made.
    ways
        How the work is done.
    kills
        Planned; starts in a row may end before their stop. With fewer kills than stops, evenly
        spread ones are taken. 0 is the null control.
    at
        Only at this system call.
    until_caught
        Stop at the first violation.
    """
    findings = Findings()
    undisturbed, _ = run_traced(str(base / "undisturbed"), ways, lambda stop: None)
    stops = [stop.number for stop in undisturbed.stops if at in (None, stop.call)]
    with reading(ways) as reader:
        for row in _rows_of_kills(stops, kills):
            root = str(base / f"out-{findings.trials}")
            reader.look_at(root)
            findings.trials += 1
            _trial(root, ways, row, findings)
            if until_caught and findings.violations:
                break
    return {"stops": len(stops), **findings.document(reader)}


def run_traced(root: str, ways: Ways, decide: Decide) -> tuple[End, list[str]]:
    """Run a traced writer; return how it ended and which commits it was told of."""
    # Sent, not written: what it says costs no room on the disk and is no stop.
    ear, mouth = socket.socketpair()
    with ear:
        with mouth:
            ended = run(
                lambda: to_the_end(root, ways, lambda said: mouth.send(f"{said}\n".encode())),
                decide,
            )
        with ear.makefile() as heard:
            return ended, heard.read().split()


def ask(question: Callable[[], Any]) -> Any:
    """Return the answer of a fresh process."""
    answer_end, answer = os.pipe()
    child = fork(lambda: os.write(answer, json.dumps(question()).encode()))
    os.close(answer)
    with os.fdopen(answer_end) as opened:
        text = opened.read()
    exit_code(child)
    return json.loads(text) if text else ["lost: the question had no answer"]


def check_the_end(root: str, ways: Ways, where: str, findings: Findings) -> None:
    """Take an output to its end undisturbed, and compare."""
    before = ask(lambda: commits(root))
    code = exit_code(fork(lambda: to_the_end(root, ways)))
    if code:
        findings.add(where, [f"unfinished: the next start ended with {code}"])
    else:
        findings.add(where, ask(lambda: problems_at_the_end(root, before)))


def _rows_of_kills(stops: Sequence[int], kills: int) -> Iterator[list[int]]:
    """Yield for each output the stops at which its starts are killed, one after the other."""
    if kills == 0:
        yield []
    once = min(kills, len(stops))
    for i in range(once):
        yield [stops[i * len(stops) // once]]
    chance, left = random.Random(_SEED), kills - once
    while left > 0:
        row = [chance.choice(stops) for _ in range(min(left, MOST_IN_A_ROW))]
        # Starts that go on have less to do: earlier stops, so that most are reached.
        yield [1 + stop // (i + 1) for i, stop in enumerate(row)]
        left -= len(row)


def _trial(root: str, ways: Ways, row: Sequence[int], findings: Findings) -> None:
    where = f"killed at stops {row}"
    told: list[str] = []
    for number in row:
        ended, said = run_traced(root, ways, partial(_kill_at, number))
        told += said
        if ended.code < 0:
            findings.kills += 1
            findings.calls[ended.stops[-1].call] += 1
        findings.add(where, ask(partial(problems_of, root, told)))
    check_the_end(root, ways, where, findings)


def _kill_at(number: int, stop: Stop) -> str | None:
    return KILL if stop.number == number else None


def warm_up(base: Path) -> None:
    """Import everything now, so that children do not."""
    work(str(base / "warm"), Ways())
    problems_of(str(base / "warm"), [])
