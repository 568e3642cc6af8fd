"""Reading parts of a Parquet directory in a worker: one batch at a time, only what is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import FILE, ROW_INDEX, UNREADABLE
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.parts import Part, RowGroup
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.damage import READ_ERRORS, is_damage, refusal, with_path
from spark_pseudolabel.store.arrow_files import ArrowFiles
from spark_pseudolabel.store.files import join, scheme_of

BATCH_ROWS = 32_768
"""Rows that are in memory at once; a small multiple pays for the calls into the model."""

BATCH_BYTES = 32 * 2**20
"""Of a batch with all numbers as doubles, which models make of them: wide rows come by fewer."""

INT96_UNIT = "us"
"""Spark's own: in nanoseconds, pyarrow's choice, there is no date before 1677 or after 2262."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PartSource:
    """A directory of Parquet files, as the tasks of a run read it.

    Parameters
    ----------
    root
        Full path or URI.
    keys
        The id column, or ``file`` and ``row_index``.
    features
        Columns of the model.
    only_null
        Column that must be null: the pool where one table holds labeled and unlabeled rows.
    excluded
        Ids that do not belong to the pool, or None.
    seen
        ndarray of shape (n,): hashes of ids that an earlier generation has labeled, ascending;
        None: no id.
    types
        What columns are to be where the files differ in them: a column that a file lacks is null
        there. None where all files are the same.
    pinned
        What table with a log the files are of, and which version of it; empty: none.
    stored_places
        Whether ``file`` and ``row_index`` are columns of the files, which are copies of others.
    """

    root: str
    keys: tuple[str, ...]
    features: tuple[str, ...] = ()
    only_null: str | None = None
    excluded: pa.Array | None = None
    types: pa.Schema | None = None
    seen: NDArray[np.uint64] | None = None
    pinned: str = ""
    stored_places: bool = False

    @property
    def unconditional(self) -> PartSource:
        """The same for rows that are known to belong to the pool."""
        return replace(self, only_null=None, excluded=None, seen=None)

    @property
    def by_place(self) -> bool:
        """Whether rows are known by file and place, and not by an id, whatever its name."""
        return self.keys == (FILE, ROW_INDEX) and not self.stored_places

    @property
    def reasons(self) -> tuple[str, ...]:
        """The column that says why a row can't be read, where some of the table's rows can't."""
        return (UNREADABLE,) if UNREADABLE in self.features else ()

    @property
    def name(self) -> str:
        """Name of the file, where the table is a single one."""
        return self.root.rpartition("/")[2]

    def columns(self, features: Sequence[str]) -> list[str]:
        """Return the columns of a file that are read for these features."""
        ids = () if self.by_place else self.keys
        condition = [self.only_null] if self.only_null else []
        return list(dict.fromkeys([*ids, *condition, *features]))

    def no_rows(self, schema: pa.Schema) -> pa.Table:
        """Return what is read of a table of this schema that has no rows."""
        kinds = {name: schema.field(name).type for name in self.columns(self.features)}
        if self.by_place:
            keys = {FILE: pa.string(), ROW_INDEX: pa.int64()}
        else:
            keys = {key: key_type(kinds[key]) for key in self.keys}
        features = {name: kinds[name] for name in self.features}
        return pa.schema(list((keys | features).items())).empty_table()


@dataclass(frozen=True)
class Rows:
    """Some rows of a part.

    Parameters
    ----------
    batch
        Keys and features.
    positions
        ndarray of shape (n_rows,) of int32: their places in the part, ascending.
    """

    batch: pa.RecordBatch
    positions: NDArray[np.int32]


