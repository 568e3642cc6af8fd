"""A version of a table that keeps a log: its columns and its files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import FileInfo
from spark_pseudolabel.store.inputs import PinnedTable

Deleted = Mapping[str, NDArray[np.bool_]]
"""By file, which of its rows are deleted; files without any are left out.

A mask may end with the last row that is deleted.
"""

Names = tuple[tuple[str, str], ...]
"""What a table calls its columns, and what a file does."""

FIELD_ID = b"PARQUET:field_id"
"""Where Arrow keeps the number by which a Parquet file knows a column."""


@dataclass(frozen=True)
class LoggedFile:
    """A data file of a table.

    Parameters
    ----------
    info
        Its path below the table's directory, its length and when it was written.
    values
        By column, the one value of all its rows: columns that directories stand for.
    """

    info: FileInfo
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredColumn:
    """A column of a table as its files know it.

    Parameters
    ----------
    name
        What the table calls it.
    stored
        What files do.
    number
        By which files know it, whatever they call it; None: by name.
    names
        What it may be called in files that do not number their columns.
    """

    name: str
    stored: str
    number: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableVersion:
    """A version of a table.

    Parameters
    ----------
    root
        The table's directory as the log names it: full path or URI.
    pinned
        Which table, and which version of it.
    schema
        Its columns.
    columns
        How files know them.
    files
        Its data files, by path.
    deleted
        Reads which rows of them are deleted.
    only_spark
        Why only Spark can read it: then there are no files. Empty where workers can.
    """

    root: str
    pinned: PinnedTable
    schema: pa.Schema
    columns: tuple[StoredColumn, ...]
    files: tuple[LoggedFile, ...]
    deleted: Callable[[], Deleted] = field(repr=False, compare=False)
    only_spark: str = ""

    @property
    def words(self) -> str:
        """What it is, for messages."""
        return f"{self.pinned.words} of {self.root}"

    def names_in(self, stored: pa.Schema, given: Collection[str], path: str) -> Names | None:
        """Return what a file calls the table's columns; None where it does as the table does.

        Parameters
        ----------
        stored
            The file's own columns.
        given
            Columns of the table that are not read from it, since the log says their value.
        path
            The file, for messages.

        Returns
        -------
        tuple of pairs, or None
            The table's name and the file's, of columns that the file has.

        Raises
        ------
        InputError
            If the file does not number its columns, and the table knows them by number.
        """
        numbers = {
            int(each.metadata[FIELD_ID]): each.name
            for each in stored
            if each.metadata and FIELD_ID in each.metadata
        }
        needs_numbers = any(each.number is not None and not each.names for each in self.columns)
        if needs_numbers and not numbers and len(stored):
            raise InputError(
                f"{path} does not number its columns, by which {self.words} knows them.",
                code="no_field_ids",
                where=path,
            )
        names = tuple(
            (column.name, found)
            for column in self.columns
            if column.name not in given
            and (found := _found(column, numbers, stored.names)) is not None
        )
        same = {name for name in stored.names if name in self.schema.names}
        as_table = dict(names) == {name: name for name in same}
        return None if as_table and not given else names


def _found(column: StoredColumn, numbers: Mapping[int, str], names: Sequence[str]) -> str | None:
    if column.number is not None and numbers:
        return numbers.get(column.number)
    called = column.names or (column.stored,)
    return next((name for name in called if name in names), None)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with the types that Parquet's reader gives, and nothing but types."""
    return pa.schema([pa.field(each.name, plain_type(each.type)) for each in schema])


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that Parquet's reader gives, for one that a library prefers to it."""
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return pa.string()
    if pa.types.is_large_binary(kind) or kind == pa.binary_view():
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind
