"""Iceberg tables, by their metadata files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import FileInfo, Files, join, local_path, scheme_of
from spark_pseudolabel.store.inputs import PinnedTable
from spark_pseudolabel.store.logs.version import (
    Deleted,
    LoggedFile,
    StoredColumn,
    TableVersion,
    plain_schema,
)

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, StaticTable
    from pyiceberg.table.metadata import TableMetadata

METADATA = "metadata"
_SUFFIX = ".metadata.json"
_HINT = "version-hint.text"
_IDENTITY = "identity"
EMPTY = -1
"""Stands for the snapshot of a table into which nothing was ever written."""


def read_iceberg(
    files: Files,
    root: str,
    options: Mapping[str, str],
    pinned: PinnedTable | None,
    version: int | None,
) -> TableVersion:
    """Read what the metadata of an Iceberg table say of a snapshot, or of the latest.

    Parameters
    ----------
    files, root
        Where the table is, or one of its metadata files.
    options
        What the library is told of the store, such as credentials.
    pinned
        What a run has begun with; None: it begins now.
    version
        The snapshot to begin with; None: the latest.

    Raises
    ------
    InputError
        If there is no such table, or the snapshot is none of it, or not any more.
    """
    static = _library()
    where = root if root.endswith(_SUFFIX) else _current(files, root)
    try:
        table = static.from_metadata(_uri(where), dict(options))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{where} can't be read as metadata of an Iceberg table: {_first_line(error)}.",
            code="no_table",
            where=where,
        ) from error
    pin = _pin(table.metadata, where, pinned, version)
    return _read(table, _plain(table.metadata.location), pin)


def _library() -> Any:
    try:
        from pyiceberg.table import StaticTable
    except ImportError as error:
        raise InputError(
            "format: iceberg needs pyiceberg on the driver, which reads the table's metadata: pip "
            "install 'spark-pseudolabel[iceberg]'.",
            code="missing_library",
            where="pyiceberg",
        ) from error
    return StaticTable


def _current(files: Files, root: str) -> str:
    """Return the metadata file of a table that no catalog names: what Hadoop's tables keep."""
    folder = join(root, METADATA)
    names = set(files.names(folder))
    if _HINT not in names:
        raise InputError(
            f"{root} does not say which of its metadata is the latest: it has no "
            f"{METADATA}/{_HINT}, since a catalog knows it. Name the table by table:, or let path "
            f"be a metadata file (.../{METADATA}/....{_SUFFIX[1:]}), which stays what it is.",
            code="no_table",
            where=root,
        )
    hint = files.read(join(folder, _HINT)).decode().strip()
    if not hint.isdigit():
        return join(folder, hint if hint.endswith(_SUFFIX) else f"{hint}{_SUFFIX}")
    number = int(hint)
    # A writer may have put the next one, and not the hint yet.
    while (following := _numbered(number + 1, names)) is not None:
        number, names = number + 1, names - {following}
    return join(folder, _numbered(number, set(files.names(folder))) or f"v{number}{_SUFFIX}")


def _numbered(number: int, names: set[str]) -> str | None:
    spelled = (f"v{number}{_SUFFIX}", f"v{number}.gz{_SUFFIX}")
    return next((name for name in spelled if name in names), None)


def _pin(
    about: TableMetadata, where: str, pinned: PinnedTable | None, version: int | None
) -> PinnedTable:
    if pinned is not None:
        known = {schema.schema_id for schema in about.schemas}
        if pinned.version != EMPTY and about.snapshot_by_id(pinned.version) is None:
            raise _no_snapshot(about, where, pinned.version)
        columns = pinned.columns if pinned.columns in known else about.current_schema_id
        update = {"table": str(about.table_uuid), "columns": columns}
        return pinned.model_copy(update=update)
    current = about.current_snapshot()
    snapshot, columns = current, about.current_schema_id
    if version is not None:
        snapshot = about.snapshot_by_id(version)
        if snapshot is None:
            raise _no_snapshot(about, where, version)
        if snapshot.schema_id is not None and snapshot != current:
            columns = snapshot.schema_id
    return PinnedTable(
        format="iceberg",
        version=EMPTY if snapshot is None else snapshot.snapshot_id,
        table=str(about.table_uuid),
        columns=columns,
    )


def _no_snapshot(about: TableMetadata, where: str, version: int) -> InputError:
    there = [str(snapshot.snapshot_id) for snapshot in about.snapshots[-3:]]
    return InputError(
        f"Snapshot {version} of {about.location} can't be read: it is not there, or expired (the "
        f"latest are {', '.join(there) or 'none'}). A run reads the snapshot that it began with: "
        "start with a new output.path, or name another version.",
        code="version_expired",
        where=where,
    )


