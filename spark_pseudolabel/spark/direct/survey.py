"""Which tables are plain Parquet that needs no Spark to be read."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from spark_pseudolabel.core.calendars import Calendar, calendar_of
from spark_pseudolabel.core.parts import Part, RowGroup, parts_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.damage import READ_ERRORS, is_damage, refusal, with_path
from spark_pseudolabel.spark.direct.merging import Merged, SchemaOfFiles, merge
from spark_pseudolabel.spark.direct.source import INT96_UNIT, PartSource, read_part
from spark_pseudolabel.spark.reading.schema_text import UnknownType, parse_schema
from spark_pseudolabel.spark.tasking import run_tasks
from spark_pseudolabel.store.arrow_files import ArrowFiles, reached_otherwise
from spark_pseudolabel.store.files import FileInfo, Files, join

# Beyond this number footers are read by the workers: one takes a driver's thread a millisecond.
_FOOTERS_ON_DRIVER = 64
_FOOTERS_PER_TASK = 500
_SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"
_REBASING = tuple(
    f"spark.sql.{prefix}parquet.{kind}RebaseModeInRead"
    for prefix in ("", "legacy.")
    for kind in ("datetime", "int96")
)
_AS_WRITTEN = "CORRECTED"

_SPARK_TYPES: tuple[tuple[pa.DataType, T.DataType], ...] = (
    (pa.null(), T.NullType()),
    (pa.bool_(), T.BooleanType()),
    (pa.int8(), T.ByteType()),
    (pa.int16(), T.ShortType()),
    (pa.int32(), T.IntegerType()),
    (pa.int64(), T.LongType()),
    (pa.float32(), T.FloatType()),
    (pa.float64(), T.DoubleType()),
    (pa.string(), T.StringType()),
    (pa.date32(), T.DateType()),
    (pa.large_string(), T.StringType()),
    (pa.binary(), T.BinaryType()),
    (pa.uint8(), T.ShortType()),
    (pa.uint16(), T.IntegerType()),
    (pa.uint32(), T.LongType()),
    (pa.uint64(), T.DecimalType(20, 0)),
    (pa.null(), T.NullType()),
)


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says about itself.

    Parameters
    ----------
    file
        As it was listed.
    groups
        Rows and uncompressed bytes of each row group.
    schema
        Hash of names and types, and of who must read them; files of one table must agree in it.
    """

    file: FileInfo
    groups: tuple[tuple[int, int], ...]
    schema: str


@dataclass(frozen=True)
class PlainTable:
    """A flat directory of Parquet files, or one such file.

    Parameters
    ----------
    root
        Full path or URI.
    footers
        Of its files, in the order of their names.
    schema
        The columns of all files.
    spark_schema
        The same as Spark would read it.
    as_dated
        Whether its dates and timestamps mean what they say: Spark moves those that Spark 2 counted
        into today's calendar, pyarrow does not.
    uniform
        Whether each file has exactly these columns and types.
    """

    root: str
    footers: tuple[Footer, ...]
    schema: pa.Schema
    spark_schema: T.StructType
    as_dated: bool = True
    uniform: bool = True

    @cached_property
    def parts(self) -> list[Part]:
        """The parts in which it is read."""
        return parts_of(group for footer in self.footers for group in row_groups(footer))

    @property
    def rows(self) -> int:
        """Number of rows by the footers."""
        return sum(rows for footer in self.footers for rows, _ in footer.groups)

    @property
    def bytes(self) -> int:
        """Uncompressed size of all columns."""
        return sum(size for footer in self.footers for _, size in footer.groups)

    def readable(self, columns: Iterable[str]) -> bool:
        """Whether workers read these columns to the same values as Spark."""
        kinds = [self.schema.field(column).type for column in columns]
        return all(map(_is_readable, kinds)) and (
            self.as_dated or not any(map(pa.types.is_temporal, kinds))
        )

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
        columns = tuple(keys), tuple(features)
        source = PartSource(self.root, *columns, only_null, excluded, seen=seen)
        if self.uniform:
            return source
        read = [name for name in source.columns(source.features) if name in self.schema.names]
        return replace(source, types=pa.schema([self.schema.field(name) for name in read]))

    def retyped(self, types: Mapping[str, pa.DataType]) -> PlainTable:
        """Return it with other types for columns that hold no value."""
        fields = [pa.field(f.name, types.get(f.name, f.type)) for f in self.schema]
        return replace(self, schema=pa.schema(fields), uniform=False)

    def collect(self, source: PartSource) -> pa.Table:
        """Read keys and features of all rows into the driver's memory."""
        batches = [rows.batch for part in self.parts for rows in read_part(source, part)]
        if batches:
            return pa.Table.from_batches(batches)
        return source.no_rows(self.schema)


