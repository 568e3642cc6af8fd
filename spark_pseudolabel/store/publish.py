"""Publishing: put a manifest into its slot, and say for certain how that ended."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from uuid import uuid4

from spark_pseudolabel.errors import (
    InputError,
    OutputBusyError,
    PublishUnknownError,
    RunFailedError,
)
from spark_pseudolabel.store.files import Files, join


def publish(files: Files, path: str, data: bytes, commit_id: str) -> None:
    """Put `data` into a slot that can be taken once, and return only if it is ours for good.

    A failed answer is not a failed write: after any error the slot is read back, and only what
    stands there decides. Nothing is ever deleted here, since a write that seems to have failed
    may have landed.

    Parameters
    ----------
    files
        The file system.
    path
        The slot.
    data
        The whole content; holds `commit_id`, so that no two publishers write the same bytes.
    commit_id
        Identifies this attempt in messages.

    Raises
    ------
    OutputBusyError
        If the slot holds another publisher's content.
    PublishUnknownError
        If the slot cannot be read back, or ours stands there but was not made durable.
    RunFailedError
        If the write failed and nothing is in the slot.
    """
    cause: Exception | None = None
    try:
        if files.put_if_absent(path, data):
            return
    except Exception as error:  # noqa: BLE001 - a file system may raise anything
        cause = error
    _settle(files, path, data, commit_id, cause)


def require_slots(files: Files, root: str) -> None:
    """Refuse a place where what is put second replaces what was put first.

    Some object stores take no notice of the condition, or their client does not know it.

    Parameters
    ----------
    files, root
        The output directory; two small files are put there under one name, and deleted.

    Raises
    ------
    InputError
        If the second one is not refused.
    """
    # A name that `gc` collects if this process does not get to delete it.
    path = join(root, f".slot.{uuid4().hex}.tmp")
    try:
        with writing(path):
            held = files.put_if_absent(path, b"first") and not files.put_if_absent(path, b"second")
            held = held and files.read(path) == b"first"
    finally:
        with contextlib.suppress(OSError):
            files.delete_tree(path)
    if not held:
        raise InputError(
            f"output.path must be where a file can be put only if it is absent. At {root} the "
            "second of two writers replaced the first one's file: two runs could spoil each other. "
            "Write to another file system, or to a store that honors If-None-Match.",
            code="no_put_if_absent",
            where=root,
        )


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Tell a failed write as ours: refused for good (exit 3), or worth another try (exit 10)."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise InputError(
                f"output.path must be writable. {path} is not: {error}.",
                code="output_not_writable",
                where=path,
            ) from error
        raise RunFailedError(
            f"Writing {path} failed: {error}. Nothing that was committed is lost; run the same "
            "command again.",
            code="write_failed",
            where=path,
        ) from error


def _settle(files: Files, path: str, data: bytes, commit_id: str, cause: Exception | None) -> None:
    content = _read_back(files, path, commit_id, cause)
    if content is None:
        raise RunFailedError(
            f"Publishing {path} failed and left nothing there: {cause or 'it vanished'}. "
            "No file was deleted; run the same command again.",
            code="publish_failed",
            where=path,
        ) from cause
    if content != data:
        raise OutputBusyError(
            f"{path} must be published once; it holds {_describe(content)}, not commit {commit_id} "
            "of this run. Another run is working on this output: let it end, then run again.",
            code="slot_lost",
            where=path,
        ) from cause
    if cause is not None:
        _make_durable(files, path, commit_id)


def _read_back(files: Files, path: str, commit_id: str, cause: Exception | None) -> bytes | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - as above
        raise PublishUnknownError(
            f"Whether {path} was published as commit {commit_id} is unknown: it cannot be read "
            f"back ({error}). No file was deleted; run the same command again.",
            where=path,
        ) from (cause or error)


def _make_durable(files: Files, path: str, commit_id: str) -> None:
    # The error may have come after the write and before the flush of its directory.
    try:
        files.sync(path.rpartition("/")[0], [path])
    except Exception as error:
        raise PublishUnknownError(
            f"{path} holds commit {commit_id}, but whether it survives a crash of the machine is "
            f"unknown ({error}). No file was deleted; run the same command again.",
            where=path,
        ) from error


def _describe(content: bytes) -> str:
    try:
        document = json.loads(content)
        writer = document["writer"]
        return f"commit {document['commit_id']} of {writer['host']}, process {writer['pid']}"
    except (ValueError, KeyError, TypeError):
        return f"{len(content)} bytes of something else"
