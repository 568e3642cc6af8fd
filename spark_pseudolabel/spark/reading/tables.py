"""Tables as users name them, opened and checked before anything is read from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, reduce
from typing import Any, Protocol

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import FILE, HASH, ROW_INDEX, UNREADABLE
from spark_pseudolabel.core.text_types import TextFacts
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import FILE_FORMATS, format_of, is_hidden
from spark_pseudolabel.spark.direct.merging import SchemaOfFiles, require_unique
from spark_pseudolabel.spark.direct.plain_csv import PlainCsv
from spark_pseudolabel.spark.direct.survey import PlainTable, parquet_table
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.reading.csv_files import open_csv
from spark_pseudolabel.spark.reading.folders import Folders
from spark_pseudolabel.spark.reading.json_files import CORRUPT, holds_documents, with_reasons
from spark_pseudolabel.spark.reading.logged import is_logged, open_logged, rows_of
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.schema_text import (
    has_unknown_types,
    schema_of,
    without_foreign_types,
)
from spark_pseudolabel.spark.reading.slices import collect_arrow
from spark_pseudolabel.store.files import FileInfo, Files, join, unglobbed
from spark_pseudolabel.store.inputs import PinnedTable

# Read as plain Parquet, these would return rows that their own log has deleted.
_TABLE_FORMATS: Mapping[str, str] = {
    "_delta_log": "delta",
    "metadata": "iceberg",
    ".hoodie": "hudi",
}

_POSITIONS = (T.StructField(FILE, T.StringType()), T.StructField(ROW_INDEX, T.LongType()))

_COMMITTER = "mapreduce.fileoutputcommitter.algorithm.version"
_TEXT_FORMATS = ("csv", "json")
"""A file of no bytes holds no rows in these; Spark leaves such files for empty partitions."""

_NAMED = 5
_HIDES_LOSS = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")


@dataclass(frozen=True)
class Note:
    """Something about the inputs that a user should know, as a warning has it."""

    code: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return the form it has in a report."""
        return asdict(self)


class TableSettings(Protocol):
    """What the sections of a configuration that name a table have in common."""

    path: str | None
    table: str | None
    query: str | None
    format: str
    options: dict[str, str]
    version: int | None


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
    pinned
        Which version of it this is, where it keeps a log.
    texts
        Columns that are text for want of a type of their own, and what is known of their values.
    lacking
        Columns that some of its files lack, and the first such file.
    notes
        What a user should know of how it is read.
    strings_may_be_empty
        Whether a column without any value is a string, for want of a type.
    csv
        The same files as workers read them by themselves, where these are CSV that may be plain.
    by_lines
        Opens the rows of files that hold no line break inside of a value, which several tasks can
        read at once; None where that is no gain.
    unclosed
        Names a file of text in which a quote is not closed; None where there are no quotes.
    first_unreadable
        Says where the first row is that can't be read, as far as that is known; None where all
        rows can. Such rows have a reason in ``spl_unreadable``.
    """

    name: str
    schema: T.StructType
    opener: Callable[[], DataFrame] = field(repr=False, compare=False)
    files: tuple[FileInfo, ...] | None = None
    plain: PlainTable | None = None
    pinned: PinnedTable | None = None
    texts: Mapping[str, TextFacts | None] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    strings_may_be_empty: bool = False
    csv: PlainCsv | None = field(default=None, repr=False, compare=False)
    by_lines: Callable[[], DataFrame] | None = field(default=None, repr=False, compare=False)
    unclosed: Callable[[], str | None] | None = field(default=None, repr=False, compare=False)
    first_unreadable: Callable[[], str | None] | None = field(
        default=None, repr=False, compare=False
    )

    @classmethod
    def of_rows(cls, name: str, rows: DataFrame) -> Table:
        """Name rows that Spark has opened; columns of foreign types are in the schema only.

        Raises
        ------
        InputError
            If two columns have one name, or names that Spark takes for one.
        """
        schema = schema_of(rows)
        _require_names_apart(rows.sparkSession, schema.names, name)
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

    def through_spark(self) -> Table:
        """Return the table as one whose files nobody but Spark may read."""
        return replace(self, plain=None, csv=None)


def open_table(
    spark: SparkSession,
    settings: TableSettings,
    name: str,
    *,
    positions: bool = False,
    only: Collection[str] | None = None,
    pinned: PinnedTable | None = None,
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
    only
        Of a directory, the files that are read, as :func:`list_data` names them; None: all.
    pinned
        Of a table that keeps a log, the version that a run has begun with; None: it begins now.

    Raises
    ------
    InputError
        If it does not exist, is empty, damaged or of another format than said.
    """
    refuse_hidden_loss(spark)
    try:
        if is_logged(settings):
            return _open_logged(spark, settings, name, only, pinned)
        if settings.path is not None:
            return _open_path(spark, settings, name, positions, only)
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
        raise InputError.missing_columns(name, missing, schema.names)


