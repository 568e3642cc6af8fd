"""CSV as RFC 4180 has it: every column as text, and a reason for each row that is otherwise.

Spark parses the rows, so that any file system and any size will do. What its reader does without a
word is asked of it otherwise: headers are read here, file by file; bytes come as they are (as
Latin-1) and are turned into text afterwards, so that what is not UTF-8 shows; a row of another
width than the header is kept apart by the reader itself.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, reduce
from typing import BinaryIO, TextIO

from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import UNREADABLE
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import is_compressed, is_tab_separated
from spark_pseudolabel.spark.direct.plain_csv import PlainCsv
from spark_pseudolabel.spark.reading.compressed import decompressed
from spark_pseudolabel.spark.reading.names import column
from spark_pseudolabel.store.files import FileInfo, Files, join, unglobbed

_BROKEN = "spl_broken"
_BYTES = "ISO-8859-1"
_UTF_8 = ("utf-8", "utf-8-sig", "ascii")
_SPARKS_OWN = ("utf-16", "utf-16-le", "utf-16-be", "utf-32")
_NAMELESS = "Unnamed: "
_SEPARATORS = (";", "\t", "|", ",")
_LARGE = 2**27
_LONGEST_FIELD = 2**31 - 1
_PLAIN_OPTIONS = frozenset({"header", "quote", "multiline", "sep", "escape", "encoding"})
_CHARACTERS = ("quote", "escape", "comment")
_MOST_COLUMNS = 20_480  # Spark's own limit, where the header has less
_NOT_TEXT = "is not {} (options: encoding says what a file is)"


@dataclass(frozen=True)
class Dialect:
    """How the fields of a file are written; RFC 4180 unless the user says otherwise.

    Parameters
    ----------
    options
        For Spark's reader.
    """

    options: Mapping[str, str]

    @classmethod
    def of(cls, given: Mapping[str, str], names: Sequence[str]) -> Dialect:
        """Complete the user's options, which win, for files of these names.

        Raises
        ------
        InputError
            If an option is longer than the one character that it may be, or shorter.
        """
        options = {key.lower(): value for key, value in given.items()}
        for alias, key in (("delimiter", "sep"), ("charset", "encoding")):
            if alias in options:
                options.setdefault(key, options.pop(alias))
        if names and all(map(is_tab_separated, names)):
            options.setdefault("sep", "\t")
        options = {"header": "true", "quote": '"', "multiline": "true", "sep": ",", **options}
        options.setdefault("escape", options["quote"])
        options.pop("inferschema", None)
        _require_characters(options)
        return cls(options)

    @property
    def header(self) -> bool:
        """Whether the first line names the columns."""
        return self.options["header"].lower() == "true"

    @property
    def utf_8(self) -> bool:
        """Whether the bytes are UTF-8, which is checked."""
        return self.encoding == "utf-8-sig"

    @cached_property
    def encoding(self) -> str:
        """The encoding by its name in Python.

        Raises
        ------
        InputError
            If there is none of that name, or Spark can't read it.
        """
        encoding = self.options.get("encoding", "utf-8")
        try:
            name = codecs.lookup(encoding).name
        except LookupError:
            name = ""
        if name in _UTF_8:
            return "utf-8-sig"
        if name in _SPARKS_OWN or (name and _upper_half(name) is not None):
            return name
        raise InputError(
            f"options: encoding {encoding!r} is none that Spark reads. Write the file as UTF-8.",
            code="encoding",
            where="encoding",
        )

    @property
    def by_bytes(self) -> bool:
        """Whether Spark gives the bytes, which are turned into text afterwards."""
        return self.encoding not in _SPARKS_OWN

    def text(self, field: Column) -> Column:
        """Return a field of a row as text; null where its bytes are no UTF-8."""
        if not self.by_bytes:
            return field
        if self.utf_8:
            return F.try_validate_utf8(F.encode(field, _BYTES).cast("string"))
        bytes_, characters = _upper_half(self.encoding) or ("", "")
        return F.translate(field, bytes_, characters)

    def reader(self, lines: Iterator[str] | TextIO) -> Iterator[list[str]]:
        """Parse lines as Spark's reader does, as far as Python's own can."""
        separator = _unescaped(self.options["sep"])
        if len(separator) != 1:
            return (line.rstrip("\r\n").split(separator) for line in lines)
        comment = self.options.get("comment", "")
        content = (line for line in lines if not (comment and line.startswith(comment)))
        quote, escape = self.options["quote"], self.options["escape"]
        return csv.reader(
            content,
            delimiter=separator,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            doublequote=escape == quote,
            escapechar=None if escape == quote else escape or None,
        )


@dataclass(frozen=True)
class CsvGroup:
    """Files whose headers are the same."""

    header: tuple[str, ...]
    files: tuple[FileInfo, ...]


@dataclass(frozen=True)
class CsvFiles:
    """A CSV file, or a directory of such files.

    Parameters
    ----------
    path
        As the user gives it.
    dialect
        How they are written.
    groups
        The files by their headers.
    partitions
        Columns that directories name.
    nested
        Whether files lie in directories that name no column.
    restricted
        Whether the path holds other files, too, which are not read.
    """

    path: str
    dialect: Dialect
    groups: tuple[CsvGroup, ...]
    partitions: tuple[str, ...] = ()
    nested: bool = False
    restricted: bool = False

    @property
    def names(self) -> list[str]:
        """The columns of all files, as they first appear, and those of directories."""
        columns = dict.fromkeys(name for group in self.groups for name in _columns(group.header))
        return [*(name for name in columns if name not in self.partitions), *self.partitions]

    @property
    def nameless(self) -> bool:
        """Whether a column has no name, as the index has none that pandas writes."""
        return any("" in group.header for group in self.groups)

    def lacking(self) -> dict[str, str]:
        """Return the columns that some file lacks, and the first such file."""
        return {
            name: group.files[0].path
            for name in reversed(self.names)
            for group in self.groups
            if name not in group.header and name not in self.partitions
        }

    @property
    def large(self) -> bool:
        """Whether a file is worth several tasks, and may be cut at its lines if it holds text."""
        sizes = [
            info.bytes
            for group in self.groups
            for info in group.files
            if not is_compressed(info.path or self.path)
        ]
        in_header = any("\n" in name for group in self.groups for name in group.header)
        return self.dialect.by_bytes and not in_header and max(sizes, default=0) > _LARGE

    @property
    def by_lines(self) -> CsvFiles:
        """The same, read line by line: only where no value holds a line break."""
        dialect = Dialect({**self.dialect.options, "multiline": "false"})
        return replace(self, dialect=dialect)

    def plain(self, root: str) -> PlainCsv | None:
        """Return the files as workers read them, as far as options and names allow it."""
        options, separator = self.dialect.options, self.dialect.options["sep"]
        usual = options.keys() <= _PLAIN_OPTIONS and self.dialect.header and self.dialect.utf_8
        usual = usual and options["quote"] == options["escape"] == '"'
        listed = [(info, group.header) for group in self.groups for info in group.files]
        whole = not any(is_compressed(info.path or self.path) for info, _ in listed)
        if not usual or not whole or self.partitions or len(separator.encode()) != 1:
            return None
        return PlainCsv(root, separator, tuple(listed))

    def first_unreadable(self, files: Files, root: str) -> str | None:
        """Say where the first row is that is not as its header says, and what it is."""
        for group in self.groups:
            for info in group.files:
                where = join(root, info.path)
                problem = unreadable_line(files, where, self.dialect, len(group.header))
                if problem is not None:
                    return f"line {problem[0]} of {where} {problem[1]}"
        return None

    def unclosed(self, spark: SparkSession) -> str | None:
        """Return a file whose quotes are odd in number, as they are where one is not closed.

        None where that says nothing, since quotes are escaped otherwise than by doubling.
        """
        quote = self.dialect.options["quote"]
        if not quote or quote != self.dialect.options["escape"] or not self.dialect.by_bytes:
            return None
        for group in self.groups:
            lines = self._load(spark.read.format("text"), group)
            text, file = F.col("value"), F.col("_metadata.file_path").alias("file")
            without = F.replace(text, F.lit(quote), F.lit(""))
            counted = lines.select((F.length(text) - F.length(without)).alias("quotes"), file)
            per_file = counted.groupBy("file").agg(F.sum("quotes").alias("quotes"))
            odd = per_file.filter(F.col("quotes") % 2 == 1).agg(F.min("file")).collect()[0][0]
            if odd is not None:
                return str(odd)
        return None

    def rows(self, spark: SparkSession) -> DataFrame:
        """Return all columns as text, and ``spl_unreadable``."""
        frames = [self._read(spark, group) for group in self.groups]
        return reduce(DataFrame.union, frames)

    def _read(self, spark: SparkSession, group: CsvGroup) -> DataFrame:
        stored_fields = [f"c{i}" for i in range(len(group.header))]
        stored = [*stored_fields, _BROKEN, *self.partitions]
        fields = [F.col(field) for field in stored_fields]
        # Of the first line Spark learns how lines end: after a line feed, \r\n would leave its \r.
        fields[-1] = F.nullif(F.rtrim(fields[-1], F.lit("\r")), F.lit(""))
        reader = spark.read.format("csv").options(**self.dialect.options)
        reader = reader.option("columnNameOfCorruptRecord", _BROKEN).option("mode", self._mode)
        if "maxcolumns" not in self.dialect.options:
            reader = reader.option("maxColumns", str(max(_MOST_COLUMNS, 2 * len(group.header))))
        if self.dialect.by_bytes:
            reader = reader.option("encoding", _BYTES)
        reader = reader.schema(T.StructType([T.StructField(n, T.StringType()) for n in stored]))
        rows = self._load(reader, group)
        texts = {
            name: self.dialect.text(field)
            for field, name in zip(fields, group.header, strict=True)
            if name
        }
        texts |= {name: column(name) for name in self.partitions}
        missing = F.lit(None).cast("string")
        chosen = [texts.get(name, missing).alias(name) for name in self.names]
        return rows.select(*chosen, self._unreadable(group, fields).alias(UNREADABLE))

    @property
    def _mode(self) -> str:
        return self.dialect.options.get("mode", "PERMISSIVE")

    def _load(self, reader: DataFrameReader, group: CsvGroup) -> DataFrame:
        if self.nested:
            reader = reader.option("recursiveFileLookup", "true")
        if len(self.groups) == 1 and not self.restricted:
            return reader.load(unglobbed(self.path))
        if self.partitions:
            reader = reader.option("basePath", self.path)
        return reader.load([unglobbed(join(self.path, info.path)) for info in group.files])

    def _unreadable(self, group: CsvGroup, fields: Sequence[Column]) -> Column:
        file = F.col("_metadata.file_name")
        width = len(group.header)
        counted = "1 field" if width == 1 else f"{width} fields"
        reason = F.when(
            F.col(_BROKEN).isNotNull(),
            F.concat(file, F.lit(f": the row does not have the header's {counted}")),
        )
        if self.dialect.utf_8:
            for field, name in zip(fields, group.header, strict=True):
                undecoded = self.dialect.text(field).isNull() & field.isNotNull()
                message = F.concat(file, F.lit(f": {name!r} is not UTF-8 (options: encoding)"))
                reason = reason.when(undecoded, message)
        return reason


def open_csv(
    files: Files,
    root: str,
    path: str,
    listed: Sequence[FileInfo],
    given: Mapping[str, str],
    name: str,
    partitions: Sequence[str],
    nested: bool,
    *,
    restricted: bool = False,
) -> CsvFiles:
    """Read the headers of all files.

    Parameters
    ----------
    files, root
        Where they are.
    path
        As the user gives it.
    listed
        The files; those of no bytes hold no rows.
    given
        The user's options.
    name
        How messages call the table.
    partitions, nested
        What its directories name.
    restricted
        Whether the path holds other files, too.

    Raises
    ------
    InputError
        If a file is no CSV, or a header names a column twice.
    """
    dialect = Dialect.of(given, [info.path or root for info in listed])
    headers: dict[tuple[str, ...], list[FileInfo]] = {}

    def look(info: FileInfo) -> tuple[str, ...] | None:
        return read_header(files, join(root, info.path), dialect, name) if info.bytes else None

    with ThreadPoolExecutor(max_workers=8) as threads:
        for info, header in zip(listed, threads.map(look, listed), strict=True):
            if header is not None:
                _require_unique(header, join(root, info.path), name)
                headers.setdefault(header, []).append(info)
    if not headers:
        raise InputError(
            f"{name}: {path!r} is empty: a CSV file begins with a line of column names. Write it "
            "again.",
            code="no_columns",
            where=path,
        )
    groups = tuple(CsvGroup(header, tuple(group)) for header, group in headers.items())
    return CsvFiles(path, dialect, groups, tuple(partitions), nested, restricted)


def read_header(files: Files, where: str, dialect: Dialect, name: str) -> tuple[str, ...] | None:
    """Return the names in a file's first line; None if the file holds no line."""
    try:
        with files.open_input(where) as stream:
            _require_text(stream, where, dialect, name)
            with _lines(stream, where, dialect) as lines:
                fields = next(filter(any, dialect.reader(lines)), None)
        if fields is None:
            return None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(
            f"{name}: the first line of {where} cannot be read ({error}). Write the file again.",
            code="damaged_file",
            where=where,
        ) from error
    if not all(map(_is_text, fields)):
        raise _not_text(where, dialect, name)
    if not dialect.header:
        return tuple(f"_c{i}" for i in range(len(fields)))
    return tuple("" if field.startswith(_NAMELESS) else field for field in fields)