def read_part(
    source: PartSource,
    part: Part,
    *,
    features: Sequence[str] | None = None,
    keep: Mask | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[Rows]:
    """Read the rows of a part, one batch at a time.

    Parameters
    ----------
    source, part
        What to read.
    features
        Feature columns; all of the source's if None.
    keep
        ndarray of shape (part.rows,): which rows; row groups without any are not read. None: all.
    batch_rows
        Batches have up to this number of rows and up to :data:`BATCH_BYTES`, and half of either at
        least where the part has them.

    Raises
    ------
    InputError
        If a file is not the one that was listed, or is damaged.
    """
    wanted = source.features if features is None else tuple(features)
    pieces = _read_files(source, part, wanted, keep, batch_rows)
    return _joined(pieces, batch_rows // 2)


def _read_files(
    source: PartSource, part: Part, features: tuple[str, ...], keep: Mask | None, batch_rows: int
) -> Iterator[Rows]:
    start = 0
    for _, of_file in groupby(part.groups, key=lambda group: group.file):
        groups = list(of_file)
        end = start + sum(group.rows for group in groups)
        if keep is None or keep[start:end].any():
            with open_file(source, groups[0]) as parquet:
                for group in groups:
                    mask = group.kept(None if keep is None else keep[start : start + group.rows])
                    if mask is None or mask.any():
                        reader = _Reader(source, features, group, start, mask)
                        yield from reader.read(parquet, batch_rows)
                    start += group.rows
        start = end


@dataclass(frozen=True)
class _Reader:
    source: PartSource
    features: tuple[str, ...]
    group: RowGroup
    start: int
    mask: Mask | None

    def read(self, parquet: pq.ParquetFile, batch_rows: int) -> Iterator[Rows]:
        columns = self._columns(parquet)
        with _damage(self.source, self.group):
            offset = 0
            at_once = _rows_at_once(parquet, self.group.index, columns, batch_rows)
            for batch in _batches(parquet, self.group.index, columns, at_once, self.group.rows):
                rows = self._rows(batch, offset)
                offset += batch.num_rows
                if len(rows.positions):
                    yield rows

    def _columns(self, parquet: pq.ParquetFile) -> list[str]:
        """Return what is read of the file, by its own names."""
        columns = self.source.columns(self.features)
        if self._stored is not None:
            return [self._stored[name] for name in columns if name in self._stored]
        if self.source.types is not None:
            return [name for name in columns if name in parquet.schema_arrow.names]
        return columns

    @cached_property
    def _stored(self) -> dict[str, str] | None:
        """The names that the file has for the table's columns, where they may differ."""
        return None if self.group.columns is None else dict(self.group.columns.names)

    @cached_property
    def _values(self) -> dict[str, object]:
        return {} if self.group.columns is None else dict(self.group.columns.values)

    def _rows(self, batch: pa.RecordBatch, offset: int) -> Rows:
        first = self.start + offset
        positions = np.arange(first, first + batch.num_rows, dtype=np.int32)
        batch = self._with_keys(self._as_typed(batch), offset)
        mask = self._wanted(batch, offset)
        if mask is not None and not mask.all():
            batch, positions = batch.filter(pa.array(mask)), positions[mask]
        return Rows(batch.select([*self.source.keys, *self.features]), positions)

    def _as_typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Give a file's columns the types that they have in the table."""
        if self.source.types is None:
            return batch
        columns = {}
        for name in self.source.columns(self.features):
            kind = self.source.types.field(name).type
            stored = name if self._stored is None else self._stored.get(name)
            if stored is not None and stored in batch.schema.names:
                columns[name] = batch.column(stored).cast(kind, safe=False)
            else:
                value = pa.scalar(self._values.get(name), kind)
                columns[name] = pa.repeat(value, batch.num_rows)
        return pa.RecordBatch.from_pydict(columns) if columns else batch

    def _with_keys(self, batch: pa.RecordBatch, offset: int) -> pa.RecordBatch:
        if self.source.by_place:
            first = self.group.first_row + offset
            index = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
            file = pa.repeat(self.group.file or self.source.name, batch.num_rows)
            return batch.append_column(FILE, file).append_column(ROW_INDEX, index)
        for key in self.source.keys:
            column = batch.column(key)
            kind = key_type(column.type)
            if column.type != kind:
                position = batch.schema.get_field_index(key)
                batch = batch.set_column(position, key, column.cast(kind))
        return batch

    def _wanted(self, batch: pa.RecordBatch, offset: int) -> Mask | None:
        masks = []
        if self.mask is not None:
            masks.append(self.mask[offset : offset + batch.num_rows])
        if self.source.only_null is not None:
            masks.append(_numpy(pc.is_null(batch.column(self.source.only_null))))
        if self.source.excluded is not None:
            ids = batch.column(self.source.keys[0])
            masks.append(~_numpy(pc.is_in(ids, value_set=self.source.excluded)))
        if self.source.seen is not None:
            hashes = xxhash64([batch.column(self.source.keys[0])]).view(np.uint64)
            masks.append(~np.isin(hashes, self.source.seen))
        return np.logical_and.reduce(masks) if masks else None


def key_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a key inside a run: all integers are int64, all strings are string."""
    return pa.int64() if pa.types.is_integer(kind) else pa.string()


@contextlib.contextmanager
def open_file(source: PartSource, group: RowGroup) -> Iterator[pq.ParquetFile]:
    """Open the file of a row group, if it still has the length that was listed."""
    path = join(source.root, group.file)
    remote = scheme_of(source.root) not in ("", "file")
    with _damage(source, group):
        stream = _files(source.root).open_input(path)
    with stream:
        if stream.size() != group.file_bytes:
            raise InputError(
                f"{path} must not change while a run reads it. It had {group.file_bytes:,} bytes "
                f"and has {stream.size():,}. Restore it, or start with a new output.path.",
                code="inputs_changed",
                where=path,
            )
        with _damage(source, group):
            parquet = pq.ParquetFile(
                stream, pre_buffer=remote, coerce_int96_timestamp_unit=INT96_UNIT
            )
        yield parquet


@lru_cache(maxsize=8)
def _files(root: str) -> Any:
    return ArrowFiles.for_uri(root)


def _rows_at_once(
    parquet: pq.ParquetFile, group: int, columns: Sequence[str], batch_rows: int
) -> int:
    """Return how many rows of a row group make a batch, by the width that its footer tells."""
    about = parquet.metadata.row_group(group)
    wanted = set(columns)
    size: int = 0
    for place in range(about.num_columns):
        column = about.column(place)
        if column.path_in_schema.partition(".")[0] in wanted:
            size += max(column.total_uncompressed_size, 8 * column.num_values)
    fitting: int = BATCH_BYTES * about.num_rows // max(1, size)
    return max(1, min(batch_rows, fitting))


def _batches(
    parquet: pq.ParquetFile, group: int, columns: list[str], batch_rows: int, rows: int
) -> Iterable[pa.RecordBatch]:
    if not columns:  # the place of a row is all that is asked for
        empty = pa.array(np.zeros(rows, dtype=bool))
        return [pa.RecordBatch.from_pydict({"_": empty})]
    return parquet.iter_batches(  # type: ignore[no-any-return]
        batch_size=batch_rows, row_groups=[group], columns=columns, use_threads=False
    )


def _joined(pieces: Iterable[Rows], min_rows: int) -> Iterator[Rows]:
    """Join small batches: a model's call costs the same for a thousand rows as for ten."""
    waiting: list[Rows] = []
    n_waiting = n_bytes = 0
    for rows in pieces:
        waiting.append(rows)
        n_waiting += len(rows.positions)
        n_bytes += rows.batch.nbytes
        if n_waiting >= min_rows or n_bytes >= BATCH_BYTES // 2:
            yield _together(waiting)
            waiting, n_waiting, n_bytes = [], 0, 0
    if waiting:
        yield _together(waiting)


def _together(pieces: Sequence[Rows]) -> Rows:
    if len(pieces) == 1:
        return pieces[0]
    (batch,) = (
        pa.Table.from_batches([piece.batch for piece in pieces]).combine_chunks().to_batches()
    )
    return Rows(batch, np.concatenate([piece.positions for piece in pieces]))


@contextlib.contextmanager
def _damage(source: PartSource, group: RowGroup) -> Iterator[None]:
    path = join(source.root, group.file)
    try:
        yield
    except FileNotFoundError as error:
        if source.pinned:
            raise InputError.expired(path, source.pinned) from error
        raise InputError(
            f"{path} is gone. Restore it, or start with a new output.path.",
            code="inputs_changed",
            where=path,
        ) from error
    except READ_ERRORS as error:
        if not is_damage(error, path):
            raise with_path(error, path) from error
        raise refusal(error, path, "cannot be read") from error


def _numpy(flags: pa.Array) -> Mask:
    values: Mask = flags.to_numpy(zero_copy_only=False)
    return values
