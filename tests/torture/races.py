"""Two writers released at the same moment: one wins, the other ends with exit code 4."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spark_pseudolabel.store import store as store_module
from spark_pseudolabel.store.layout import COMMITS_DIR
from spark_pseudolabel.store.lease import hold
from tests.torture.kills import Findings, ask
from tests.torture.tracer import exit_code, fork
from tests.torture.workload import (
    IDENTITY,
    INPUTS,
    Ways,
    commit_step,
    problems_at_the_end,
    problems_of,
    work,
)

_PATIENCE_S = 20
Wait = Callable[[], None]


def race_everywhere(base: Path, ways: Ways, races: int) -> dict[str, Any]:
    """Race for a model's slot, for a round's slot, as whole runs, and for the lease, in turn."""
    findings = Findings()
    kinds = (_for_a_model, _for_a_round, _whole_runs, _for_the_lease)
    for number in range(races):
        race = kinds[number % len(kinds)]
        root = str(base / f"out-{number}")
        findings.trials += 1
        findings.add(f"{race.__name__} {number}", race(root, ways, findings))
    return findings.document()


def _for_the_lease(root: str, ways: Ways, findings: Findings) -> list[str]:
    release_end, release = os.pipe()

    def take(ready: Wait) -> None:
        os.close(release)
        ready()
        with hold(ways.files, root, owner="race"):
            # Held until the other one has given up.
            select.select([release_end], [], [], _PATIENCE_S)

    with _released_together(take):
        codes = [os.waitstatus_to_exitcode(os.wait()[1])]
        os.close(release)
        codes.append(os.waitstatus_to_exitcode(os.wait()[1]))
    os.close(release_end)
    findings.codes.update(codes)
    return [] if codes == [4, 0] else [f"ended with {codes}"]


def _for_a_model(root: str, ways: Ways, findings: Findings) -> list[str]:
    return _for_a_slot(root, ways, "model", findings)


def _for_a_round(root: str, ways: Ways, findings: Findings) -> list[str]:
    return _for_a_slot(root, ways, "round", findings)


def _for_a_slot(root: str, ways: Ways, kind: Any, findings: Findings) -> list[str]:
    def prepare() -> None:
        store = ways.store.begin(ways.files, root, IDENTITY, INPUTS, "0")
        if kind == "round":
            commit_step(store, ways, "model", 1)

    def publish(ready: Wait) -> None:
        store = ways.store.begin(ways.files, root, IDENTITY, INPUTS, "0")
        store_module.failpoint = lambda name: ready() if name == f"{kind}.publish.tmp" else None
        commit_step(store, ways, kind, 1)

    exit_code(fork(prepare))
    ended = _race(publish)
    findings.codes.update(ended.values())
    winners = {child for child, code in ended.items() if code == 0}
    return [
        *_wrong(ended, winners, _writers(root, f"{kind}-0001")),
        *ask(lambda: problems_of(root, [])),
    ]


def _whole_runs(root: str, ways: Ways, findings: Findings) -> list[str]:
    def run(ready: Wait) -> None:
        ready()
        work(root, ways)

    ended = _race(run)
    findings.codes.update(ended.values())
    winners = {child for child, code in ended.items() if code == 0}
    # Who comes late finds the run finished, which is no race.
    late = sorted(ended.values()) == [0, 0] and len(_writers(root)) == 1
    wrong = [] if late else _wrong(ended, winners, _writers(root, "final-0002"))
    return [*wrong, *ask(lambda: problems_at_the_end(root, []))]


def _wrong(ended: dict[int, int], winners: set[int], writers: set[int]) -> list[str]:
    if sorted(ended.values()) != [0, 4]:
        return [f"ended with {sorted(ended.values())}"]
    return [] if writers == winners else ["the slot is not the winner's"]


def _writers(root: str, name: str = "*") -> set[int]:
    """Return the processes whose manifests stand in the slots of a name."""
    found = Path(root).glob(f"{COMMITS_DIR}/*/{name}.json")
    return {json.loads(path.read_bytes())["writer"]["pid"] for path in found}


def _race(work: Callable[[Wait], None]) -> dict[int, int]:
    """Return the exit codes of two children by their pid."""
    with _released_together(work) as children:
        return {child: exit_code(child) for child in children}


@contextmanager
def _released_together(work: Callable[[Wait], None]) -> Iterator[list[int]]:
    """Fork two children that wait for each other where they call what they are given."""
    ready_end, ready = os.pipe()
    go_end, go = os.pipe()

    def one() -> None:
        os.close(go)
        os.close(ready_end)

        def wait() -> None:
            os.write(ready, b".")
            os.read(go_end, 1)

        work(wait)

    children = [fork(one), fork(one)]
    os.close(ready)
    for _ in children:
        os.read(ready_end, 1)
    os.close(go)
    os.close(ready_end)
    os.close(go_end)
    yield children