def unreadable_line(
    files: Files, where: str, dialect: Dialect, width: int
) -> tuple[int, str] | None:
    """Find the first row of another width than the header, or no text: its line, what it is."""
    with (
        files.open_input(where) as stream,
        _lines(stream, where, dialect) as lines,
        _fields_of_any_length(),
    ):
        rows = dialect.reader(lines)
        line = 1
        for fields in rows:
            if not all(map(_is_text, fields)):
                return line, _NOT_TEXT.format(dialect.options.get("encoding", "UTF-8"))
            if fields and len(fields) != width:
                return line, f"has {len(fields)} fields, the header {width}"
            line = getattr(rows, "line_num", line) + 1
    return None


@contextlib.contextmanager
def _fields_of_any_length() -> Iterator[None]:
    # Python's csv has one limit for the whole process, which is its user's.
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _require_characters(options: Mapping[str, str]) -> None:
    """Refuse options that neither Spark's reader nor Python's takes."""
    wrong = {key: "one character, or empty" for key in _CHARACTERS if len(options.get(key, "")) > 1}
    if not options["sep"]:
        wrong["sep"] = "at least one character"
    for key, rule in wrong.items():
        raise InputError(
            f"options: {key} must be {rule}. It is {options[key]!r}.", code="bad_option", where=key
        )


