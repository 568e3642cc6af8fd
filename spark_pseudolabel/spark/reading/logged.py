"""Tables that keep a log: Delta and Iceberg, pinned to a version, read by the workers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import types as T

from spark_pseudolabel.errors import InputError, text_of
from spark_pseudolabel.formats import LOGGED_FORMATS
from spark_pseudolabel.spark.direct.logged import LoggedTable, logged_table
from spark_pseudolabel.spark.direct.source import read_part
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.reading.schema_text import has_unknown_types
from spark_pseudolabel.store.files import FileInfo
from spark_pseudolabel.store.inputs import PinnedTable
from spark_pseudolabel.store.logs.iceberg import EMPTY
from spark_pseudolabel.store.logs.opening import read_version
from spark_pseudolabel.store.logs.version import TableVersion

_JARS = {
    "delta": "Delta's (io.delta:delta-spark_<version of Spark>_2.13)",
    "iceberg": "Iceberg's (org.apache.iceberg:iceberg-spark-runtime-<version of Spark>_2.13)",
}
_VERSION_OPTION = {"delta": "versionAsOf", "iceberg": "snapshot-id"}


class LoggedSettings(Protocol):
    """What the section of a table that keeps a log says."""

    path: str | None
    table: str | None
    format: str
    options: dict[str, str]
    version: int | None


@dataclass(frozen=True)
class Logged:
    """An opened version of a table.

    Parameters
    ----------
    pinned
        Which.
    files
        Its data files that are read; None where only Spark knows them.
    plain
        They as workers read them; None where only Spark does.
    rows
        As Spark reads them.
    """

    pinned: PinnedTable
    files: tuple[FileInfo, ...] | None
    plain: LoggedTable | None
    rows: DataFrame | None = None


def is_logged(settings: LoggedSettings) -> bool:
    """Whether a section names a table that keeps a log."""
    named = settings.path is not None or settings.table is not None
    return named and settings.format in LOGGED_FORMATS


def version_of(
    spark: SparkSession, settings: LoggedSettings, pinned: PinnedTable | None = None
) -> TableVersion:
    """Read what the log says of the version that is pinned, or the one to begin with.

    Raises
    ------
    InputError
        As :func:`read_version` does.
    """
    files, root = files_for(spark, _location(spark, settings))
    if not files.exists(root):
        raise InputError(
            f"{settings.path or settings.table!r} does not exist: {root} is not there. Relative "
            "paths are relative to the working directory.",
            code="missing_path",
            where=root,
        )
    return read_version(
        files, root, settings.format, settings.options, pinned=pinned, version=settings.version
    )


def open_logged(
    spark: SparkSession,
    settings: LoggedSettings,
    name: str,
    *,
    pinned: PinnedTable | None = None,
    only: Collection[str] | None = None,
) -> Logged:
    """Open a version of a table.

    Parameters
    ----------
    spark
        The session.
    settings, name
        Its section of the configuration, and what messages call it.
    pinned
        What a run has begun with; None: it begins now.
    only
        Of its files those that are read, where the log tells them; None: all.

    Raises
    ------
    InputError
        If it is not there, the version is expired, or what reads it is missing.
    """
    try:
        version = version_of(spark, settings, pinned)
        if version.only_spark:
            rows = _read_by_spark(spark, settings, version, name)
            return Logged(version.pinned, None, None, rows)
        files, _ = files_for(spark, version.root)
        chosen = [file for file in version.files if only is None or file.info.path in only]
        plain = logged_table(spark, files, version, chosen)
    except InputError as error:
        message = f"{name}: {error.message}"
        raise InputError(message, code=error.code, where=error.where) from error
    return Logged(version.pinned, tuple(file.info for file in chosen), plain)


def rows_of(spark: SparkSession, plain: LoggedTable) -> DataFrame:
    """Return the rows of a table's files, which workers read, as Spark has them.

    So needs Spark no jar of the format, and reads what the direct scan does.
    """
    known = [field for field in plain.spark_schema if not has_unknown_types(T.StructType([field]))]
    names = [field.name for field in known]
    types = pa.schema([plain.schema.field(name) for name in names])
    source = replace(plain.source((), names), types=types)
    parts = spark.sparkContext.broadcast(plain.parts)

    def read(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                for rows in read_part(source, parts.value[number]):
                    yield rows.batch

    n_parts = len(plain.parts)
    numbers = spark.range(0, n_parts, 1, max(1, n_parts))
    return numbers.mapInArrow(read, T.StructType(known))


def _location(spark: SparkSession, settings: LoggedSettings) -> str:
    """Return where the table is: of Iceberg's, where its latest metadata are."""
    if settings.path is not None:
        return settings.path
    table = str(settings.table)
    try:
        if settings.format == "iceberg":
            entries = spark.table(f"{table}.metadata_log_entries").collect()
            return str(max(entries, key=lambda entry: entry["timestamp"])["file"])
        described = spark.sql(f"DESCRIBE TABLE EXTENDED {table}").collect()
        return next(str(row["data_type"]) for row in described if row["col_name"] == "Location")
    except (PySparkException, Py4JError, StopIteration) as error:
        raise InputError(
            f"Spark's catalog does not tell where the {settings.format} table {table!r} is: "
            f"{_why(error)} It needs the catalog's settings, and the jar: "
            f"{_JARS[settings.format]}; or name the table by path.",
            code="no_table",
            where=table,
        ) from error


def _read_by_spark(
    spark: SparkSession, settings: LoggedSettings, version: TableVersion, name: str
) -> DataFrame:
    reader = spark.read.format(settings.format).options(**settings.options)
    if version.pinned.version != EMPTY:
        reader = reader.option(_VERSION_OPTION[settings.format], str(version.pinned.version))
    try:
        return _load(reader, settings)
    except (PySparkException, Py4JError) as error:
        raise InputError(
            f"only Spark can read {version.words}, since {version.only_spark}; and it can't: "
            f"{_why(error)} Add the jar of the format to Spark: {_JARS[settings.format]}; or "
            "write the table's rows into plain files first.",
            code="needs_jar",
            where=name,
        ) from error


def _why(error: Exception) -> str:
    """Return the line of an error that says what it is, which Java has after where it was."""
    lines = text_of(error).strip().splitlines()
    said = next((line for line in lines if "[" in line), lines[0] if lines else "")
    return f"{said.rpartition('Exception: ')[2].strip(' .')}." if said else ""


def _load(reader: DataFrameReader, settings: LoggedSettings) -> DataFrame:
    if settings.path is not None:
        return reader.load(settings.path)
    return reader.table(str(settings.table))
