"""A first look at a table, without Spark: its format, its id, where its labels are, what to mind.

A table may be of any size. Its first rows are looked at; of the rest only the label column is read,
and only as long as there was no row with a label, or none without.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
from numpy.typing import NDArray

from spark_pseudolabel.core.text_types import TextFacts, facts_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import format_of_path, is_hidden, is_tab_separated
from spark_pseudolabel.report.document import label_key
from spark_pseudolabel.store.files import LocalFiles, local_path, scheme_of
from spark_pseudolabel.wording import agreeing, counted

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_ROWS = 1_000_000
"""Rows among which an id is sought."""
MOST_CLASSES = 1_000

_HEAD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 24
_SEPARATORS = (",", ";", "\t", "|")
_OTHER_ENCODING = "windows-1252"
_LOGS = {"_delta_log": "delta", "metadata": "iceberg", ".hoodie": "hudi"}
_NAMED = 5
_NAMELESS = ("", "Unnamed: 0", "__index_level_0__")
"""How pandas writes the index of a table; runs leave it out."""
_FEW_ROWS = 1_000
"""Below, a column that happens to be unique is no id unless its name says so."""
_WORDS, _DISTINCT = 3.0, 0.5
_ID_NAME = ("id", "key", "uuid", "guid", "index", "nr", "no", "number", "rowid", "row")


@dataclass(frozen=True)
class Look:
    """What was found in a table.

    Parameters
    ----------
    path, format, options
        As a configuration names it.
    columns
        Its columns.
    label
        The column with the labels.
    classes
        Rows by label, among those looked at; the most common first.
    rows, labeled, unlabeled
        Rows looked at, and those of them with and without a label.
    whole
        Whether these are all rows.
    id
        A column that is unique among the first rows; None where there is none.
    rows_with_id
        How many these are.
    texts
        Columns of sentences.
    unreadable
        Columns of numbers as people write them, with thousands separators or units.
    notes
        What to mind, in sentences.
    """

    path: str
    format: str
    options: Mapping[str, str]
    columns: Sequence[str]
    label: str
    classes: Mapping[str, int]
    rows: int
    labeled: int
    unlabeled: int
    whole: bool
    id: str | None
    rows_with_id: int
    texts: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    notes: Sequence[str] = ()


def look_at(path: str, label: str, key: str | None = None) -> Look:
    """Look at a table.

    Parameters
    ----------
    path
        A file, or a directory of files, on the local disk.
    label
        The column with the labels.
    key
        The column that names a row; None: found by itself.

    Raises
    ------
    InputError
        If it can't be read, lacks a column, holds no label, or its rows share an id that was named.
    """
    table = _open(path, label)
    _require_different(table.columns, path)
    wanted = [label] if key is None else [label, key]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise InputError.missing_columns("The table", missing, table.columns, path)
    seen = _Seen(label, key)
    _read(table, seen)
    if key is not None and key not in seen.ids.unique:
        raise InputError(
            f"--id must name a column without missing or equal values. {key!r} of {path} has some "
            f"among its first {seen.rows:,} rows. Name another column, or leave --id out.",
            code="id_not_unique",
            where=key,
        )
    if not seen.labeled:
        raise InputError(
            f"--label must name a column with labels. {label!r} of {path} has none in "
            f"{seen.rows:,} rows.",
            code="no_labels",
            where=label,
        )
    return _found(path, table, seen, key)


def _require_different(columns: Sequence[str], path: str) -> None:
    lowered = [name.lower() for name in columns]
    twice = sorted({name for name in columns if lowered.count(name.lower()) > 1})
    if twice:
        raise InputError(
            f"Every column of {path} must have a name of its own, in whatever case. "
            f"{', '.join(map(repr, twice))} occur more than once: rename them.",
            code="duplicate_column",
            where=path,
        )


@dataclass(frozen=True)
class _Table:
    """A table that can be read.

    Parameters
    ----------
    format, options
        As a configuration names them.
    columns
        Its columns.
    batches
        Reads its rows: all columns, or some.
    """

    format: str
    options: Mapping[str, str]
    columns: Sequence[str]
    batches: Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]] = field(repr=False)

    @property
    def is_text(self) -> bool:
        """Whether its values are text of which Spark makes something."""
        return self.format == "csv"


def _open(path: str, label: str) -> _Table:
    if scheme_of(path) not in ("", "file"):
        raise InputError(
            f"--from must name a table on the local disk. Got {path!r}: write its configuration "
            "by hand; `init` without --from gives an example.",
            code="not_local",
            where=path,
        )
    root = Path(local_path(path))
    if not root.exists():
        raise InputError(
            f"--from {path!r} does not exist. Relative paths are relative to the working "
            "directory.",
            code="missing_path",
            where=path,
        )
    for folder, name in _LOGS.items():
        if root.is_dir() and (root / folder).is_dir():
            raise InputError(
                f"{path} is a {name} table: its files alone hold rows that were deleted. Write "
                f"its configuration by hand, with format: {name}, or name it by table: or query:.",
                code="table_format",
                where=path,
            )
    kind = format_of_path(path) or "parquet"
    shown = [info.path for info in LocalFiles().list(str(root)) if not is_hidden(info.path)]
    files = [root / name if name else root for name in sorted(shown)]
    if not files:
        raise InputError(f"{path} holds no files.", code="no_files", where=path)
    try:
        return _open_csv(files, label) if kind == "csv" else _open_files(files, kind)
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, kind, error) from None


def _unreadable(path: str, kind: str, error: Exception) -> InputError:
    return InputError(
        f"{path} can't be read as {kind}: {str(error).partition(chr(10))[0]} Name another table, "
        "or write its configuration by hand; `init` without --from gives an example.",
        code="unreadable",
        where=path,
    )


def _open_files(files: Sequence[Path], kind: str) -> _Table:
    if kind not in ("parquet", "json", "orc"):
        raise ValueError("only Parquet, CSV, JSON and ORC are looked at without Spark.")
    table = ds.dataset([str(file) for file in files], format=kind)

    def batches(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        # A dataset reads many files ahead; one that is looked at must not fill the memory.
        yield from table.to_batches(
            columns=None if columns is None else [*columns],
            batch_size=1 << 16,
            batch_readahead=2,
            fragment_readahead=1,
        )

    return _Table(kind, {}, table.schema.names, batches)


def _open_csv(files: Sequence[Path], label: str) -> _Table:
    head = _head_of(files[0])
    encoding = "utf-8" if _is_utf8(head) else _OTHER_ENCODING
    lines = head.decode(encoding, errors="replace").removeprefix("\ufeff").splitlines()[:100]
    usual = "\t" if is_tab_separated(files[0].name) else ","
    separator = _separator(lines, usual, label)
    columns = next(csv.reader(lines, delimiter=separator), [])
    options = {} if separator == usual else {"sep": separator}
    options |= {} if encoding == "utf-8" else {"encoding": encoding}
    read = partial(_csv_batches, files, separator, encoding)
    return _Table("csv", options, columns, read)


def _head_of(file: Path) -> bytes:
    """Return the first bytes of a file, of a compressed one those of its content."""
    with pa.input_stream(str(file)) as opened:
        return bytes(opened.read(_HEAD_BYTES))


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut in two.
        return error.start > len(head) - 4 and len(head) == _HEAD_BYTES
    return True


def _separator(lines: Sequence[str], usual: str, label: str) -> str:
    """Return what parts fields: what the label stands between, and gives lines of one width."""

    def fit(separator: str) -> tuple[bool, int, int, bool]:
        rows = [row for row in csv.reader(lines[:-1] or lines, delimiter=separator) if row]
        header = rows[0] if rows else []
        as_wide = sum(len(row) == len(header) for row in rows)
        return label in header, as_wide, len(header), separator == usual

    return max(_SEPARATORS, key=fit)


def _csv_batches(
    files: Sequence[Path], separator: str, encoding: str, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """Read files as text; an empty field is missing, and a row of another width is left out."""
    for file in files:
        header = next(csv.reader(_header_lines(file, encoding), delimiter=separator), [])
        opened = pacsv.open_csv(
            pa.input_stream(str(file)),
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, encoding=encoding),
            parse_options=pacsv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                invalid_row_handler=lambda row: "skip",
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=None if columns is None else [*columns],
                null_values=[""],
                strings_can_be_null=True,
                check_utf8=True,
            ),
        )
        with opened:
            yield from opened


def _header_lines(file: Path, encoding: str) -> list[str]:
    text = _head_of(file).decode(encoding, errors="replace")
    return text.removeprefix("\ufeff").splitlines()


class _Seen:
    """What the rows that were read have shown.

    Parameters
    ----------
    label
        The column with the labels.
    key
        The column that is to be an id; None: any may be.
    """

    def __init__(self, label: str, key: str | None):
        self.label, self.key = label, key
        self.rows = self.rows_with_id = self.labeled = self.empty_texts = 0
        self.whole = True
        self.classes: dict[str, int] = {}
        self.ids = _Unique()
        self.facts: dict[str, TextFacts] = {}
        self.words: dict[str, tuple[float, float]] = {}
        self.label_type: pa.DataType | None = None

    @property
    def unlabeled(self) -> int:
        """Rows without a label."""
        return self.rows - self.labeled

    def all(self, batch: pa.RecordBatch, *, is_text: bool) -> None:
        """Take note of all columns of some rows."""
        self.rows_with_id += batch.num_rows
        self.labels(batch.column(self.label))
        names = [self.key] if self.key is not None else batch.schema.names
        self.ids.add(batch.select([name for name in names if name != self.label]))
        for name in batch.schema.names:
            column = batch.column(name)
            if name == self.label or not _is_string(column.type):
                continue
            column = column.cast(pa.string())
            if is_text:
                self.facts[name] = self.facts.get(name, TextFacts()).merged(facts_of(column))
            if name not in self.words:
                self.words[name] = _words(column)

    def labels(self, labels: pa.Array) -> None:
        """Take note of the labels of some rows."""
        self.label_type = labels.type
        self.rows += len(labels)
        valid = labels.drop_null()
        if pa.types.is_floating(labels.type):
            valid = valid.filter(pc.invert(pc.is_nan(valid)))
        self.labeled += len(valid)
        if len(self.classes) > MOST_CLASSES:
            return
        for each in pc.value_counts(valid.dictionary_decode() if _coded(valid) else valid):
            name = label_key(each["values"].as_py())
            self.empty_texts += each["counts"].as_py() if not name.strip() else 0
            self.classes[name] = self.classes.get(name, 0) + each["counts"].as_py()


def _coded(column: pa.Array) -> bool:
    return bool(pa.types.is_dictionary(column.type))


def _is_string(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _words(column: pa.Array) -> tuple[float, float]:
    """Return the mean number of words of the values, and the share of different ones."""
    values = column.drop_null()
    if not len(values):
        return 0.0, 0.0
    words = pc.add(pc.count_substring_regex(pc.utf8_trim_whitespace(values), r"\s+"), 1)
    different = pc.count_distinct(values).as_py()
    return float(pc.mean(words).as_py()), different / len(values)


class _Unique:
    """Which columns have had no value twice, and none missing."""

    def __init__(self) -> None:
        self._hashes: dict[str, list[NDArray[np.uint64]]] | None = None

    @property
    def unique(self) -> list[str]:
        """Their names, in the table's order."""
        of_columns = {name: np.concatenate(parts) for name, parts in (self._hashes or {}).items()}
        return [name for name, all_of in of_columns.items() if _all_differ(all_of)]

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at further rows: columns that have failed are looked at no more."""
        if self._hashes is None:
            self._hashes = {
                f.name: [] for f in batch.schema if f.name not in _NAMELESS and _may_be_id(f.type)
            }
        for name in [*self._hashes]:
            column = batch.column(name)
            hashes = None if column.null_count else _hashes(column)
            if hashes is None or not _all_differ(hashes):
                del self._hashes[name]
            else:
                self._hashes[name].append(hashes)


def _may_be_id(kind: pa.DataType) -> bool:
    return _is_string(kind) or bool(pa.types.is_integer(kind))


def _hashes(column: pa.Array) -> NDArray[np.uint64]:
    values = column.dictionary_decode() if _coded(column) else column
    hashes: NDArray[np.uint64] = pd.util.hash_array(
        values.to_numpy(zero_copy_only=False), categorize=False
    )
    return hashes


def _all_differ(hashes: NDArray[np.uint64]) -> bool:
    return len(np.unique(hashes)) == len(hashes)


def _read(table: _Table, seen: _Seen) -> None:
    """Read the first rows, and as much of the label column as there is to find out."""
    try:
        for batch in table.batches(None):
            if not batch.num_rows:
                continue
            seen.all(batch, is_text=table.is_text)
            if seen.rows >= MOST_ROWS:
                seen.whole = False
                break
        if not seen.whole and not (seen.labeled and seen.unlabeled):
            _read_on(table, seen)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable("The table", table.format, error) from None


def _read_on(table: _Table, seen: _Seen) -> None:
    """Read the label column further on, until there is a row with a label and one without."""
    position, known = 0, seen.rows
    for batch in table.batches([seen.label]):
        labels = batch.column(0)[max(0, known - position) :]
        position += batch.num_rows
        if len(labels):
            seen.labels(labels)
        if seen.labeled and seen.unlabeled:
            return
    seen.whole = True


def _found(path: str, table: _Table, seen: _Seen, key: str | None) -> Look:
    unreadable = [name for name, facts in seen.facts.items() if facts.only_decorated]
    chosen = key if key is not None else _chosen_id(seen.ids.unique, seen)
    texts = [
        name
        for name, (words, different) in seen.words.items()
        if words >= _WORDS and different >= _DISTINCT and name not in (chosen, *unreadable)
    ]
    by_size = sorted(seen.classes.items(), key=lambda item: (-item[1], item[0]))
    return Look(
        path=path,
        format=table.format,
        options=table.options,
        columns=table.columns,
        label=seen.label,
        classes=dict(by_size[:MOST_CLASSES]),
        rows=seen.rows,
        labeled=seen.labeled,
        unlabeled=seen.unlabeled,
        whole=seen.whole,
        id=chosen,
        rows_with_id=seen.rows_with_id,
        texts=texts,
        unreadable=unreadable,
        notes=[*_notes(table, seen, chosen)],
    )


def _chosen_id(unique: Sequence[str], seen: _Seen) -> str | None:
    """Return the column that is most likely meant to name a row."""
    named = [name for name in unique if _sounds_like_id(name)]
    if named or seen.rows < _FEW_ROWS:
        return named[0] if named else None
    # Sentences are unique, too.
    short = [name for name in unique if seen.words.get(name, (1, 0))[0] <= 1]
    return short[0] if short else None


def _sounds_like_id(name: str) -> bool:
    """Tell whether a column's name ends as names of ids do.

    Examples
    --------
    >>> [_sounds_like_id(name) for name in ("row_id", "customerId", "ID", "paid", "Unnamed: 0")]
    [True, True, True, False, False]
    """
    parts = "".join(f" {c}" if c.isupper() else c if c.isalnum() else " " for c in name).split()
    return name.lower() in _ID_NAME or (bool(parts) and parts[-1].lower() in _ID_NAME)


def _notes(table: _Table, seen: _Seen, key: str | None) -> Iterator[str]:
    of_first = "" if seen.whole else f" among the first {seen.rows:,} rows"
    if key is None:
        what = f"No column has a value of its own in every row{of_first}"
        if seen.ids.unique:
            named = ", ".join(map(repr, seen.ids.unique[:_NAMED]))
            what = f"No column is surely an id ({named} would do)"
        yield (
            f"{what}: rows are named by file and position instead, as long as the files stay the "
            "same."
            if table.format == "parquet"
            else f"{what}, and {table.format} needs one: add such a column, or name one with --id."
        )
    if not seen.unlabeled:
        yield (
            f"Every row has a label{of_first}: name the table with the rows that have none in "
            "unlabeled.path."
        )
    if seen.empty_texts:
        yield (
            f"{counted(seen.empty_texts, 'label')} {agreeing(seen.empty_texts, 'is', 'are')} blank "
            "text, which is a class of its own: null says that a label is missing."
        )
    if pa.types.is_floating(seen.label_type) or pa.types.is_decimal(seen.label_type):
        yield (
            f"The labels are numbers of type {seen.label_type}, and must be text, whole numbers or "
            'booleans. In pandas: df["label"].astype("Int64").'
        )
    if len(seen.classes) > MOST_CLASSES:
        yield f"There are more than {MOST_CLASSES:,} different labels: is this a number to predict?"
    elif len(seen.classes) == 1:
        yield f"All labels{of_first} are {next(iter(seen.classes))!r}: a model needs two classes."
