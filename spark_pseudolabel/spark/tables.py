"""Tables as users name them, opened and checked before anything is read from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import FILE, HASH, ROW_INDEX
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.survey import PlainTable, plain_table
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.schema_text import schema_of, without_foreign_types
from spark_pseudolabel.store.files import FileInfo, Files
from spark_pseudolabel.store.layout import is_hidden

CSV_DEFAULTS: Mapping[str, str] = {"header": "true", "inferSchema": "true"}

# Read as plain Parquet, these would return rows that their own log has deleted.
_TABLE_FORMATS: Mapping[str, str] = {
    "_delta_log": "delta",
    "metadata": "iceberg",
    ".hoodie": "hudi",
}

_POSITIONS = (T.StructField(FILE, T.StringType()), T.StructField(ROW_INDEX, T.LongType()))

_COMMITTER = "mapreduce.fileoutputcommitter.algorithm.version"
_HIDES_LOSS = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")


class TableSettings(Protocol):
    """What the sections of a configuration that name a table have in common."""

    path: str | None
    table: str | None
    query: str | None
    format: str
    options: dict[str, str]


@dataclass(frozen=True)
class Table:
    """An opened table.

    Parameters
    ----------
    name
        How messages call it, such as ``labeled``.
    schema
        Its columns; with ``file`` and ``row_index`` if the user has no id.
    opener
        Lets Spark open its rows.
    files
        The data files, where it is given by path; None for tables, queries and DataFrames.
    plain
        The table as it is read without Spark, where that is possible.
    """

    name: str
    schema: T.StructType
    opener: Callable[[], DataFrame] = field(repr=False, compare=False)
    files: tuple[FileInfo, ...] | None = None
    plain: PlainTable | None = None

    @classmethod
    def of_rows(cls, name: str, rows: DataFrame) -> Table:
        """Name rows that Spark has opened; columns of foreign types stand in the schema only."""
        schema = schema_of(rows)
        safe = without_foreign_types(rows, schema)
        return cls(name, schema, lambda: safe)

    @cached_property
    def rows(self) -> DataFrame:
        """Its rows as Spark reads them.

        Opened when first asked for: a run whose files are read by driver and workers never asks,
        and is spared the seconds that a JVM takes to load all that plans a query.
        """
        return self.opener()

    def changed(self, schema: T.StructType, change: Callable[[DataFrame], DataFrame]) -> Table:
        """Return the table with other columns or rows."""
        return replace(self, schema=schema, opener=lambda: change(self.rows))


def open_table(
    spark: SparkSession, settings: TableSettings, name: str, *, positions: bool = False
) -> Table:
    """Open a table of the configuration.

    Parameters
    ----------
    settings
        Its section.
    name
        How messages call it: the section's name.
    positions
        Add ``file`` and ``row_index``, which identify a row of a Parquet directory.

    Raises
    ------
    InputError
        If it does not exist, is empty, damaged or of another format than said.
    """
    refuse_hidden_loss(spark)
    try:
        if settings.path is not None:
            return _open_path(spark, settings, name, positions)
        if settings.table is not None:
            return Table.of_rows(name, spark.table(settings.table))
        return Table.of_rows(name, spark.sql(str(settings.query)))
    except PySparkException as error:
        raise _unreadable(settings, name, error) from error


def refuse_hidden_loss(spark: SparkSession) -> None:
    """Refuse settings with which Spark leaves out damaged files without a word."""
    for key in _HIDES_LOSS:
        if str(spark.conf.get(key, "false")).lower() == "true":
            raise InputError(
                f"{key} must be false: damaged files would be left out without a word.",
                code="hides_loss",
                where=key,
            )


def refuse_unsafe_commits(spark: SparkSession) -> None:
    """Refuse the committer that publishes what tasks write before they are known to be whole.

    With it the files of a task that was lost and ran again stand side by side in the output.
    """
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    version = spark.conf.get(_COMMITTER, None) or hadoop.get(_COMMITTER)
    if str(version or "1").strip() != "1":
        raise InputError(
            f"{_COMMITTER} must be 1. It is {version}: rows of tasks that were lost would be "
            f"published beside those of their second try. Set spark.hadoop.{_COMMITTER} to 1.",
            code="unsafe_committer",
            where=_COMMITTER,
        )


def list_data(spark: SparkSession, path: str) -> tuple[FileInfo, ...]:
    """List a directory's data files as Spark would read them."""
    files, root = files_for(spark, path)
    return tuple(info for info in files.list(root) if not is_hidden(info.path))


def require_columns(schema: T.StructType, columns: Sequence[str], name: str) -> None:
    """Refuse a table that lacks a column, naming what it has."""
    missing = [column for column in columns if column not in schema.names]
    if missing:
        raise InputError(
            f"{name} lacks columns {missing}. It has {schema.names}.",
            code="missing_column",
            where=missing[0],
        )


def with_hash(rows: DataFrame, keys: Sequence[str], random_state: int) -> DataFrame:
    """Add a hash of the row's identity, the same as ``core.hashing``: all chance comes from it."""
    return rows.withColumn(HASH, F.xxhash64(*keys, F.lit(random_state).cast("bigint")))


