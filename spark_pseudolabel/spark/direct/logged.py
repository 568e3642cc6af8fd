"""A version of a table that keeps a log, as workers read its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from spark_pseudolabel.core.parts import FileColumns, Part, RowGroup, packed, parts_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.direct.survey import (
    FileSchema,
    Footer,
    PlainTable,
    as_dated,
    read_footers,
    row_groups,
    spark_schema,
)
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.logs.version import (
    Deleted,
    LoggedFile,
    Names,
    TableVersion,
    plain_type,
)


@dataclass(frozen=True)
class LoggedTable(PlainTable):
    """Files of a table that keeps a log: its columns are those of the log, not of the files.

    Parameters
    ----------
    columns
        By file, how it holds the table's columns, where not by their own names.
    deleted
        By file, which of its rows are deleted.
    pinned
        Table and version, in words.
    """

    columns: Mapping[str, FileColumns] = field(default_factory=dict)
    deleted: Deleted = field(default_factory=dict)
    pinned: str = ""

    @cached_property
    def parts(self) -> list[Part]:
        """The parts in which it is read."""
        return parts_of(
            self._logged(group) for footer in self.footers for group in row_groups(footer)
        )

    @property
    def rows(self) -> int:
        """Number of rows that are not deleted."""
        return super().rows - sum(int(mask.sum()) for mask in self.deleted.values())

    def source(
        self,
        keys: Sequence[str],
        features: Sequence[str] = (),
        *,
        only_null: str | None = None,
        excluded: pa.Array | None = None,
        seen: NDArray[np.uint64] | None = None,
    ) -> PartSource:
        """Say what tasks read of it; see :class:`PartSource`."""
        source = super().source(keys, features, only_null=only_null, excluded=excluded, seen=seen)
        return replace(source, pinned=self.pinned)

    def _logged(self, group: RowGroup) -> RowGroup:
        group = replace(group, columns=self.columns.get(group.file))
        mask = self.deleted.get(group.file)
        if mask is None:
            return group
        flags = np.zeros(group.rows, dtype=bool)
        of_group = mask[group.first_row : group.first_row + group.rows]
        flags[: len(of_group)] = of_group
        return replace(group, deleted=packed(flags))


def logged_table(
    spark: SparkSession, files: Files, version: TableVersion, chosen: Sequence[LoggedFile]
) -> LoggedTable:
    """Read the footers of a version's files, and which of their rows are deleted.

    Parameters
    ----------
    spark
        The session.
    files
        Where the table is.
    version
        What its log says.
    chosen
        Those of its files that are read.

    Raises
    ------
    InputError
        If a file is gone, or no whole Parquet file.
    """
    listed = [file.info for file in chosen]
    try:
        footers, schemas = read_footers(spark, files, version.root, listed)
        deleted = version.deleted()
    except FileNotFoundError as error:
        raise InputError.expired(str(error.filename or error), version.words) from error
    _require_known(version, deleted)
    used = {digest: schemas[digest] for digest in {footer.schema for footer in footers}}
    columns = _columns(version, chosen, footers, used)
    read = {file.info.path for file in chosen}
    return LoggedTable(
        version.root,
        tuple(footers),
        version.schema,
        spark_schema(version.schema),
        as_dated(spark, {each.calendar for each in used.values()}),
        uniform=not columns and all(_is_uniform(each, version.schema) for each in used.values()),
        columns=columns,
        deleted={path: mask for path, mask in deleted.items() if path in read},
        pinned=version.words,
    )


def _require_known(version: TableVersion, deleted: Deleted) -> None:
    """Refuse deletes of files that are called otherwise: their rows would come back unseen."""
    unknown = sorted(set(deleted) - {file.info.path for file in version.files})
    if unknown:
        raise InputError(
            f"{version.words} has deleted rows of {unknown[0]}, which is none of its files. Its "
            "log is damaged, or names files in a way that is not known here: name it by query:.",
            code="damaged_file",
            where=unknown[0],
        )


def _columns(
    version: TableVersion,
    chosen: Sequence[LoggedFile],
    footers: Sequence[Footer],
    schemas: Mapping[str, FileSchema],
) -> dict[str, FileColumns]:
    """Return how files hold the table's columns, those that do so by other names or not at all."""
    values_of = {file.info.path: file.values for file in chosen}

    @cache  # of a million files most are alike
    def names_in(digest: str, given: tuple[str, ...], path: str) -> Names | None:
        return version.names_in(schemas[digest].schema, given, path)

    columns = {}
    first = {footer.schema: join(version.root, footer.file.path) for footer in reversed(footers)}
    for footer in footers:
        values = values_of[footer.file.path]
        names = names_in(footer.schema, tuple(values), first[footer.schema])
        if names is not None:
            columns[footer.file.path] = FileColumns(names, tuple(values.items()))
    return columns


def _is_uniform(file: FileSchema, schema: pa.Schema) -> bool:
    """Whether batches of a file have all columns of the table, and their types."""
    kinds = {each.name: plain_type(each.type) for each in file.schema}
    return all(kinds.get(each.name) == each.type for each in schema)
