"""What people get: files of at most 10,000 rows, in the order in which they are to be asked.

Features are read in the order of the pool's files. Each row waits in the file of its part, so that
no more than one part is in memory, however many rows are asked for.
"""

from __future__ import annotations

import base64
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from spark_pseudolabel.columns import CONFIDENCE, LABEL, REASON
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.review.features import Place, read_features
from spark_pseudolabel.output.review.finished import FinishedRun

PART_ROWS = 10_000
"""Rows of a file at most: what a spreadsheet and Label Studio take without trouble."""
MOST_OPEN = 256
ORDER, ANSWER = "order", "answer"
PREDICTIONS = (LABEL, CONFIDENCE, REASON)
FEATURE = "feature:"
"""Before the name of a column of the pool that is also one of ours."""
_PLACE = "spl_place"
_BEGINS_A_FORMULA = r"^(['=@\t\r]|[+-].)"
_GUARDED = r"^'(['=@\t\r]|[+-].)"
_NUMBER = r"^[+-]?[0-9.,]+([eE][+-]?[0-9]+)?$"


@dataclass(frozen=True)
class Sheet:
    """Rows to be written: one part.

    Parameters
    ----------
    number
        Of the part, from 0.
    orders
        Place of each row in its set.
    keys, predictions, features
        Tables of the same rows; the latter two may have no columns.
    """

    number: int
    orders: Sequence[int]
    keys: pa.Table
    predictions: pa.Table
    features: pa.Table


class SheetWriter(Protocol):
    """A format that people read."""

    suffix: str

    def write(self, path: Path, sheet: Sheet) -> None:
        """Write one part."""


def sheets(
    run: FinishedRun, rows: pa.Table, place: Place | None, first: int, scratch: Path
) -> Iterator[Sheet]:
    """Yield the parts of rows in their order, with what is known of them.

    Parameters
    ----------
    run
        The run.
    rows
        Keys, and predictions where they are shown, in order.
    place
        Where features are; None: without any.
    first
        `order` of the first row.
    scratch
        A directory for rows on their way.

    Raises
    ------
    InputError
        If a row is not where features are.
    """
    waiting = None if place is None else _Waiting(scratch, rows.num_rows)
    if waiting is not None and place is not None:
        wanted, n_found = KeySet.of([rows.column(key) for key in run.keys]), 0
        for found in read_features(run, place, wanted):
            waiting.add(found.places, found.rows)
            n_found += len(found.places)
        if n_found != rows.num_rows:
            raise _missing(n_found, rows.num_rows, place)
    shown = [name for name in PREDICTIONS if name in rows.column_names]
    for number in range(math.ceil(rows.num_rows / PART_ROWS)):
        part = rows.slice(number * PART_ROWS, PART_ROWS)
        start = first + number * PART_ROWS
        yield Sheet(
            number=number,
            orders=range(start, start + part.num_rows),
            keys=part.select(run.keys),
            predictions=part.select(shown),
            features=part.select([])
            if waiting is None or place is None
            else waiting.take(number, place.columns),
        )


def _missing(found: int, wanted: int, place: Place) -> InputError:
    return InputError(
        f"Every row of the pool must be where its features are. {place.root} has {found:,} of "
        f"{wanted:,} rows: it has changed since the run began, or it holds published rows only. "
        "Restore it, or write ids alone with --no-features.",
        code="features_not_found",
        where=place.root,
    )


