"""Few operations on one file system: the only ones the store is built from.

What the store needs beyond ordinary reading and writing is *put if absent*: of any number of
writers exactly one wins, and a winner's bytes survive a crash. Each file system reaches that its
own way; an implementation that cannot says so instead of pretending.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast
from uuid import uuid4

from spark_pseudolabel.errors import InputError, RunFailedError

HDFS_SCHEMES = frozenset({"hdfs", "viewfs", "webhdfs", "swebhdfs"})
"""Where a name node decides: a rename is one step there."""

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")

# FUSE mounts and some network file systems refuse hard links with one of these (delta-rs #1868).
_LINKS_REFUSED = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.EMLINK,
    }
)
# Some file systems do not know fsync of a directory; they have no weaker promise to offer.
_FSYNC_UNKNOWN = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})

_SYNCS = 8
"""Files that are made safe at once: a disk that others use answers them together, tens of thousands
in seconds instead of minutes."""


@dataclass(frozen=True, order=True)
class FileInfo:
    """One file as a listing shows it.

    Parameters
    ----------
    path
        Relative to the listed directory, with ``/``; empty if the listed path is itself a file.
    bytes
        Length.
    mtime_ns
        Time of the last change in nanoseconds, None where the file system does not tell.
    """

    path: str
    bytes: int
    mtime_ns: int | None = None


# Names for results: inside a class with a method `list`, `list[...]` would mean the method.
Names = list[str]
Listing = list[FileInfo]


class Files(Protocol):
    """One file system; every path is full (absolute path or URI)."""

    def read(self, path: str) -> bytes:
        """Return the whole content; FileNotFoundError if there is none."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create `path` with `data`, durably and whole; False if it exists already."""

    def replace(self, path: str, data: bytes) -> None:
        """Write `path`, whatever was there; for information only, never for decisions."""

    def exists(self, path: str) -> bool:
        """Tell whether a file or directory is there."""

    def names(self, path: str) -> Names:
        """Return the sorted names directly below a directory, none if there is no directory."""

    def list(self, path: str) -> Listing:
        """Return all files below `path`, sorted by path, none if it is missing."""

    def delete_tree(self, path: str) -> None:
        """Delete a file, or a directory with all that it holds; silent if missing."""

    def rename_dir(self, src: str, dst: str) -> None:
        """Give a directory another name; FileExistsError if that exists."""

    def make_dirs(self, path: str) -> None:
        """Create a directory and its parents; silent if it exists."""

    def open_input(self, path: str) -> BinaryIO:
        """Open a file for reading; the result can seek, and is pyarrow's own where it can be."""

    def sync(self, root: str, paths: Iterable[str]) -> None:
        """Make files that others wrote below `root` survive a crash of the machine."""


def scheme_of(uri: str) -> str:
    """Return the lower-case scheme of a URI, empty for a plain path.

    Examples
    --------
    >>> scheme_of("s3a://bucket/out"), scheme_of("out/income"), scheme_of("file:///tmp")
    ('s3a', '', 'file')
    """
    match = _SCHEME.match(uri)
    return match.group(1).lower() if match else ""


def join(root: str, relative: str) -> str:
    """Return the full path of `relative` below `root`; `root` itself if `relative` is empty."""
    return f"{root.rstrip('/')}/{relative}" if relative else root


def require_seen(folder: str, written: Iterable[str], listed: Iterable[str]) -> None:
    """Require that the driver sees every file which a worker says it has written.

    Parameters
    ----------
    folder
        Full path.
    written, listed
        Paths below it: what workers said, what the driver sees.

    Raises
    ------
    RunFailedError
        Naming the first that it does not see.
    """
    missing = sorted(set(written) - set(listed))
    if missing:
        where = join(folder, missing[0])
        raise RunFailedError(
            f"{where} must be there, since a worker has written it, and is not for the driver "
            f"({len(missing):,} of such files). Every node must reach output.path by the same "
            "name: look for one whose network disk is gone, then run again.",
            code="file_not_seen",
            where=where,
        )


