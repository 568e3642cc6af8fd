"""How far a long computation has come, kept in the output so that a killed run goes on from there.

What is kept says nothing that is not computed again without it: it is written by no commit, named
by no manifest, and garbage once the run has ended.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.store.files import Files, join

_DONE = "reached.npz"
_LENGTHS, _NAMES = "file_lengths", "file_names"

Remembered = Mapping[str, NDArray]  # type: ignore[type-arg]
"""Arrays by their names."""


@dataclass(frozen=True)
class Milestone:
    """Something that was reached.

    Parameters
    ----------
    path
        The directory of its files.
    remembered
        What was to be remembered with them.
    """

    path: str
    remembered: Remembered


@dataclass(frozen=True)
class Milestones:
    """Those of one computation.

    Parameters
    ----------
    files
        The output's.
    folder
        Full path or URI of the directory that holds them; what is computed is part of its name.
    """

    files: Files
    folder: str

    @contextlib.contextmanager
    def reaching(self, number: int) -> Iterator[str]:
        """Give the directory for the files of the next one; what a crash left there is deleted."""
        path = self._path(number)
        self.files.delete_tree(path)
        yield self._data(number)

    def reached(self, number: int, remembered: Remembered) -> None:
        """Make a milestone count, and forget those before it."""
        listed = self.files.list(self._data(number))
        sink = io.BytesIO()
        values = {
            **{name: np.asarray(value) for name, value in remembered.items()},
            _NAMES: np.array([info.path for info in listed], dtype=str),
            _LENGTHS: np.array([info.bytes for info in listed], dtype=np.int64),
        }
        np.savez(sink, allow_pickle=False, **values)
        self.files.replace(join(self._path(number), _DONE), sink.getvalue())
        for name in self.files.names(self.folder):
            if name != self._name(number):
                self.files.delete_tree(join(self.folder, name))

    def latest(self) -> Milestone | None:
        """Return the last one that was reached, None if there is none that is whole."""
        for name in sorted(self.files.names(self.folder), reverse=True):
            remembered = self._remembered(join(self.folder, name))
            if remembered is not None:
                return Milestone(join(self.folder, f"{name}/data"), remembered)
        return None

    def _remembered(self, path: str) -> Remembered | None:
        try:
            data = io.BytesIO(self.files.read(join(path, _DONE)))
            with np.load(data, allow_pickle=False) as kept:
                values = {name: kept[name] for name in kept.files}
        except (OSError, ValueError, BadZipFile, EOFError):  # none, or not whole
            return None
        listed = {info.path: info.bytes for info in self.files.list(join(path, "data"))}
        expected = dict(zip(values.pop(_NAMES), values.pop(_LENGTHS), strict=True))
        whole = all(listed.get(str(name)) == length for name, length in expected.items())
        return values if whole else None

    def _path(self, number: int) -> str:
        return join(self.folder, self._name(number))

    def _data(self, number: int) -> str:
        return join(self._path(number), "data")

    @staticmethod
    def _name(number: int) -> str:
        return f"step-{number:06d}"
