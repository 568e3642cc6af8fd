"""CSV that workers read by themselves: files of which every reader makes the same.

Where quotes stand around whole fields only, with neither a line break nor a quote between them, a
row is a line. What else readers may differ in (blank lines, other line ends, rows of another width,
bytes that are no text) is looked for in every block, and any of it leaves the whole table to Spark.
A block may begin between two quotes; then the one before it holds the first of them without its
second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from spark_pseudolabel.columns import BREAKS, UNREADABLE
from spark_pseudolabel.core.text_types import (
    TextFacts,
    TextSurvey,
    TextType,
    survey_text,
)
from spark_pseudolabel.core.text_values import as_type
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.narrow import Written, write_tables
from spark_pseudolabel.spark.tasking import run_tasks
from spark_pseudolabel.store.arrow_files import ArrowFiles
from spark_pseudolabel.store.files import FileInfo, join

BLOCK_BYTES = 32 * 2**20
_FILES_SHOWN = 20
_AT_ONCE = 2**20
_MARK = b"\xef\xbb\xbf"


class NotPlainError(ValueError):
    """A block holds what readers may differ in."""


@dataclass(frozen=True)
class Block:
    """The lines of a file that begin in some range of its bytes.

    Parameters
    ----------
    number
        From 0, over all files.
    file
        Relative to the table's directory.
    file_bytes
        Its length when it was listed.
    start, stop
        The range.
    """

    number: int
    file: str
    file_bytes: int
    start: int
    stop: int


@dataclass(frozen=True)
class PlainCsv:
    """CSV files as workers read them.

    Parameters
    ----------
    root
        Full path or URI.
    separator
        One byte.
    files
        With their headers, by which columns are found in each.
    """

    root: str
    separator: str
    files: tuple[tuple[FileInfo, tuple[str, ...]], ...]

    @property
    def blocks(self) -> list[tuple[Block, tuple[str, ...]]]:
        """Pieces that a task reads each, with the header of their file."""
        found: list[tuple[Block, tuple[str, ...]]] = []
        for info, header in self.files:
            for start in range(0, info.bytes, BLOCK_BYTES):
                stop = min(info.bytes, start + BLOCK_BYTES)
                block = Block(len(found), info.path, info.bytes, start, stop)
                found.append((block, header))
        return found


def read_block(
    source: PlainCsv, block: Block, header: Sequence[str], names: Sequence[str]
) -> pa.Table:
    """Read columns of a block as text; an empty field, or a column that the file lacks, is null.

    Raises
    ------
    NotPlainError
        If the block holds what readers may differ in.
    InputError
        If the file is not the one that was listed.
    """
    text = _text_of(source, block, header)
    _require_plain(text, header, source.separator)
    if not text:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    places = [f"c{i}" for i in range(len(header))]
    place_of = {name: places[list(header).index(name)] for name in names if name in header}
    try:
        table = pc_csv.read_csv(
            pa.BufferReader(text),
            read_options=pc_csv.ReadOptions(
                column_names=places, use_threads=False, block_size=max(2**20, len(text) + 1)
            ),
            parse_options=pc_csv.ParseOptions(delimiter=source.separator, ignore_empty_lines=False),
            convert_options=pc_csv.ConvertOptions(
                # None of them would be all of them.
                include_columns=list(place_of.values()) or places[:1],
                column_types=dict.fromkeys(places, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except pa.ArrowException as error:
        raise NotPlainError(str(error)) from error
    missing = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    return pa.table(
        {name: table[place_of[name]] if name in place_of else missing for name in names}
    )


def survey_plain(
    spark: SparkSession, source: PlainCsv, names: Sequence[str], keys: Sequence[str]
) -> TextSurvey | None:
    """Look at every value of columns; None where the files are not plain, or out of reach."""
    look = partial(_survey_block, source=source, names=tuple(names), keys=tuple(keys))
    try:
        surveys = run_tasks(spark, look, source.blocks)
    except (OSError, PySparkException, Py4JError):
        return None
    survey = TextSurvey()
    for of_block in surveys:
        if of_block is None:
            return None
        survey = survey.merged(of_block)
    return replace(survey, facts={name: survey.facts.get(name, TextFacts()) for name in names})


def write_typed(
    spark: SparkSession,
    source: PlainCsv,
    types: Mapping[str, TextType],
    folder: str,
) -> list[Written]:
    """Write columns in their types as Parquet, a file for each block."""
    write = partial(_write_block, source=source, types=dict(types), folder=folder)
    return run_tasks(spark, write, source.blocks)


def first_rows(source: PlainCsv, types: Mapping[str, TextType]) -> pa.Table:
    """Read the first megabyte of each of some files, on the driver."""
    tables = []
    for info, header in source.files[:_FILES_SHOWN]:
        block = Block(0, info.path, info.bytes, 0, min(info.bytes, _AT_ONCE))
        tables.append(_typed(read_block(source, block, header, list(types)), types))
    return pa.concat_tables(tables)


def _survey_block(
    task: tuple[Block, tuple[str, ...]],
    source: PlainCsv,
    names: Sequence[str],
    keys: Sequence[str],
) -> TextSurvey | None:
    try:
        texts = read_block(source, *task, list(dict.fromkeys([*names, *keys])))
    except NotPlainError:
        return None
    n_rows = texts.num_rows
    marked = texts.append_column(UNREADABLE, pa.nulls(n_rows, pa.string()))
    marked = marked.append_column(BREAKS, pa.repeat(False, n_rows))
    return survey_text(marked.to_batches(), keys)


def _write_block(
    task: tuple[Block, tuple[str, ...]],
    source: PlainCsv,
    types: Mapping[str, TextType],
    folder: str,
) -> Written:
    block, header = task
    typed = _typed(read_block(source, block, header, list(types)), types)
    return write_tables(folder, f"part-{block.number:06d}", typed.schema, [typed])


def _typed(texts: pa.Table, types: Mapping[str, TextType]) -> pa.Table:
    return pa.table(
        {name: as_type(texts.column(name).combine_chunks(), kind) for name, kind in types.items()}
    )


def _text_of(source: PlainCsv, block: Block, header: Sequence[str]) -> bytes:
    """Return the lines that begin in a block, without the header's."""
    path = join(source.root, block.file)
    opened: Any = ArrowFiles.for_uri(source.root).open_input(path)
    with opened as stream:
        if stream.size() != block.file_bytes:
            raise InputError(
                f"{path} must not change while a run reads it. It had {block.file_bytes:,} bytes "
                f"and has {stream.size():,}. Restore it, or start with a new output.path.",
                code="inputs_changed",
                where=path,
            )
        # The byte before it tells whether a line begins with the block.
        first = max(0, block.start - 1)
        pieces = [_read(stream, first, block.stop - first)]
        after = block.stop
        while after < block.file_bytes and not pieces[-1].endswith(b"\n"):
            line, found, _ = _read(stream, after, _AT_ONCE).partition(b"\n")
            pieces.append(line + found)
            after += len(pieces[-1])
    before, _, text = b"".join(pieces).partition(b"\n")
    if not block.start:
        _require_header(before, header, source.separator)
    return text