def unglobbed(path: str) -> str:
    """Return a path as Spark's readers take it, which find patterns in brackets and stars."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)


def same_system(uri: str, other: str) -> bool:
    """Whether two full paths or URIs are on one file system: the same scheme and host or bucket.

    Examples
    --------
    >>> same_system("s3a://a/pool", "s3a://a/test"), same_system("s3a://a/pool", "/data/test")
    (True, False)
    """
    return _system(uri) == _system(other)


def _system(uri: str) -> tuple[str, str]:
    scheme = scheme_of(uri)
    if scheme in ("", "file"):
        return "", ""
    return scheme, uri.split(":", 1)[1].removeprefix("//").partition("/")[0]


def local_path(path: str) -> str:
    """Return the plain path of a path or ``file:`` URI.

    Nothing is percent-decoded: Hadoop does not either when it is given a string.

    Examples
    --------
    >>> local_path("file:///tmp/a"), local_path("file:/tmp/a"), local_path("a b")
    ('/tmp/a', '/tmp/a', 'a b')
    """
    if scheme_of(path) != "file":
        return path
    rest = path.split(":", 1)[1]
    if not rest.startswith("//"):
        return rest
    host, slash, tail = rest[2:].partition("/")
    if host not in ("", "localhost"):
        raise InputError(
            f"A file: URI must not name a host. Got {path!r}; write file:///path or a plain path.",
            where=path,
        )
    return slash + tail


class LocalFiles:
    """The local disk, or what is mounted on it.

    Hadoop's own local file system checks for existence and then acts, so two writers can both
    win; here a hard link decides, which is atomic on every POSIX file system that has it.
    """

    def read(self, path: str) -> bytes:
        with open(local_path(path), "rb") as file:
            return file.read()

    def put_if_absent(self, path: str, data: bytes) -> bool:
        target = local_path(path)
        self.make_dirs(os.path.dirname(target))
        temp = _write_temp(target, data)
        try:
            won = _link(temp, target)
            if won:
                _fsync_dir(os.path.dirname(target))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temp)
        return won

    def replace(self, path: str, data: bytes) -> None:
        target = local_path(path)
        self.make_dirs(os.path.dirname(target))
        temp = _write_temp(target, data)
        try:
            os.replace(temp, target)
        except BaseException:
            os.unlink(temp)
            raise

    def exists(self, path: str) -> bool:
        return os.path.lexists(local_path(path))

    def names(self, path: str) -> Names:
        try:
            return sorted(os.listdir(local_path(path)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def list(self, path: str) -> Listing:
        root = local_path(path)
        if os.path.isfile(root):
            return [_info(root, "")]
        return sorted(_walk(root, "", set()))

    def delete_tree(self, path: str) -> None:
        target = local_path(path)
        with contextlib.suppress(FileNotFoundError):
            if os.path.isdir(target) and not os.path.islink(target):
                shutil.rmtree(target)
            else:
                os.unlink(target)

    def rename_dir(self, src: str, dst: str) -> None:
        source, target = local_path(src), local_path(dst)
        # POSIX rename would silently replace an empty directory.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "cannot rename: target exists", target)
        self.make_dirs(os.path.dirname(target))
        os.rename(source, target)
        _fsync_dir(os.path.dirname(target))
        _fsync_dir(os.path.dirname(source))

    def make_dirs(self, path: str) -> None:
        target = os.path.abspath(local_path(path))
        missing = []
        while not os.path.isdir(target):
            missing.append(target)
            target = os.path.dirname(target)
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
            _fsync_dir(os.path.dirname(folder))

    def open_input(self, path: str) -> BinaryIO:
        # Imported late, as in `open_files`.
        import pyarrow

        # No file object of Python's: Arrow's threads may hold one until after the answer, and a
        # thread that wants the interpreter while that ends takes the whole process down.
        return cast(BinaryIO, pyarrow.OSFile(local_path(path), "rb"))

    def sync(self, root: str, paths: Iterable[str]) -> None:
        top = os.path.abspath(local_path(root))
        targets = [os.path.abspath(local_path(path)) for path in paths]
        with ThreadPoolExecutor(_SYNCS) as threads:
            # Every result is asked for: an error of the disk must not be lost.
            list(threads.map(_fsync, targets))
        folders = {folder for target in targets for folder in _folders_between(top, target)}
        for folder in sorted(folders, reverse=True):
            _fsync_dir(folder)


def _write_temp(target: str, data: bytes) -> str:
    folder, name = os.path.split(target)
    temp = os.path.join(folder, f".{name}.{uuid4().hex}.tmp")
    try:
        with open(temp, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp)
        raise
    return temp


def _link(temp: str, target: str) -> bool:
    try:
        os.link(temp, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _LINKS_REFUSED:
            raise
        return _claim(temp, target)
    return True


def _claim(temp: str, target: str) -> bool:
    """Win `target` where hard links are refused.

    The empty file taken with O_EXCL is the claim, the rename fills it: a crash between the two
    leaves an empty file, which is recognized, and never half a manifest.
    """
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    os.replace(temp, target)
    return True


def _fsync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_dir(path: str) -> None:
    try:
        _fsync(path or ".")
    except OSError as error:
        if error.errno not in _FSYNC_UNKNOWN:
            raise


def _folders_between(top: str, path: str) -> Iterator[str]:
    folder = os.path.dirname(path)
    while folder != top and folder != os.path.dirname(folder):
        yield folder
        folder = os.path.dirname(folder)
    yield folder


def _walk(root: str, relative: str, seen: set[tuple[int, int]]) -> Iterator[FileInfo]:
    """Yield the files below a directory, through links too, as Hadoop does, but no link twice."""
    try:
        entries = list(os.scandir(os.path.join(root, relative)))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = f"{relative}/{entry.name}" if relative else entry.name
        try:
            status = entry.stat()
        except FileNotFoundError:  # deleted since, or a link to nowhere
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield FileInfo(path, status.st_size, status.st_mtime_ns)
        elif (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield from _walk(root, path, seen)


def _info(full: str, relative: str) -> FileInfo:
    status = os.stat(full)
    return FileInfo(relative, status.st_size, status.st_mtime_ns)
