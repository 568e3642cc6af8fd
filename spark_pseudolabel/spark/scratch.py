"""A directory of the output for rows on their way between driver and workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from spark_pseudolabel.store.files import Files, join


@dataclass(frozen=True)
class Scratch:
    """Where workers leave what is too large to pass through the JVM's memory.

    Nothing there outlives the call that asked for it; what a crash leaves is garbage to ``gc``.

    Parameters
    ----------
    files
        The output's file system, as the driver reaches it.
    path
        Full path or URI of the directory, which workers reach, too.
    """

    files: Files
    path: str

    def read(self, name: str) -> pa.Table:
        """Read a file that holds an Arrow stream."""
        return pa.ipc.open_stream(self.files.read(join(self.path, name))).read_all()

    def put(self, name: str, data: bytes) -> str:
        """Write a file for workers; return its full path."""
        path = join(self.path, name)
        self.files.replace(path, data)
        return path

    @contextlib.contextmanager
    def cleared(self) -> Iterator[None]:
        """Delete what is there once the block ends, however it does."""
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self.files.delete_tree(self.path)
