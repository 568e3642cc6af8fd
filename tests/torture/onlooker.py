"""A reader who never stops while whole runs are killed: each read must equal committed rounds."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pyarrow.parquet as pq

from spark_pseudolabel.columns import CODE, IN_ROUND, SCORE
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore

_PAUSE_S = 0.2
_MOST_TOLD = 10


def accepted_by_round(output: Path) -> tuple[str, ...]:
    """Read the accepted rows of every committed round; return a hash of each round's."""
    store = RoundStore.open(LocalFiles(), str(output))
    found = []
    for manifest in store.rounds:
        columns = ["row_id", CODE, SCORE, IN_ROUND]
        tables = [pq.read_table(output / one.path, columns=columns) for one in manifest.accepted]
        rows = sorted(
            row for table in tables for row in zip(*table.to_pydict().values(), strict=True)
        )
        found.append(hashlib.sha256(repr(rows).encode()).hexdigest())
    return tuple(found)


class Onlooker:
    """Reads one output after the other in a thread.

    Parameters
    ----------
    rounds
        What the rounds of an undisturbed run hold: each read must find the first few of them.
    """

    def __init__(self, rounds: tuple[str, ...]):
        self.reads = 0
        self.violations: list[str] = []
        self._rounds = rounds
        self._output: Path | None = None
        self._busy = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read_all, daemon=True)

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def look_at(self, output: Path | None) -> None:
        """Read this output from now on; the one before may be deleted afterwards."""
        with self._busy:
            self._output = output

    def _read_all(self) -> None:
        while not self._ended.wait(_PAUSE_S):
            with self._busy:
                if self._output is not None:
                    self._read(self._output)

    def _read(self, output: Path) -> None:
        try:
            found = accepted_by_round(output)
        except InputError:
            return  # nothing has begun there
        except Exception as error:  # noqa: BLE001  whatever a reader stumbles over
            self._violated(f"read: {type(error).__name__}: {error}")
            return
        self.reads += 1
        if found != self._rounds[: len(found)]:
            self._violated(f"read: uncommitted rows in {output}")

    def _violated(self, what: str) -> None:
        if len(self.violations) < _MOST_TOLD:
            self.violations.append(what)