def _read(table: StaticTable, root: str, pin: PinnedTable) -> TableVersion:
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    about = table.metadata
    schema = next(each for each in about.schemas if each.schema_id == pin.columns)

    def left_to_spark(why: str) -> TableVersion:
        return TableVersion(root, pin, pa.schema([]), (), (), dict, why)

    try:
        arrow = plain_schema(schema_to_pyarrow(schema, include_field_ids=False))
    except (ValueError, NotImplementedError) as error:
        return left_to_spark(f"it has a column of a type of its own ({_first_line(error)})")
    columns = _columns(schema, about)
    given = [field.name for field in schema.fields if field.initial_default is not None]
    if given:
        return left_to_spark(f"column {given[0]!r} has a default for rows written before it")
    if pin.version == EMPTY:
        return TableVersion(root, pin, arrow, columns, (), dict)
    try:
        tasks = list(table.scan(snapshot_id=pin.version).plan_files())
    except FileNotFoundError as error:
        raise InputError.expired(_first_line(error), f"{pin.words} of {root}") from error
    except (ValueError, NotImplementedError) as error:
        return left_to_spark(f"pyiceberg can't read it ({_first_line(error)})")
    files: list[LoggedFile] = []
    for task in tasks:
        path, kind = _plain(task.file.file_path), task.file.file_format.value
        if kind != "PARQUET":
            return left_to_spark(f"it has {kind} files")
        if not path.startswith(f"{root}/"):
            return left_to_spark(f"it has files outside of its directory, such as {path}")
        info = FileInfo(path[len(root) + 1 :], task.file.file_size_in_bytes)
        files.append(LoggedFile(info, _values(task, schema, about)))
    kinds = {each.file_format.value for task in tasks for each in task.delete_files}
    if kinds - {"PARQUET", "PUFFIN"}:
        return left_to_spark("its deletes are in files of another format than Parquet")
    files.sort(key=lambda file: file.info.path)
    return TableVersion(
        root, pin, arrow, columns, tuple(files), lambda: _deleted(tasks, table.io, root)
    )


def _columns(schema: Schema, about: TableMetadata) -> tuple[StoredColumn, ...]:
    mapping = about.name_mapping()
    names = {field.field_id: tuple(field.names) for field in mapping} if mapping else {}
    return tuple(
        StoredColumn(field.name, field.name, field.field_id, names.get(field.field_id, ()))
        for field in schema.fields
    )


def _values(task: FileScanTask, schema: Schema, about: TableMetadata) -> dict[str, object]:
    """Return columns that directories stand for: only files from before the table lack them."""
    if about.name_mapping() is None:
        return {}
    named = {field.field_id: field.name for field in schema.fields}
    fields = about.specs()[task.file.spec_id].fields
    return {
        named[field.source_id]: task.file.partition[place]
        for place, field in enumerate(fields)
        if str(field.transform) == _IDENTITY and field.source_id in named
    }


def _deleted(tasks: Sequence[FileScanTask], io: FileIO, root: str) -> Deleted:
    """Read position deletes and deletion vectors of all files that have some."""

    @cache
    def positions_in(path: str, kind: str) -> dict[str, NDArray[np.int64]]:
        found = defaultdict(list)
        for file, positions in _positions(io, path, kind):
            found[_plain(file)].append(positions)
        return {file: np.concatenate(parts) for file, parts in found.items()}

    masks: dict[str, NDArray[np.bool_]] = {}
    for task in tasks:
        path = _plain(task.file.file_path)
        parts = [
            positions_in(each.file_path, each.file_format.value).get(path)
            for each in task.delete_files
        ]
        deleted = np.concatenate([part for part in parts if part is not None] or [_NONE])
        if len(deleted):
            mask = np.zeros(int(deleted.max()) + 1, dtype=bool)
            mask[deleted] = True
            masks[path[len(root) + 1 :]] = mask
    return masks


_NONE = np.zeros(0, dtype=np.int64)


def _positions(io: FileIO, path: str, kind: str) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield which rows of which data files a file of deletes names."""
    with io.new_input(path).open() as stream:
        stored = stream.read()
    if kind == "PUFFIN":
        yield from _of_puffin(stored)
        return
    file = pq.ParquetFile(pa.BufferReader(stored))
    table = file.read(columns=["file_path", "pos"], use_threads=False)
    paths = table.column("file_path").combine_chunks().dictionary_encode()
    codes, places = paths.indices.to_numpy(), table.column("pos").to_numpy()
    for code, data_file in enumerate(paths.dictionary.to_pylist()):
        yield data_file, places[codes == code]


def _of_puffin(stored: bytes) -> Iterable[tuple[str, NDArray[np.int64]]]:
    from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
    from pyiceberg.table.puffin import PuffinFile

    for vector in deletion_vectors_from_puffin_file(PuffinFile(stored)):
        yield vector.referenced_data_file, vector.to_vector().to_numpy().astype(np.int64)


def _uri(path: str) -> str:
    return re.sub(r"^s3[an]:", "s3:", path)


def _plain(path: str) -> str:
    """Return a path as listings have it: a plain one on the local disk, no slash at the end."""
    local = scheme_of(path) in ("", "file")
    return (local_path(path) if local else _uri(path)).rstrip("/")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