@dataclass(frozen=True)
class Scan:
    """A table as workers read it: what, and in which parts."""

    source: PartSource
    parts: Sequence[Part]


@dataclass(frozen=True)
class ParquetTable:
    """What the footers of a table's files say.

    Parameters
    ----------
    groups
        The files by their columns.
    merged
        The columns of all.
    plain
        The table as it is read without Spark; None where it needs Spark: that is
        directories in directories.
    """

    groups: tuple[SchemaOfFiles, ...]
    merged: Merged
    plain: PlainTable | None


def parquet_table(
    spark: SparkSession, files: Files, root: str, listed: Sequence[FileInfo]
) -> ParquetTable:
    """Read what all files of a table say about themselves.

    Raises
    ------
    InputError
        If a file is no whole Parquet file, or the files have columns that do not go together.
    """
    footers, schemas = read_footers(spark, files, root, listed)
    of_digest: dict[str, list[str]] = {}
    for footer in footers:
        of_digest.setdefault(footer.schema, []).append(footer.file.path or root.rpartition("/")[2])
    groups = tuple(
        SchemaOfFiles(tuple(paths), schemas[digest].schema, schemas[digest].spark_schema)
        for digest, paths in of_digest.items()
    )
    merged = merge(groups)
    if any("/" in info.path for info in listed):
        return ParquetTable(groups, merged, None)
    dated = as_dated(spark, {schemas[digest].calendar for digest in of_digest})
    uniform = len(groups) == 1 and not any(pa.types.is_null(f.type) for f in merged.schema)
    plain = PlainTable(root, tuple(footers), merged.schema, merged.spark_schema, dated, uniform)
    return ParquetTable(groups, merged, plain)


@dataclass(frozen=True)
class FileSchema:
    """What the files of a table have in common.

    Parameters
    ----------
    schema
        Of the batches.
    spark_schema
        As Spark would infer it.
    calendar
        Of dates and timestamps.
    """

    schema: pa.Schema
    spark_schema: T.StructType
    calendar: Calendar


Schemas = dict[str, FileSchema]
_Described = dict[str, tuple[bytes, str | None, Calendar]]
"""By digest: an Arrow schema, Spark's text of it, the calendar; as tasks tell it."""


def as_dated(spark: SparkSession, calendars: Set[Calendar]) -> bool:
    """Whether dates mean what they say in files that count them by these calendars."""
    return calendars <= {"today"} or (
        calendars <= {"today", "untold"} and not _rebases_untold(spark)
    )


def _rebases_untold(spark: SparkSession) -> bool:
    """Whether Spark is told to move the dates of files that name no writer."""
    modes = [spark.conf.get(key, _AS_WRITTEN) for key in _REBASING]
    return any(str(mode).upper() != _AS_WRITTEN for mode in modes)


def read_footers(
    spark: SparkSession, files: Files, root: str, listed: Sequence[FileInfo]
) -> tuple[list[Footer], Schemas]:
    """Read the footers of all files, by workers if there are many and they reach them.

    Raises
    ------
    InputError
        Naming a file that is no whole Parquet file.
    """
    if len(listed) > _FOOTERS_ON_DRIVER and _on_workers(files, root):
        chunks = [
            listed[start : start + _FOOTERS_PER_TASK]
            for start in range(0, len(listed), _FOOTERS_PER_TASK)
        ]
        # What a worker can't open the driver may: it sees other disks.
        with contextlib.suppress(InputError, PySparkException, Py4JError):
            return merged_answers(run_tasks(spark, partial(footers_of, root=root), chunks))
    with ThreadPoolExecutor(max_workers=8) as threads:
        return merged_answers(threads.map(lambda info: footers_of([info], root, files), listed))


