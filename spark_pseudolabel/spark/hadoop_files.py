"""The store's file operations on whatever Hadoop's clients reach: HDFS, S3A, ABFS, GCS."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast
from uuid import uuid4

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import IllegalArgumentException, PySparkException
from pyspark.sql import SparkSession

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import (
    HDFS_SCHEMES,
    FileInfo,
    Files,
    Listing,
    Names,
    scheme_of,
)

Statuses = list[tuple[str, bool, int, int]]

# Here a rename that must not overwrite is one atomic step.
_RENAME_SCHEMES = HDFS_SCHEMES
# Here `create` without "overwrite" looks first and writes later, and a second writer who looked in
# between replaces the first one's file; only this option makes the store itself refuse.
_CONDITIONAL_SCHEMES = frozenset({"s3a"})
_CONDITIONAL = "fs.option.create.conditional.overwrite"
_CHUNK = 8 * 2**20
# How Hadoop's FileStatus writes itself; a directory has no length.
_STATUS = re.compile(
    r"\w+\{path=(.*?); isDirectory=(true|false)(?:; length=(\d+))?[^{}]*?; "
    r"modification_time=(\d+);[^{}]*\}"
)
_MISSING = ("java.io.FileNotFoundException", "java.nio.file.NoSuchFileException")
_EXISTING = (
    "org.apache.hadoop.fs.FileAlreadyExistsException",
    "java.nio.file.FileAlreadyExistsException",
    # What an object store's "precondition failed" becomes.
    "org.apache.hadoop.fs.s3a.RemoteFileChangedException",
)


def files_for(spark: SparkSession, uri: str) -> tuple[Files, str]:
    """Choose the file system of a path as Spark would.

    Parameters
    ----------
    spark
        A classic session; its ``fs.defaultFS`` decides about a plain path.
    uri
        Path or URI.

    Returns
    -------
    tuple
        `LocalFiles` for local paths, else `HadoopFiles`; and the full path or URI, without a
        slash at the end.

    Raises
    ------
    InputError
        If Spark has no file system for the scheme.
    """
    if scheme_of(uri) == "file":
        return open_files(uri)
    files = HadoopFiles(spark)
    try:
        full = files.qualified(uri)
    except OSError as error:
        raise InputError(
            f"Spark cannot open {uri!r}: {error}. Check the path; object stores need their jar, "
            "such as --packages org.apache.hadoop:hadoop-aws:<version of Hadoop> for s3a.",
            code="unknown_file_system",
            where=uri,
        ) from error
    return open_files(uri) if scheme_of(full) == "file" else (files, full.rstrip("/"))


class HadoopFiles:
    """Hadoop's file systems, through the session's JVM; see `Files` for what each method does.

    Parameters
    ----------
    spark
        A classic session.
    """

    def __init__(self, spark: SparkSession):
        self._jvm: Any = spark._jvm
        self._gateway: Any = spark.sparkContext._gateway
        self._conf: Any = cast(Any, spark.sparkContext)._jsc.hadoopConfiguration()

    def qualified(self, path: str) -> str:
        """Return the full URI of a path."""
        with _python_errors(path):
            filesystem, hadoop_path = self._open(path)
            return str(filesystem.makeQualified(hadoop_path).toString())

    def read(self, path: str) -> bytes:
        with tempfile.NamedTemporaryFile() as local, _python_errors(path):
            filesystem, hadoop_path = self._open(path)
            source = filesystem.open(hadoop_path)
            self._copy(source, self._jvm.java.io.FileOutputStream(local.name))
            return local.read()

    def put_if_absent(self, path: str, data: bytes) -> bool:
        try:
            if scheme_of(path) not in _RENAME_SCHEMES:
                self._create(path, data, overwrite=False)
                return True
            return self._write_and_rename(path, data, "NONE")
        except FileExistsError:
            return False

    def replace(self, path: str, data: bytes) -> None:
        if scheme_of(path) in _RENAME_SCHEMES:
            self._write_and_rename(path, data, "OVERWRITE")
        else:
            self._create(path, data, overwrite=True)

    def exists(self, path: str) -> bool:
        with _python_errors(path):
            filesystem, hadoop_path = self._open(path)
            return bool(filesystem.exists(hadoop_path))

    def names(self, path: str) -> Names:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _python_errors(path):
            filesystem, hadoop_path = self._open(path)
            if filesystem.getFileStatus(hadoop_path).isDirectory():
                statuses = filesystem.listStatus(hadoop_path)
                return sorted(str(status.getPath().getName()) for status in statuses)
        return []

    def list(self, path: str) -> Listing:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _python_errors(path):
            filesystem, hadoop_path = self._target(*self._open(path), path)
            base = str(filesystem.makeQualified(hadoop_path).toString()).rstrip("/")
            return sorted(self._walk(filesystem, hadoop_path, base))
        return []

    def delete_tree(self, path: str) -> None:
        with _python_errors(path):
            filesystem, hadoop_path = self._open(path)
            filesystem.delete(hadoop_path, True)

    def rename_dir(self, src: str, dst: str) -> None:
        if self.exists(dst):
            raise FileExistsError(f"cannot rename {src}: {dst} exists")
        self.make_dirs(_parent(dst))
        if scheme_of(dst) in _RENAME_SCHEMES:
            self._rename(src, dst, "NONE")
            return
        with _python_errors(src):
            filesystem, hadoop_path = self._open(src)
            if not filesystem.rename(hadoop_path, self._path(dst)):
                raise OSError(f"cannot rename {src} to {dst}: the file system refused")

    def make_dirs(self, path: str) -> None:
        with _python_errors(path):
            filesystem, hadoop_path = self._open(path)
            filesystem.mkdirs(hadoop_path)

    def open_input(self, path: str) -> BinaryIO:
        with _python_errors(path):
            filesystem, hadoop_path = self._open(path)
            length = int(filesystem.getFileStatus(hadoop_path).getLen())
            raw = _HadoopInput(filesystem.open(hadoop_path), path, length)
        return io.BufferedReader(raw, _CHUNK)

    def sync(self, root: str, paths: Iterable[str]) -> None:
        """Do nothing: what is closed there is durable."""

    def _path(self, path: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(path)

    def _open(self, path: str) -> tuple[Any, Any]:
        hadoop_path = self._path(path)
        return hadoop_path.getFileSystem(self._conf), hadoop_path

    def _target(self, filesystem: Any, hadoop_path: Any, path: str) -> tuple[Any, Any]:
        """Return where a link leads: a status that came through one writes no path of itself."""
        if scheme_of(path) != "viewfs":
            return filesystem, hadoop_path
        target = filesystem.resolvePath(hadoop_path)
        return target.getFileSystem(self._conf), target

    def _walk(self, filesystem: Any, folder: Any, base: str) -> Iterator[FileInfo]:
        for path, is_directory, length, modified in self._statuses(filesystem, folder):
            if is_directory:
                yield from self._walk(filesystem, self._path(path), base)
            else:
                relative = path.removeprefix(base).lstrip("/")
                yield FileInfo(relative, length, modified * 1_000_000)

    def _statuses(self, filesystem: Any, folder: Any) -> Statuses:
        """List one directory with one call: asking each status for its parts takes 10 ms a file."""
        statuses = filesystem.listStatus(folder)
        together = self._jvm.scala.collection.mutable.ArraySeq.make(statuses).toString()
        parsed = list(_parsed(str(together)))
        # A directory of links has no target, and each status in it is one that came through a link.
        if len(parsed) == len(statuses) and all(path != "null" for path, *_ in parsed):
            return parsed
        return [
            (
                str(status.getPath().toString()),
                bool(status.isDirectory()),
                int(status.getLen()),
                int(status.getModificationTime()),
            )
            for status in statuses
        ]

    def _create(self, path: str, data: bytes, overwrite: bool) -> None:
        with tempfile.NamedTemporaryFile() as local, _python_errors(path):
            local.write(data)
            local.flush()
            filesystem, hadoop_path = self._open(path)
            if overwrite or scheme_of(path) not in _CONDITIONAL_SCHEMES:
                target = filesystem.create(hadoop_path, overwrite)
            else:
                target = _created_on_condition(filesystem, hadoop_path, path)
            self._copy(self._jvm.java.io.FileInputStream(local.name), target)

    def _copy(self, source: Any, target: Any) -> None:
        """Copy within the JVM: bytes that pass its socket to Python take a second per 5 MB.

        The target is closed only after success, since that is what publishes on an object store.
        """
        self._jvm.org.apache.hadoop.io.IOUtils.copyBytes(source, target, _CHUNK, False)
        source.close()
        target.close()

    def _write_and_rename(self, path: str, data: bytes, how: str) -> bool:
        folder, name = _parent(path), path.rpartition("/")[2]
        temp = f"{folder}/.{name}.{uuid4().hex}.tmp"
        self._create(temp, data, overwrite=False)
        try:
            self._rename(temp, path, how)
        except FileExistsError:
            self.delete_tree(temp)
            return False
        return True

    def _rename(self, src: str, dst: str, how: str) -> None:
        with _python_errors(dst):
            hadoop = self._jvm.org.apache.hadoop.fs
            context = hadoop.FileContext.getFileContext(self._path(dst).toUri(), self._conf)
            options = self._gateway.new_array(hadoop.Options.Rename, 1)
            options[0] = getattr(hadoop.Options.Rename, how)
            context.rename(self._path(src), self._path(dst), options)


class _HadoopInput(io.RawIOBase):
    """A Hadoop stream as Python's readers expect one."""

    def __init__(self, stream: Any, path: str, length: int):
        self._stream = stream
        self._where = path
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        # RawIOBase would ask for 8 kB at a time, each a call into the JVM.
        parts = []
        while self._position < self._length:
            parts.append(self._next(self._length - self._position))
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def _next(self, wanted: int) -> bytes:
        size = max(0, min(wanted, self._length - self._position, _CHUNK))
        with _python_errors(self._where):
            self._stream.seek(min(self._position, self._length))
            data = bytes(self._stream.readNBytes(size))
        if len(data) < size:
            raise OSError(f"{self._where} became shorter while it was read")
        self._position += size
        return data

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError), _python_errors(self._where):
                self._stream.close()
        super().close()


