"""Rows of a version of a table, read without Spark: the few that commands for people look for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.core.calendars import calendar_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.logs.version import Deleted, LoggedFile, TableVersion

_BATCH_ROWS = 65_536


def read_rows(
    version: TableVersion, files: Files, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that are not deleted, one batch at a time.

    Parameters
    ----------
    version, files
        The table, and where it is.
    columns
        Those of its columns that are read, in this order, of its types.

    Raises
    ------
    InputError
        If a file counts its dates as Spark 2 did.
    OSError, ArrowException
        If a file is gone or damaged.
    """
    deleted = version.deleted()
    types = pa.schema([version.schema.field(name) for name in columns])
    for file in version.files:
        with files.open_input(join(version.root, file.info.path)) as stream:
            # In nanoseconds INT96 would hold no date before 1677 or after 2262.
            parquet = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")
            yield from _rows_of(parquet, version, file, types, deleted)


def _rows_of(
    parquet: pq.ParquetFile,
    version: TableVersion,
    file: LoggedFile,
    types: pa.Schema,
    deleted: Deleted,
) -> Iterator[pa.RecordBatch]:
    stored = parquet.schema_arrow
    names = version.names_in(stored, tuple(file.values), file.info.path)
    called = {name: name for name in stored.names} if names is None else dict(names)
    read = {name: called[name] for name in types.names if name in called}
    dated = any(pa.types.is_temporal(types.field(name).type) for name in read)
    if dated and calendar_of(parquet.metadata.metadata or {}) == "old":
        raise InputError(f"{file.info.path} counts its dates as Spark 2 did.", code="old_calendar")
    gone, first = deleted.get(file.info.path), 0
    for batch in _batches(parquet, [*read.values()]):
        arrays = [
            batch.column(read[each.name]).cast(each.type, safe=False)
            if each.name in read
            else pa.repeat(pa.scalar(file.values.get(each.name), each.type), batch.num_rows)
            for each in types
        ]
        rows = pa.RecordBatch.from_arrays(arrays, schema=types)
        if gone is not None:
            kept = np.ones(batch.num_rows, dtype=bool)
            of_batch = gone[first : first + batch.num_rows]
            kept[: len(of_batch)] = ~of_batch
            rows = rows.filter(pa.array(kept))
        first += batch.num_rows
        yield rows


def _batches(parquet: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if columns:
        yield from parquet.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False)
        return
    for group in range(parquet.num_row_groups):  # none of them is in this file
        n_rows = parquet.metadata.row_group(group).num_rows
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * n_rows, pa.struct([])))