class _Waiting:
    """Rows on the local disk, by the part that they will be in."""

    def __init__(self, scratch: Path, n_rows: int):
        self._scratch = scratch
        self._n_parts = math.ceil(n_rows / PART_ROWS)
        # Parts share files where there are more than may be open at a time.
        self._shared = max(1, math.ceil(self._n_parts / MOST_OPEN))
        self._pieces: dict[int, int] = {}

    def add(self, places: np.ndarray[tuple[int], np.dtype[np.int64]], rows: pa.Table) -> None:
        """Put rows aside."""
        table = rows.append_column(_PLACE, pa.array(places))
        group = places // PART_ROWS // self._shared
        order = np.argsort(group, kind="stable")
        table = table.take(pa.array(order))
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            self._append(int(group[order[start]]), table.slice(start, end - start))

    def take(self, number: int, columns: Sequence[str]) -> pa.Table:
        """Return the rows of a part in order; a column that some file lacks is null there."""
        group = number // self._shared
        tables = []
        for piece in range(self._pieces.get(group, 0)):
            with pa.OSFile(str(self._path(group, piece)), "rb") as source:
                table = pa.ipc.open_stream(source).read_all()
            places = table.column(_PLACE).to_numpy()
            tables.append(table.filter(pa.array(places // PART_ROWS == number)))
        together = _concat(tables)
        together = together.take(pa.array(np.argsort(together.column(_PLACE).to_numpy())))
        known = [name for name in columns if name in together.column_names]
        return together.select(known)

    def _append(self, group: int, table: pa.Table) -> None:
        piece = self._pieces.get(group, 0)
        with (
            pa.OSFile(str(self._path(group, piece)), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        self._pieces[group] = piece + 1

    def _path(self, group: int, piece: int) -> Path:
        folder = self._scratch / f"{group:06d}"
        folder.mkdir(exist_ok=True)
        return folder / f"{piece:06d}.arrow"


def _concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables together; where files differ in a column's type, its values become text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.concat_tables([_as_text(table) for table in tables], promote_options="permissive")


def _as_text(table: pa.Table) -> pa.Table:
    columns = {name: table.column(name) for name in table.column_names}
    texts = {name: shown(column) for name, column in columns.items() if name != _PLACE}
    return pa.table({**texts, _PLACE: columns[_PLACE]})


def shown(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values as people read them: vectors and the like as JSON."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        texts = [None if v is None else json.dumps(plain(v)) for v in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type).cast(pa.string())
    return column.cast(pa.string())


def guarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Put an apostrophe before texts that a spreadsheet would take for a formula, and run.

    And before those that begin with one, so that `unguarded` gives every text back.

    Examples
    --------
    >>> texts = pa.chunked_array([["=1+1", "-5", "'n", "plain", None]])
    >>> guarded(texts).to_pylist()
    ["'=1+1", '-5', "''n", 'plain', None]
    >>> unguarded(guarded(texts)).equals(texts)
    True
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    begins = pc.match_substring_regex(column, _BEGINS_A_FORMULA)
    is_formula = pc.and_(begins, pc.invert(pc.match_substring_regex(column, _NUMBER)))
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", column, ""), column)


def unguarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take away what `guarded` has put before texts."""
    is_guarded = pc.match_substring_regex(column, _GUARDED)
    return pc.if_else(is_guarded, pc.utf8_slice_codeunits(column, 1), column)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinities are null, moments are text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value)


def names_of(own: Iterable[str], fixed: Iterable[str]) -> dict[str, str]:
    """Name the pool's columns in a file that has columns of ours, too.

    Examples
    --------
    >>> names_of(["id", "order"], ["order", "answer"])
    {'id': 'id', 'order': 'feature:order'}
    """
    taken = set(fixed)
    return {name: f"{FEATURE}{name}" if name in taken else name for name in own}


class CsvSheets:
    """CSV: `order`, the key, what is known, and an empty `answer`."""

    suffix = "csv"

    def write(self, path: Path, sheet: Sheet) -> None:
        """Write one part."""
        own = list(dict.fromkeys([*sheet.keys.column_names, *sheet.features.column_names]))
        names = names_of(own, [ORDER, ANSWER, *sheet.predictions.column_names])
        columns = {ORDER: pa.array(sheet.orders, pa.int64())}
        columns |= {names[key]: guarded(sheet.keys.column(key)) for key in sheet.keys.column_names}
        columns |= {
            names[name]: shown(guarded(sheet.features.column(name)))
            for name in sheet.features.column_names
            if name not in sheet.keys.column_names
        }
        columns |= {
            name: guarded(sheet.predictions.column(name)) for name in sheet.predictions.column_names
        }
        columns[ANSWER] = pa.repeat("", len(sheet.orders))
        table = pa.table(columns)
        with pa.OSFile(str(path), "wb") as sink:
            pa_csv.write_csv(table, sink, pa_csv.WriteOptions(quoting_style="needed"))


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """Make a directory for rows on their way."""
    return tempfile.TemporaryDirectory(prefix="spark-pseudolabel-")
