"""Delta tables, by their log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import FileInfo, Files, join, scheme_of
from spark_pseudolabel.store.inputs import PinnedTable
from spark_pseudolabel.store.logs.version import (
    Deleted,
    LoggedFile,
    StoredColumn,
    TableVersion,
    plain_schema,
)

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_MODE = "delta.columnMapping.mode"
_STORED, _NUMBER = "delta.columnMapping.physicalName", "delta.columnMapping.id"
_VECTORS = "deletionVectors"
_GONE = re.compile("not found|no such file", re.IGNORECASE)
_NS_PER_MS = 1_000_000


def read_delta(
    files: Files, root: str, options: Mapping[str, str], version: int | None
) -> TableVersion:
    """Read what the log of a Delta table says of a version, or of the latest.

    Parameters
    ----------
    files, root
        Where the table is.
    options
        What the library is told of the store, such as credentials.
    version
        None: the latest.

    Raises
    ------
    InputError
        If there is no such table, or the version is none of it, or not any more.
    """
    library = _library()
    latest = _latest(files, root)
    if version is not None and version > latest:
        raise _no_version(root, version, f"The latest is {latest}")
    try:
        table = library.DeltaTable(_uri(root), version=version, storage_options=dict(options))
    except library.exceptions.DeltaError as error:
        if version is not None and version != latest:
            raise _no_version(root, version, _first_line(error)) from error
        unread = PinnedTable(format="delta", version=latest)
        return _left_to_spark(root, unread, f"deltalake can't read it ({_first_line(error)})")
    pinned = PinnedTable(format="delta", version=table.version(), table=str(table.metadata().id))
    try:
        return _read(table, root, pinned)
    except library.exceptions.DeltaError as error:
        if _GONE.search(str(error)):
            what = f"A file of the log of {root} ({_first_line(error)})"
            raise InputError.expired(what, f"{pinned.words} of it") from error
        return _left_to_spark(root, pinned, f"deltalake can't read it ({_first_line(error)})")


def _library() -> Any:
    try:
        import deltalake
    except ImportError as error:
        raise InputError(
            "format: delta needs deltalake on the driver, which reads the table's log: pip "
            "install 'spark-pseudolabel[delta]'.",
            code="missing_library",
            where="deltalake",
        ) from error
    return deltalake


def _latest(files: Files, root: str) -> int:
    commits = [_COMMIT.fullmatch(name) for name in files.names(join(root, LOG))]
    numbers = [int(commit.group(1)) for commit in commits if commit is not None]
    if not numbers:
        raise InputError(
            f"{root} must be a Delta table. It has no {LOG} with a commit in it.",
            code="no_table",
            where=root,
        )
    return max(numbers)


def _uri(root: str) -> str:
    return re.sub(r"^s3[an]:", "s3:", root)


def _no_version(root: str, version: int, why: str) -> InputError:
    return InputError(
        f"Version {version} of {root} can't be read: it is not there, or expired ({why}). A run "
        "reads the version that it began with: start with a new output.path, or name another "
        "version.",
        code="version_expired",
        where=root,
    )


def _left_to_spark(root: str, pinned: PinnedTable, why: str) -> TableVersion:
    return TableVersion(root, pinned, pa.schema([]), (), (), dict, why)


def _read(table: DeltaTable, root: str, pinned: PinnedTable) -> TableVersion:
    about = table.metadata()
    actions = pa.table(table.get_add_actions())
    elsewhere = [path for path in actions.column("path").to_pylist() if _is_elsewhere(path)]
    if elsewhere:
        why = f"it has files of another table, such as {elsewhere[0]}"
        return _left_to_spark(root, pinned, why)
    has_vectors = _VECTORS in (table.protocol().reader_features or ())
    vectors = table.deletion_vectors() if has_vectors else None
    fields = json.loads(table.schema().to_json())["fields"]
    columns = _columns(fields, about.configuration.get(_MODE, "none"))
    called = {column.stored: column.name for column in columns}

    @cache  # the library gives them once
    def deleted() -> Deleted:
        return {} if vectors is None else dict(_deleted(vectors, table.table_uri))

    return TableVersion(
        root,
        pinned,
        plain_schema(pa.schema(table.schema().to_arrow())),
        columns,
        tuple(sorted(_files(actions, called), key=lambda file: file.info.path)),
        deleted,
    )


def _columns(fields: list[dict[str, Any]], mode: str) -> tuple[StoredColumn, ...]:
    if mode == "none":
        return tuple(StoredColumn(each["name"], each["name"]) for each in fields)
    return tuple(
        StoredColumn(
            each["name"],
            each["metadata"][_STORED],
            int(each["metadata"][_NUMBER]) if mode == "id" else None,
        )
        for each in fields
    )


def _is_elsewhere(path: str) -> bool:
    return bool(scheme_of(path)) or path.startswith("/")


def _files(actions: pa.Table, called: Mapping[str, str]) -> Iterator[LoggedFile]:
    names = ["path", "size_bytes", "modification_time"]
    has_values = "partition" in actions.column_names
    for action in actions.select([*names, *(["partition"] if has_values else [])]).to_pylist():
        changed = int(action["modification_time"]) * _NS_PER_MS
        info = FileInfo(unquote(action["path"]), int(action["size_bytes"]), changed)
        values = action.get("partition") or {}
        yield LoggedFile(info, {called.get(name, name): value for name, value in values.items()})


def _deleted(vectors: Any, uri: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the rows that deletion vectors take out, file by file."""
    base = uri.rstrip("/") + "/"
    for batch in pa.RecordBatchReader.from_stream(vectors):
        kept = batch.column("selection_vector")
        for place, path in enumerate(batch.column("filepath").to_pylist()):
            yield _below(path, base), ~np.asarray(kept[place].values, dtype=bool)


def _below(uri: str, base: str) -> str:
    return unquote(uri.removeprefix("file://").removeprefix(base.removeprefix("file://")))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