def row_groups(footer: Footer) -> Iterable[RowGroup]:
    """Yield the row groups of a file."""
    first = 0
    for index, (rows, size) in enumerate(footer.groups):
        yield RowGroup(footer.file.path, footer.file.bytes, index, first, rows, size)
        first += rows


def _on_workers(files: Files, root: str) -> bool:
    with reached_otherwise():
        return ArrowFiles.for_uri(root).exists(root)
    return False


def footers_of(
    listed: Sequence[FileInfo], root: str, files: Files | None = None
) -> tuple[list[Footer], _Described]:
    """Read footers one after the other; return them and their schemas, as they travel."""
    opened = files or ArrowFiles.for_uri(root)
    footers: list[Footer] = []
    schemas: _Described = {}
    for info in listed:
        metadata = _metadata(opened, root, info)
        schema = _as_read(metadata)
        facts = metadata.metadata or {}
        text = facts[_SPARK_SCHEMA].decode(errors="replace") if _SPARK_SCHEMA in facts else None
        calendar = calendar_of(facts)
        digest = hashlib.sha256(f"{schema}{text}{calendar}".encode()).hexdigest()
        schemas[digest] = (bytes(schema.serialize()), text, calendar)
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        sizes = tuple((group.num_rows, group.total_byte_size) for group in groups)
        footers.append(Footer(info, sizes, digest))
    return footers, schemas


def _metadata(files: Files, root: str, info: FileInfo) -> pq.FileMetaData:
    path = join(root, info.path)
    try:
        with files.open_input(path) as stream:
            return pq.read_metadata(stream)
    except READ_ERRORS as error:
        if not is_damage(error, path):
            raise with_path(error, path) from error
        raise refusal(error, path, "is no whole Parquet file") from error


def _as_read(metadata: pq.FileMetaData) -> pa.Schema:
    """Return the schema of the batches: what Spark wrote as INT96 is in a footer as ns.

    With the numbers of the columns, where the file has some.
    """
    int96 = {
        leaf.path
        for leaf in map(metadata.schema.column, range(len(metadata.schema)))
        if leaf.physical_type == "INT96"
    }
    return pa.schema(
        [
            pa.field(
                f.name,
                pa.timestamp(INT96_UNIT) if f.name in int96 else f.type,
                metadata=f.metadata,
            )
            for f in metadata.schema.to_arrow_schema()
        ]
    )


def merged_answers(
    answers: Iterable[tuple[list[Footer], _Described]],
) -> tuple[list[Footer], Schemas]:
    """Put together what was read of footers, each schema once."""
    footers: list[Footer] = []
    schemas: Schemas = {}
    for of_task, described in answers:
        footers += of_task
        for digest, (schema, text, calendar) in described.items():
            if digest not in schemas:
                read = pa.ipc.read_schema(pa.py_buffer(schema))
                schemas[digest] = FileSchema(read, _spark_schema(read, text), calendar)
    return footers, schemas


def _spark_schema(schema: pa.Schema, text: str | None) -> T.StructType:
    """Return the schema as Spark would infer it, with unknown types where it has none."""
    if text is not None:
        parsed = parse_schema(text)
        if parsed is not None and parsed.names == schema.names:
            return parsed
    return spark_schema(schema)


def spark_schema(schema: pa.Schema) -> T.StructType:
    """Return the types that Spark has for Arrow's, unknown ones where it has none."""
    return T.StructType([T.StructField(f.name, _spark_type(f.type)) for f in schema])


def _spark_type(kind: pa.DataType) -> T.DataType:
    if pa.types.is_timestamp(kind):
        return T.TimestampNTZType() if kind.tz is None else T.TimestampType()
    if pa.types.is_dictionary(kind):
        return _spark_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        element = _spark_type(kind.value_type)
        return element if isinstance(element, UnknownType) else T.ArrayType(element)
    if pa.types.is_decimal128(kind):
        return T.DecimalType(kind.precision, kind.scale)
    known = next((spark for arrow, spark in _SPARK_TYPES if arrow == kind), None)
    return known or UnknownType(str(kind), is_foreign=False)


def _is_readable(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        kind = kind.value_type
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
    # Decimals are left to Spark, whose way to a double may differ in the last bit.
    return bool(
        pa.types.is_null(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_signed_integer(kind)
        or kind in (pa.float32(), pa.float64(), pa.string(), pa.date32(), pa.null())
        or pa.types.is_timestamp(kind)
    )