def require_in_all_files(table: Table, columns: Sequence[str]) -> None:
    """Refuse a table of which a file lacks a column that every row needs."""
    lost = [name for name in columns if name in table.lacking]
    if lost:
        raise InputError(
            f"{table.name}: {table.lacking[lost[0]]} lacks column {lost[0]!r}, which other files "
            "of the table have. Write it again with all columns, or take it out of the directory.",
            code="missing_column",
            where=lost[0],
        )


def reasons_of(rows: DataFrame) -> list[Column]:
    """Return the column with the reasons why rows can't be read, where some can't."""
    return [column(UNREADABLE)] if UNREADABLE in rows.columns else []


def nameless_column(table: str, stored: str = "") -> Note:
    """Tell that a column without a name is left out; `stored` is what it is called in its file."""
    called = f" ({stored!r})" if stored else ""
    return Note(
        "nameless_column",
        f"A column of {table}{called} has no name, as the row numbers have none that pandas "
        "writes: it is left out. Name it if it is to be used.",
    )


def some(items: Sequence[str]) -> str:
    """Name the first few of many."""
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def with_hash(rows: DataFrame, keys: Sequence[str], random_state: int) -> DataFrame:
    """Add a hash of the row's identity, the same as ``core.hashing``: all chance comes from it."""
    seed = F.lit(random_state).cast("bigint")
    return rows.withColumn(HASH, F.xxhash64(*columns(keys), seed))


def to_arrow(rows: DataFrame) -> pa.Table:
    """Collect rows to the driver; an action."""
    return collect_arrow(rows)


def _open_logged(
    spark: SparkSession,
    settings: TableSettings,
    name: str,
    only: Collection[str] | None,
    pinned: PinnedTable | None,
) -> Table:
    opened = open_logged(spark, settings, name, pinned=pinned, only=only)
    plain = opened.plain
    if opened.rows is not None or plain is None:
        assert opened.rows is not None
        return replace(Table.of_rows(name, opened.rows), pinned=opened.pinned)
    require_unique(plain.schema.names, name)
    return Table(
        name,
        plain.spark_schema,
        lambda: rows_of(spark, plain),
        opened.files,
        plain,
        opened.pinned,
    )


def _open_path(
    spark: SparkSession,
    settings: TableSettings,
    name: str,
    positions: bool,
    only: Collection[str] | None,
) -> Table:
    path = str(settings.path)
    files, root = files_for(spark, path)
    _check_exists(files, root, path, name)
    listed = list_data(spark, path)
    if any(info.path for info in listed):
        _check_format(files, root, settings, name)
    if only is not None:
        wanted = frozenset(only)
        listed = tuple(info for info in listed if info.path in wanted)
    _check_files(listed, settings, name)
    if settings.format not in FILE_FORMATS and not positions:
        reader = spark.read.format(settings.format).options(**settings.options)
        return replace(Table.of_rows(name, reader.load(path)), files=listed)
    folders = Folders.of(listed, name)
    opened = _Opened(spark, settings, name, files, root, listed, folders, only is not None)
    if settings.format == "parquet":
        return opened.parquet(positions)
    if positions:
        raise InputError(
            f"id must name the column with the rows' ids: {name}.path {path!r} holds "
            f"{settings.format}, and only rows of Parquet files are known by their place.",
            code="no_id",
            where="id",
        )
    if settings.format == "csv":
        return opened.csv()
    if settings.format == "json":
        return opened.json()
    return opened.typed_by_spark()