def other_separator(header: Sequence[str]) -> str | None:
    """Return what seems to separate the fields where a header is taken for a single name."""
    if len(header) != 1:
        return None
    return next((mark for mark in _SEPARATORS if mark in header[0]), None)


def _columns(header: Sequence[str]) -> list[str]:
    return [name for name in header if name]


@lru_cache
def _upper_half(encoding: str) -> tuple[str, str] | None:
    """Return the bytes above ASCII, as Latin-1, and their characters.

    None where a character may be several bytes, or ASCII is another.
    """
    try:
        if bytes(range(128)).decode(encoding) != bytes(range(128)).decode("ascii"):
            return None
        upper = [bytes([i]).decode(encoding, errors="replace") for i in range(128, 256)]
    except (LookupError, UnicodeError):
        return None
    if any(len(character) != 1 for character in upper) or upper.count("\ufffd") > 64:
        return None
    return bytes(range(128, 256)).decode(_BYTES), "".join(upper)


def _unescaped(separator: str) -> str:
    return separator.replace("\\t", "\t")


def _require_unique(header: Sequence[str], where: str, name: str) -> None:
    twice = sorted({field for field in header if field and header.count(field) > 1})
    if twice:
        raise InputError(
            f"{name}: column {twice[0]!r} occurs twice in the header of {where}. Rename one.",
            code="column_twice",
            where=twice[0],
        )