def _require_header(line: bytes, header: Sequence[str], separator: str) -> None:
    names = line.removeprefix(_MARK).removesuffix(b"\r").split(separator.encode())
    if [_unquoted(name) for name in names] != [name.encode() for name in header]:
        raise NotPlainError("does not begin with its header")


def _unquoted(field: bytes) -> bytes:
    whole = len(field) > 1 and field.startswith(b'"') and field.endswith(b'"')
    return field[1:-1] if whole and b'"' not in field[1:-1] else field


def _read(stream: Any, start: int, n_bytes: int) -> bytes:
    stream.seek(start)
    return bytes(stream.read(n_bytes))


def _require_plain(text: bytes, header: Sequence[str], separator: str) -> None:
    reason = ""
    if b'"' in text and not _quotes_enclose_fields(text, separator):
        reason = "a quote inside of a field, or a line break between two"
    elif b"\0" in text:
        reason = "a zero byte"
    elif text.count(b"\r") != text.count(b"\r\n"):
        reason = "a carriage return"
    elif text.startswith((b"\n", b"\r\n")) or b"\n\n" in text or b"\n\r\n" in text:
        reason = "a blank line"
    elif len(header) < 2 or len(set(header)) < len(header):
        reason = "a header of one column, or of two with one name"
    elif not text.isascii() and not _is_utf_8(text):
        reason = "bytes that are no text"
    if reason:
        raise NotPlainError(f"holds {reason}")


def _quotes_enclose_fields(text: bytes, separator: str) -> bool:
    """Whether each first quote begins a field, and the next one ends it on the same line."""
    letters = np.frombuffer(text, np.uint8)
    quotes, breaks = np.flatnonzero(letters == ord('"')), np.flatnonzero(letters == ord("\n"))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    # Behind the last letter, and so before the first one, a line ends.
    around = np.append(letters, np.uint8(ord("\n")))
    begins = np.isin(around[opening - 1], list(f"{separator}\n".encode()))
    ends = np.isin(around[closing + 1], list(f"{separator}\r\n".encode()))
    on_a_line = np.searchsorted(breaks, opening) == np.searchsorted(breaks, closing)
    return bool((begins & ends & on_a_line).all())


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