@dataclass(frozen=True)
class _Opened:
    """A path that exists and holds files."""

    spark: SparkSession
    settings: TableSettings
    name: str
    files: Files
    root: str
    listed: tuple[FileInfo, ...]
    folders: Folders
    restricted: bool = False
    """Whether the path holds other files, too, which are not read."""

    @property
    def path(self) -> str:
        return str(self.settings.path)

    def parquet(self, positions: bool) -> Table:
        try:
            parquet = parquet_table(self.spark, self.files, self.root, self.listed)
        except InputError as error:
            message = f"{self.name}: {error.message}"
            raise InputError(message, code=error.code, where=error.where) from error
        plain = None if self.settings.options else parquet.plain
        merged = parquet.merged.spark_schema
        own = [field for field in merged if field.name not in self.folders.columns]
        if positions:
            own = [field for field in own if field.name not in (FILE, ROW_INDEX)]
        schema = T.StructType([*own, *self.folders.fields])

        lost = {
            field.name
            for group in parquet.groups
            for field in group.spark_schema
            if not _spark_reads(group.schema, field)
        }
        readable = T.StructType([field for field in schema if field.name not in lost])

        def opener() -> DataFrame:
            _require_names_apart(self.spark, schema.names, self.name)
            n_groups = len(parquet.groups)
            frames = [self._group(group, readable, positions, n_groups) for group in parquet.groups]
            return reduce(DataFrame.union, frames)

        notes: tuple[Note, ...] = ()
        dropped = [name for name in merged.names if name in (FILE, ROW_INDEX)] if positions else []
        if dropped:
            notes += (
                Note(
                    "reserved_name",
                    f"Column {dropped[0]!r} of {self.name} is left out: without an id a row is "
                    f"known by {FILE!r} and {ROW_INDEX!r}. Name an id, or rename the column.",
                ),
            )
        with_places = T.StructType([*schema, *(_POSITIONS if positions else ())])
        return Table(
            self.name,
            with_places,
            opener,
            self.listed,
            plain,
            texts=self.folders.facts,
            lacking=parquet.merged.lacking,
            notes=notes,
        )

    def _group(
        self, group: SchemaOfFiles, schema: T.StructType, positions: bool, n_groups: int
    ) -> DataFrame:
        """Return the rows of files of one schema with the columns of all."""
        readable = [
            field
            for field in group.spark_schema
            if field.name in schema.names and not isinstance(field.dataType, T.NullType)
        ]
        reader = self._reader().schema(T.StructType([*readable, *self.folders.fields]))
        alone = n_groups == 1 and not self.restricted
        paths = None if alone else [unglobbed(join(self.path, f)) for f in group.files]
        rows = self._load(reader, paths)
        if positions:
            rows = _with_positions(self.spark, rows, self.path)
        has = {field.name for field in [*readable, *self.folders.fields, *_POSITIONS]}
        wanted = [*schema, *(_POSITIONS if positions else ())]
        return rows.select(
            *[
                column(field.name).cast(field.dataType).alias(field.name)
                if field.name in has
                else F.lit(None).cast(field.dataType).alias(field.name)
                for field in wanted
            ]
        )

    def csv(self) -> Table:
        csv_files = open_csv(
            self.files,
            self.root,
            self.path,
            self.listed,
            self.settings.options,
            self.name,
            self.folders.columns,
            self.folders.nested,
            restricted=self.restricted,
        )
        names = csv_files.names
        _require_names_apart(self.spark, names, self.name)
        schema = T.StructType([T.StructField(name, T.StringType()) for name in names])
        notes = (nameless_column(self.name),) if csv_files.nameless else ()
        infers = self.settings.options.get("inferSchema", "true").lower() == "true"
        texts: dict[str, TextFacts | None] = dict.fromkeys(names) if infers else {}
        return Table(
            self.name,
            schema,
            lambda: csv_files.rows(self.spark),
            self.listed,
            texts=texts | self.folders.facts,
            lacking=csv_files.lacking(),
            notes=notes,
            csv=csv_files.plain(self.root),
            by_lines=(lambda: csv_files.by_lines.rows(self.spark)) if csv_files.large else None,
            unclosed=lambda: csv_files.unclosed(self.spark),
            first_unreadable=lambda: csv_files.first_unreadable(self.files, self.root),
        )

    def json(self) -> Table:
        option_names = {key.lower() for key in self.settings.options}
        is_document = "multiline" not in option_names and holds_documents(
            self.files, self.root, self.listed, self.name
        )
        options = {"columnNameOfCorruptRecord": CORRUPT}
        if is_document:
            options["multiLine"] = "true"
        return self.typed_by_spark(**options)

    def typed_by_spark(self, **options: str) -> Table:
        """Let Spark find the columns; those of directories are text."""
        schema = schema_of(self._load(self._reader().options(**options)))
        as_text = {field.name: field for field in self.folders.fields}
        schema = T.StructType([as_text.get(field.name, field) for field in schema])
        shown = [field for field in schema if field.name != CORRUPT]
        if not shown:
            raise InputError(
                f"{self.name}: {self.path!r} holds no JSON objects. A file must be one object a "
                "line, or an array of objects.",
                code="no_columns",
                where=self.path,
            )
        _require_names_apart(self.spark, [field.name for field in shown], self.name)

        def opener() -> DataFrame:
            known = [f for f in schema if not has_unknown_types(T.StructType([f]))]
            reader = self._reader().options(**options).schema(T.StructType(known))
            return with_reasons(self._load(reader), T.StructType(known))

        return Table(
            self.name,
            T.StructType(shown),
            opener,
            self.listed,
            texts=self.folders.facts,
            first_unreadable=(lambda: None) if CORRUPT in schema.names else None,
            strings_may_be_empty=self.settings.format == "json",
        )

    def _reader(self) -> DataFrameReader:
        return self.spark.read.format(self.settings.format).options(**self.settings.options)

    def _load(self, reader: DataFrameReader, paths: list[str] | None = None) -> DataFrame:
        if self.folders.nested:
            reader = reader.option("recursiveFileLookup", "true")
        if paths is None and self.restricted:
            paths = [unglobbed(join(self.path, info.path)) for info in self.listed]
        if paths is None:
            return reader.load(unglobbed(self.path))
        if self.folders.columns:
            reader = reader.option("basePath", self.path)
        return reader.load(paths)


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