def _require_text(stream: BinaryIO, where: str, dialect: Dialect, name: str) -> None:
    """Refuse what is no text at all, or text that only its first bytes tell the encoding of."""
    first = stream.read(4)
    stream.seek(0)
    lowered = where.lower()
    for magic, suffix in ((b"\x1f\x8b", ".gz"), (b"BZh", ".bz2"), (b"\x28\xb5\x2f\xfd", ".zst")):
        if first.startswith(magic) and not where.endswith(suffix):
            raise InputError(
                f"{name}: {where} is compressed, and Spark only knows by a name that ends in "
                f"{suffix}. Rename it.",
                code="damaged_file",
                where=where,
            )
    if first[:2] in (b"\xff\xfe", b"\xfe\xff") and dialect.utf_8:
        raise _not_text(where, dialect, name, "UTF-16")
    if lowered.endswith(".zip") or first.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{name}: {where} is an archive or a spreadsheet, no CSV file. Write its table as CSV.",
            code="damaged_file",
            where=where,
        )


def _not_text(where: str, dialect: Dialect, name: str, seems: str | None = None) -> InputError:
    expected = dialect.options.get("encoding", "UTF-8")
    remedy = seems or "windows-1252"
    return InputError(
        f"{name}: {where} is not {expected}. Say what it is, such as options: "
        f"{{encoding: {remedy}}}, or write it as UTF-8.",
        code="encoding",
        where=where,
    )


def _lines(stream: BinaryIO, where: str, dialect: Dialect) -> TextIO:
    # A buffer of bytes is decoded at once: what is wrong in a later line must not stop an earlier.
    encoding, errors = dialect.encoding, "surrogateescape" if dialect.by_bytes else "replace"
    raw = io.BufferedReader(decompressed(stream, where))
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="")


def _is_text(field: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in field)
