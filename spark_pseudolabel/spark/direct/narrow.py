"""Our own narrow files, written and read by workers: some twenty bytes for each row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.columns import FILE, INVALID, LABEL, MODEL, REASON, SOURCE
from spark_pseudolabel.core.parts import Piece
from spark_pseudolabel.spark.direct.damage import READ_ERRORS, first_line, is_damage, with_path
from spark_pseudolabel.store.arrow_files import ArrowFiles
from spark_pseudolabel.store.manifest import damaged

# What repeats; numbers would only be sorted into a dictionary in vain.
_REPEATING = (FILE, INVALID, LABEL, MODEL, SOURCE, REASON)
_PIECE = re.compile(r"part-\d{6,}-\d{3,}-[0-9a-f]{32}\.parquet")


@dataclass(frozen=True)
class Written:
    """A file that a task wrote.

    Parameters
    ----------
    name
        In its directory.
    rows
        How many it holds.
    """

    name: str
    rows: int


def part_number(path: str) -> int:
    """Return the number of the part whose rows a file holds.

    Examples
    --------
    >>> part_number("scored/part-000012-003-5b1f.parquet")
    12
    """
    return int(path.rpartition("/")[2].split("-")[1])


def piece_name(path: str) -> str:
    """Return what the names of one piece's files have in common.

    Examples
    --------
    >>> piece_name("scored/part-000012-003-5b1f.parquet")
    'part-000012-003'
    """
    return path.rpartition("/")[2].rpartition("-")[0]


def is_piece(path: str) -> bool:
    """Whether a file holds a piece of a part, and not rows that Spark has written.

    Examples
    --------
    >>> is_piece("scored/part-00000-0b9e6a3c-1f6e-4d0e-9a56-2c1f1c7d9d3e-c000.snappy.parquet")
    False
    """
    return _PIECE.fullmatch(path.rpartition("/")[2]) is not None


def name_of(piece: Piece) -> str:
    """Name a piece."""
    return f"part-{piece.part.number:06d}-{piece.number:03d}"


def write_narrow(folder: str, piece: str, rows: pa.Table) -> Written:
    """Write the rows of a piece into a file of their own."""
    # Read once or twice, by us: LZ4 takes half of Snappy's time then.
    return write_tables(folder, piece, rows.schema, [rows], compression="lz4")


def write_tables(
    folder: str,
    prefix: str,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    compression: str = "snappy",
) -> Written:
    """Write tables of one schema into one file, one at a time; its name is unique to this try."""
    name = f"{prefix}-{uuid4().hex}.parquet"
    n_rows = 0
    with (
        _files(folder).open_output(f"{folder}/{name}") as stream,
        pq.ParquetWriter(
            stream,
            schema,
            use_dictionary=[column for column in schema.names if column in _REPEATING],
            compression=compression,
            write_page_checksum=True,
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table)
            n_rows += table.num_rows
    return Written(name, n_rows)


def read_narrow(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file that :func:`write_narrow` wrote, its pages checked.

    Raises
    ------
    StoredStateError
        If it is gone or not as it was written.
    """
    try:
        with _files(path.rpartition("/")[0]).open_input(path) as stream:
            parquet = pq.ParquetFile(stream, page_checksum_verification=True)
            return parquet.read(columns=columns, use_threads=False)
    except FileNotFoundError as error:  # a manifest names it, or a task of this very round
        raise damaged(path, "is missing") from error
    except READ_ERRORS as error:
        if not is_damage(error, path):
            raise with_path(error, path) from error
        raise damaged(path, f"is not as it was written ({first_line(error)})") from error


@lru_cache(maxsize=64)
def _files(folder: str) -> ArrowFiles:
    return ArrowFiles.for_uri(folder)
