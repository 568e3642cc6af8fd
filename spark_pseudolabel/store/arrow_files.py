"""File systems that pyarrow opens, for the commands that start no JVM."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow
from pyarrow import fs

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import (
    FileInfo,
    Listing,
    Names,
    local_path,
    scheme_of,
)

UNKNOWN = "unknown_file_system"
"""Code of the error for a place that pyarrow has no way to, where Spark may have one."""


@contextlib.contextmanager
def reached_otherwise() -> Iterator[None]:
    """Let what pyarrow can't open pass: what follows the block takes another way there."""
    try:
        yield
    except OSError:
        return
    except InputError as error:
        if error.code != UNKNOWN:
            raise


class ArrowFiles:
    """One file system of pyarrow, for reading.

    Parameters
    ----------
    filesystem
        A ``pyarrow.fs.FileSystem``.

    Notes
    -----
    pyarrow offers no conditional write, hence no `put_if_absent`: runs that write to such a place
    go through Spark's file systems.
    """

    def __init__(self, filesystem: Any):
        self._fs = filesystem

    @classmethod
    def for_uri(cls, uri: str) -> ArrowFiles:
        """Open the file system that serves `uri`; InputError if none does."""
        try:
            filesystem, _ = fs.FileSystem.from_uri(_arrow_uri(uri))
        except (
            pyarrow.ArrowInvalid,
            pyarrow.ArrowNotImplementedError,
            OSError,
        ) as error:
            raise InputError(
                f"No file system serves {uri!r}: {error}. Use a local path, or one of the schemes "
                "file, s3, s3a, gs, hdfs, abfs, abfss.",
                code=UNKNOWN,
                where=uri,
            ) from error
        return cls(filesystem)

    def read(self, path: str) -> bytes:
        with self._fs.open_input_stream(arrow_path(path)) as stream:
            return bytes(stream.read())

    def put_if_absent(self, path: str, data: bytes) -> bool:
        raise _needs_spark(path)

    def replace(self, path: str, data: bytes) -> None:
        with self._fs.open_output_stream(arrow_path(path)) as stream:
            stream.write(data)

    def exists(self, path: str) -> bool:
        return bool(self._type(path) != fs.FileType.NotFound)

    def names(self, path: str) -> Names:
        return sorted(info.base_name for info in self._infos(path, recursive=False))

    def list(self, path: str) -> Listing:
        kinds = fs.FileType
        if self._type(path) == kinds.File:
            info = self._fs.get_file_info(arrow_path(path))
            return [FileInfo("", info.size, info.mtime_ns)]
        base = PurePosixPath(arrow_path(path))
        return sorted(
            FileInfo(
                str(PurePosixPath(info.path).relative_to(base)),
                info.size,
                info.mtime_ns,
            )
            for info in self._infos(path, recursive=True)
            if info.type == kinds.File
        )

    def delete_tree(self, path: str) -> None:
        raise _needs_spark(path)

    def rename_dir(self, src: str, dst: str) -> None:
        raise _needs_spark(dst)

    def make_dirs(self, path: str) -> None:
        self._fs.create_dir(arrow_path(path), recursive=True)

    def open_input(self, path: str) -> BinaryIO:
        opened: BinaryIO = self._fs.open_input_file(arrow_path(path))
        return opened

    def open_output(self, path: str) -> Any:
        """Open a file for writing, its directories made; what was there before is lost."""
        self.make_dirs(path.rpartition("/")[0])
        return self._fs.open_output_stream(arrow_path(path))

    def sync(self, root: str, paths: Iterable[str]) -> None:
        """Do nothing: a closed file is durable on the stores served here."""

    def _type(self, path: str) -> Any:
        return self._fs.get_file_info(arrow_path(path)).type

    def _infos(self, path: str, recursive: bool) -> Any:
        selector = fs.FileSelector(arrow_path(path), allow_not_found=True, recursive=recursive)
        return self._fs.get_file_info(selector)


def _arrow_uri(uri: str) -> str:
    return re.sub(r"^s3[an]:", "s3:", uri)


def arrow_path(path: str) -> str:
    """Return a path as Arrow's file systems spell it: without the scheme."""
    scheme = scheme_of(path)
    if not scheme:
        return path
    rest = path.split(":", 1)[1]
    if scheme == "hdfs" and rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]
    if scheme in ("abfs", "abfss"):
        container, _, tail = rest[2:].partition("/")
        rest = f"{container.partition('@')[0]}/{tail}"
    return rest.removeprefix("//") if scheme != "file" else local_path(path)


def _needs_spark(path: str) -> InputError:
    return InputError(
        f"Writing to {path!r} needs Spark's file systems: pyarrow cannot put a file only if it is "
        "absent. Run this through `spark-pseudolabel run` or the Python API with a session.",
        code="needs_spark",
        where=path,
    )
