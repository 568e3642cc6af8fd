"""A publish whose answer is lost, that does not land, or that nobody can read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spark_pseudolabel.store.files import LocalFiles
from tests.torture.kills import Findings, check_the_end
from tests.torture.tracer import exit_code, fork
from tests.torture.workload import Ways, problems_of, work

STEPS = ("model-0001", "round-0001", "model-0002", "round-0002", "model-0003", "final-0002")
Put = Callable[[str, bytes], bool]


class FailingFiles(LocalFiles):
    """Local files where the publish of one step ends in a certain way."""

    def __init__(self, inner: LocalFiles, step: str, outcome: str):
        self._inner = inner
        self._slot = f"/{step}.json"
        self._outcome = outcome

    def put_if_absent(self, path: str, data: bytes) -> bool:
        if not path.endswith(self._slot):
            return self._inner.put_if_absent(path, data)
        if self._outcome == "another's":
            self._inner.put_if_absent(path, b'{"commit_id":"x","writer":{"host":"h","pid":1}}')
        elif self._outcome.startswith("landed"):
            self._inner.put_if_absent(path, data)
        raise TimeoutError("no answer")

    def read(self, path: str) -> bytes:
        if path.endswith(self._slot) and self._outcome.endswith("unreadable"):
            raise ConnectionError("no answer")
        return self._inner.read(path)


# What the exit code must be: a lost answer is a success, another's content a lost slot, a slot
# that cannot be read an unknown outcome, and one that is empty a failure that a rerun mends.
OUTCOMES = {
    "landed": 0,
    "another's": 4,
    "landed, unreadable": 6,
    "not landed, unreadable": 6,
    "not landed": 10,
}


def every_outcome(base: Path, ways: Ways) -> dict[str, Any]:
    """Let the publish of each step end in each way."""
    findings = Findings()
    for step in STEPS:
        for outcome, code in OUTCOMES.items():
            root = str(base / f"out-{findings.trials}")
            findings.trials += 1
            _trial(root, ways, step, outcome, code, findings)
    return findings.document()


def _trial(root: str, ways: Ways, step: str, outcome: str, right: int, findings: Findings) -> None:
    where = f"{step} {outcome}"
    inner = ways.files
    assert isinstance(inner, LocalFiles)
    failing = replace(ways, files=FailingFiles(inner, step, outcome))
    code = exit_code(fork(lambda: work(root, failing)))
    findings.codes[code] += 1
    if code != right:
        findings.add(where, [f"ended with {code}, not {right}"])
    if gone := _attempts_of(step) - _attempts(root):
        findings.add(where, [f"deleted: {sorted(gone)}"])
    if outcome == "another's":
        return  # what stands there is nobody's manifest
    findings.add(where, problems_of(root, []))
    check_the_end(root, ways, where, findings)


def _attempts_of(step: str) -> set[str]:
    """Return the steps whose data must be there once a step has been tried."""
    return {name for name in STEPS[: STEPS.index(step) + 1] if not name.startswith("final")}


def _attempts(root: str) -> set[str]:
    return {file.parts[-4] for file in Path(root).glob("_attempts/*/*/*/accepted/file")}