def to_arrow(rows: DataFrame) -> pa.Table:
    """Collect rows to the driver; an action."""
    return rows.toArrow()


def _open_path(spark: SparkSession, settings: TableSettings, name: str, positions: bool) -> Table:
    path = str(settings.path)
    files, root = files_for(spark, path)
    _check_exists(files, root, path, name)
    listed = list_data(spark, path)
    is_directory = any(info.path for info in listed)
    if is_directory:
        _check_format(files, root, settings, name)
    _check_files(listed, settings, name)
    plain = _plain_table(spark, files, root, listed, settings, name)
    defaults = CSV_DEFAULTS if settings.format == "csv" else {}

    def opener() -> DataFrame:
        reader = spark.read.format(settings.format).options(**{**defaults, **settings.options})
        if plain is not None:  # else Spark runs a job to find the schema
            reader = reader.schema(_by_spark(plain.spark_schema))
        rows = reader.load(path)
        return _with_positions(spark, rows, path) if positions else rows

    if plain is None:
        return replace(Table.of_rows(name, opener()), files=listed)
    schema = T.StructType([*plain.spark_schema.fields, *(_POSITIONS if positions else ())])
    return Table(name, schema, opener, listed, plain)


def _by_spark(schema: T.StructType) -> T.StructType:
    """Return a schema by which Spark reads: it takes columns without a type for integers."""
    return T.StructType(
        [
            T.StructField(field.name, T.IntegerType())
            if isinstance(field.dataType, T.NullType)
            else field
            for field in schema
        ]
    )


def _plain_table(
    spark: SparkSession,
    files: Files,
    root: str,
    listed: tuple[FileInfo, ...],
    settings: TableSettings,
    name: str,
) -> PlainTable | None:
    if settings.format != "parquet":
        return None
    try:
        plain = plain_table(spark, files, root, listed)
    except InputError as error:
        message = f"{name}: {error.message}"
        raise InputError(message, code=error.code, where=error.where) from error
    return None if settings.options else plain


def _with_positions(spark: SparkSession, rows: DataFrame, path: str) -> DataFrame:
    jvm: Any = spark._jvm
    hadoop_path = jvm.org.apache.hadoop.fs.Path(path)
    filesystem = hadoop_path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    base = filesystem.makeQualified(hadoop_path).toUri().toString()
    # Spark writes local files as file:///a, Hadoop as file:/a.
    full = F.regexp_replace(F.col("_metadata.file_path"), r"^(\w+):/{1,3}", "$1:/")
    start = len(base.rstrip("/").replace(":///", ":/", 1)) + 2
    relative = F.substring(full, start, 1 << 20)
    file = F.when(F.length(relative) == 0, F.col("_metadata.file_name")).otherwise(relative)
    index = F.col("_metadata.row_index").cast("bigint")
    return rows.select("*", _unescaped(file).alias(FILE), index.alias(ROW_INDEX))


def _unescaped(path: Column) -> Column:
    """Return a path as a listing has it; Spark escapes blanks and more as URLs do."""
    # url_decode takes + for a blank, which in a path it is not.
    return F.url_decode(F.replace(path, F.lit("+"), F.lit("%2B")))


def _check_exists(files: Files, root: str, path: str, name: str) -> None:
    if any(character in path for character in "*?[{"):
        raise InputError(
            f"{name}.path must be a file or a directory, not a pattern. Got {path!r}.",
            code="bad_path",
            where=path,
        )
    if not files.exists(root):
        raise InputError(
            f"{name}.path {path!r} does not exist. Relative paths are relative to the working "
            "directory.",
            code="missing_path",
            where=path,
        )


def _check_format(files: Files, root: str, settings: TableSettings, name: str) -> None:
    if settings.format != "parquet":
        return
    for marker, table_format in _TABLE_FORMATS.items():
        inside = files.names(f"{root}/{marker}")
        is_iceberg = any(entry.endswith(".metadata.json") for entry in inside)
        if inside and (marker != "metadata" or is_iceberg):
            raise InputError(
                f"{name}.path {settings.path!r} is a {table_format} table: read as Parquet it "
                f"would return deleted rows. Write format: {table_format}, or name it by table:.",
                code="table_format",
                where=str(settings.path),
            )


def _check_files(listed: Sequence[FileInfo], settings: TableSettings, name: str) -> None:
    if not listed:
        raise InputError(
            f"{name}.path {settings.path!r} holds no files.", code="no_files", where=settings.path
        )
    for info in listed:
        if info.bytes == 0:
            raise _damaged(settings, name, info, "is empty (0 bytes)")


def _damaged(settings: TableSettings, name: str, info: FileInfo, what: str) -> InputError:
    where = f"{settings.path}/{info.path}" if info.path else str(settings.path)
    return InputError(
        f"{name}: {where} {what}. Write it again, or take it out of the directory.",
        code="damaged_file",
        where=where,
    )


def _unreadable(settings: TableSettings, name: str, error: PySparkException) -> InputError:
    what = settings.path or settings.table or settings.query
    return InputError(
        f"{name} {what!r} can't be read: {str(error).splitlines()[0]}",
        code=(error.getCondition() or "unreadable").lower(),
        where=what,
    )