def _created_on_condition(filesystem: Any, hadoop_path: Any, path: str) -> Any:
    builder = filesystem.createFile(hadoop_path).recursive().overwrite(False)
    try:
        return builder.must(_CONDITIONAL, "true").build()
    except IllegalArgumentException as error:
        raise InputError(
            f"Spark's client for {path!r} must be able to put a file only if it is absent. It does "
            f"not know {_CONDITIONAL}: use a newer one; that of Hadoop 3.5.0 (Spark 4.3) does.",
            code="no_put_if_absent",
            where=path,
        ) from error


def _parsed(text: str) -> Iterator[tuple[str, bool, int, int]]:
    for match in _STATUS.finditer(text):
        path, directory, length, modified = match.groups()
        yield path, directory == "true", int(length or 0), int(modified)


def _parent(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0]


@contextlib.contextmanager
def _python_errors(path: str) -> Iterator[None]:
    """Turn the JVM's exceptions into those of Python's own file functions."""
    try:
        yield
    except Py4JJavaError as error:
        thrown = error.java_exception
        name, message = str(thrown.getClass().getName()), str(thrown.getMessage())
        if name in _MISSING:
            raise FileNotFoundError(path) from error
        if name in _EXISTING:
            raise FileExistsError(path) from error
        raise OSError(f"{path}: {name}: {message}") from error
    except (Py4JError, PySparkException) as error:  # no connection; what pyspark translates itself
        raise OSError(f"{path}: {str(error).splitlines()[0]}") from error
