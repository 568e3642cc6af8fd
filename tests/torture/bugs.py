"""Planted bugs: ways to write that others have shipped, each of which a torture must catch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.layout import COMMITS_DIR
from spark_pseudolabel.store.manifest import Manifest
from spark_pseudolabel.store.store import Attempt, RoundStore
from tests.torture.kills import kill_everywhere
from tests.torture.outcomes import every_outcome
from tests.torture.races import race_everywhere
from tests.torture.workload import Ways

Torture = Callable[[Path, Ways], dict[str, Any]]


class AppendingFiles(LocalFiles):
    """Appends to the slot instead of taking it once."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.make_dirs(os.path.dirname(path))
        with open(path, "ab") as file:
            file.write(data)
        return True


class RenamingFiles(LocalFiles):
    """Publishes by a rename, which overwrites whoever was first."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.replace(path, data)
        return True


class LateFiles(LocalFiles):
    """Answers before it has written a manifest."""

    def __init__(self) -> None:
        self._waiting: tuple[str, bytes] | None = None

    def put_if_absent(self, path: str, data: bytes) -> bool:
        if COMMITS_DIR not in path:
            return super().put_if_absent(path, data)
        self._write()
        self._waiting = (path, data)
        return True

    def read(self, path: str) -> bytes:
        self._write()
        return super().read(path)

    def _write(self) -> None:
        if self._waiting is not None:
            super().put_if_absent(*self._waiting)
            self._waiting = None


class UncheckedFiles(LocalFiles):
    """Flushes nothing."""

    def sync(self, root: str, paths: Any) -> None: ...


class UncheckedStore(RoundStore):
    """Commits without looking whether the data is there."""

    def check_files(self, manifest: Manifest) -> None: ...


class DeletingStore(RoundStore):
    """Takes every error for a commit that did not land, and cleans up."""

    def _commit(self, cls: Any, attempt: Attempt, fields: Any) -> Any:
        try:
            return super()._commit(cls, attempt, fields)
        except Exception:
            self.files.delete_tree(attempt.path)
            raise


def read_everything(root: str) -> list[int]:
    """Read whatever matches, committed or not."""
    found = sorted(Path(root).glob("_attempts/*/round-*/*/accepted/file"))
    return [int(line) for path in found for line in path.read_text().splitlines()]


@dataclass(frozen=True)
class Bug:
    """A planted bug, the torture that must catch it, and what that must say."""

    ways: Ways
    torture: Torture
    said: str

    def caught_in(self, base: Path) -> list[str]:
        """Return how it was caught in a directory, nothing if it was not."""
        base.mkdir()
        found = self.torture(base, self.ways)["violations"]
        return [one for one in found if self.said in one][:1]


def kills(base: Path, ways: Ways) -> dict[str, Any]:
    return kill_everywhere(base, ways, kills=50, at="write", until_caught=True)


def reads(base: Path, ways: Ways) -> dict[str, Any]:
    return kill_everywhere(base, ways, kills=12, at="write")


def races(base: Path, ways: Ways) -> dict[str, Any]:
    return race_everywhere(base, ways, races=3)


BUGS = {
    "manifest before data": Bug(
        Ways(UncheckedFiles(), UncheckedStore, data_first=False), kills, "is not whole"
    ),
    "append instead of put if absent": Bug(Ways(AppendingFiles()), kills, "is empty"),
    "answer before the write": Bug(Ways(LateFiles()), kills, "lost: "),
    "reader that takes all files": Bug(Ways(read=read_everything), reads, "uncommitted rows"),
    "rename that overwrites": Bug(Ways(RenamingFiles()), races, "ended with [0, 0]"),
    "delete on error": Bug(Ways(store=DeletingStore), every_outcome, "deleted: "),
}


def catch_all(base: Path) -> dict[str, Any]:
    """Plant each bug, and none; tell what was caught, and that nothing was where nothing is."""
    caught = {
        name: bug.caught_in(base / str(number)) for number, (name, bug) in enumerate(BUGS.items())
    }
    (base / "control").mkdir()
    control = kill_everywhere(base / "control", Ways(), kills=0)["violations"]
    missed = [name for name, found in caught.items() if not found]
    return {
        "planted": len(BUGS),
        "caught": len(BUGS) - len(missed),
        "by_bug": caught,
        "violations": [f"not caught: {name}" for name in missed] + control,
    }
