"""A reader that never stops while writers are killed, and knows what it may find."""

from __future__ import annotations

import json
import os
import select
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from spark_pseudolabel.errors import InputError
from tests.torture.tracer import exit_code, fork
from tests.torture.workload import Ways, prefixes

_PAUSE_S = 0.002
_MAX_TOLD = 5


@dataclass
class Reader:
    """A process that reads one output after the other.

    Parameters
    ----------
    outputs
        Descriptor on which it is told the next output; it deletes the one before.
    reads, violations
        What it found, once it has ended.
    """

    outputs: int
    reads: int = 0
    violations: list[str] = field(default_factory=list)

    def look_at(self, root: str) -> None:
        """Read this output from now on; the one before is not needed any more."""
        os.write(self.outputs, f"{root}\n".encode())


@contextmanager
def reading(ways: Ways) -> Iterator[Reader]:
    """Run a reader while the context lasts."""
    outputs_end, outputs = os.pipe()
    found, found_end = os.pipe()
    child = fork(lambda: _read_all(ways, outputs_end, outputs, found_end))
    os.close(outputs_end)
    os.close(found_end)
    reader = Reader(outputs)
    try:
        yield reader
    finally:
        os.close(outputs)
        with os.fdopen(found) as answer:
            text = answer.read()
        exit_code(child)
    reader.reads, reader.violations = json.loads(text)


def _read_all(ways: Ways, outputs: int, writing_end: int, found: int) -> None:
    os.close(writing_end)
    reads, violations, root = 0, [], ""
    for told in _told(outputs):
        if told is not None:
            shutil.rmtree(root, ignore_errors=True)
            root = told
        elif root:
            reads += 1
            violations += _violations(ways, root)
    shutil.rmtree(root, ignore_errors=True)
    os.write(found, json.dumps([reads, violations[:_MAX_TOLD]]).encode())


def _told(outputs: int) -> Iterator[str | None]:
    """Yield the next output where there is one, else None, until nobody tells any more."""
    with os.fdopen(outputs) as lines:
        while True:
            if not select.select([lines], [], [], _PAUSE_S)[0]:
                yield None
            elif line := lines.readline():
                yield line.strip()
            else:
                return


def _violations(ways: Ways, root: str) -> list[str]:
    try:
        rows = ways.read(root)
    except InputError:
        return []  # nothing has begun there
    except Exception as error:  # noqa: BLE001  whatever a reader stumbles over
        return [f"read: {type(error).__name__}: {error}"]
    return [] if rows in prefixes() else [f"read: uncommitted rows {rows}"]