def _spark_reads(schema: pa.Schema, field: T.StructField) -> bool:
    """Whether Spark's Parquet reader takes a column: no nanoseconds, no type that it lacks."""
    stored = schema.field(field.name).type
    nanoseconds = pa.types.is_timestamp(stored) and stored.unit == "ns"
    return not (nanoseconds or has_unknown_types(T.StructType([field])))


def _require_names_apart(spark: SparkSession, names: Sequence[str], table: str) -> None:
    """Refuse names that Spark takes for one; only it does."""
    require_unique(names, table)
    if str(spark.conf.get("spark.sql.caseSensitive")).lower() == "true":
        return
    lowered: dict[str, str] = {}
    for name in names:
        first = lowered.setdefault(name.lower(), name)
        if first != name:
            raise InputError(
                f"{table}: columns {first!r} and {name!r} differ in case only, which Spark takes "
                "for one. Rename one of them.",
                code="column_twice",
                where=name,
            )


def _check_exists(files: Files, root: str, path: str, name: str) -> None:
    if files.exists(root):
        return
    if any(character in path for character in "*?[{"):
        raise InputError(
            f"{name}.path must be a file or a directory, not a pattern. Got {path!r}.",
            code="bad_path",
            where=path,
        )
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
    _check_suffixes(listed, settings, name)
    for info in listed:
        if info.bytes == 0 and settings.format not in _TEXT_FORMATS:
            raise _damaged(settings, name, info, "is empty (0 bytes)")


def _check_suffixes(listed: Sequence[FileInfo], settings: TableSettings, name: str) -> None:
    """Refuse a directory whose files' names tell other formats than it is read as."""
    if settings.format not in FILE_FORMATS:
        return
    path_of = {format_of(info.path): info.path for info in reversed(listed) if info.path}
    others = {kind: path for kind, path in path_of.items() if kind not in (None, settings.format)}
    if not others:
        return
    kind, path = next(iter(others.items()))
    remedy = f"Write format: {kind}, or take it out of the directory."
    raise InputError(
        f"{name}.path {settings.path!r} is read as {settings.format}, and holds {path}. {remedy}",
        code="other_format",
        where=path,
    )


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
