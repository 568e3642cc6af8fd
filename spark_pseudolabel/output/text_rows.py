"""Rows of CSV and JSON files, read without Spark: the texts they are, and as a run types them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv

from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.core.text_types import TextType
from spark_pseudolabel.core.text_values import as_type
from spark_pseudolabel.formats import is_compressed, is_tab_separated
from spark_pseudolabel.store.identity import StoredTable

_OF_CSV = frozenset({"header", "sep", "delimiter", "quote", "encoding", "inferschema"})
_JSON_ROWS = 10_000


@dataclass(frozen=True)
class TextFormat:
    """How files of text are written.

    Parameters
    ----------
    kind
        CSV, or JSON: one object a line, or one document.
    dialect
        Of CSV: sep, quote, encoding.
    """

    kind: Literal["csv", "json"]
    dialect: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: StoredTable) -> TextFormat | None:
        """Return how a table's files are written; None where only Spark reads them so."""
        given = {key.lower(): value for key, value in table.options.items()}
        if table.format == "json":
            return None if given else cls("json")
        if table.format != "csv" or not set(given) <= _OF_CSV:
            return None
        if given.get("header", "true").lower() != "true":
            return None
        if "delimiter" in given:
            given.setdefault("sep", given["delimiter"])
        return cls("csv", {key: given[key] for key in ("sep", "quote", "encoding") if key in given})

    @staticmethod
    def reads(name: str) -> bool:
        """Whether a file is compressed as can be read here, or not at all."""
        return not is_compressed(name) or name.endswith(".gz")


def text_batches(
    stream: object, path: str, written: TextFormat, names: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """Yield rows of a file, every value as the text that it is.

    Parameters
    ----------
    stream
        The file, opened by Arrow.
    path
        Its name, which tells what separates fields and what it is compressed with.
    written
        How it is written.
    names
        Columns; one that the file lacks has no values. None: those it has, by its first rows.
    """
    source = pa.CompressedInputStream(stream, "gzip") if path.endswith(".gz") else stream
    if written.kind == "json":
        yield from _json_batches(source, names)
        return
    separator = written.dialect.get("sep", "\t" if is_tab_separated(path) else ",")
    batches = pc_csv.open_csv(
        source,
        parse_options=pc_csv.ParseOptions(
            delimiter=separator,
            quote_char=written.dialect.get("quote", '"'),
            newlines_in_values=True,
            # The run could not read it either: it is among the invalid rows.
            invalid_row_handler=lambda row: "skip",
        ),
        read_options=pc_csv.ReadOptions(
            use_threads=False, encoding=written.dialect.get("encoding", "utf-8")
        ),
        convert_options=pc_csv.ConvertOptions(
            default_column_type=pa.string(),
            strings_can_be_null=False,
            include_columns=names,
            include_missing_columns=names is not None,
        ),
    )
    yield from batches


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _json_batches(source: Any, names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    objects = _objects(io.BufferedReader(source))
    while some := list(islice(objects, _JSON_ROWS)):
        columns = dict.fromkeys(name for row in some for name in row) if names is None else names
        yield pa.RecordBatch.from_pydict(
            {
                name: pa.array([_as_text(row.get(name)) for row in some], pa.string())
                for name in columns
            }
        )


def _objects(text: io.BufferedReader) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of lines; of a document, which is in memory as a whole, those it holds."""
    first = b""
    for line in text:
        first = line.removeprefix(b"\xef\xbb\xbf").strip()
        if first:
            break
    value = None if first.startswith(b"[") else _value(first)
    if isinstance(value, Mapping):
        yield value
        for line in text:
            value = _value(line)
            if isinstance(value, Mapping):  # the run could not read any other line either
                yield value
        return
    document = _value(first + b"\n" + text.read())
    values = document if isinstance(document, list) else [document]
    yield from (value for value in values if isinstance(value, Mapping))


def _value(text: bytes) -> Any:
    try:
        return json.loads(text, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError):
        return None


def _as_text(value: Any) -> str | None:
    """Spell a value of JSON as Spark does in a column of text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(_inside(each) for each in value)}]"
    return json.dumps(value)


def _inside(value: Any) -> str:
    is_plain = isinstance(value, _Number | list | bool)
    return str(_as_text(value)) if is_plain else json.dumps(value)


# --- as a run types them


def as_typed(texts: pa.Table, features: Sequence[Feature], written: TextFormat) -> pa.Table:
    """Return features as a run has read them from files of text.

    A value that its column's type does not have is missing, as it is to a run.
    """
    return pa.table(
        {
            feature.name: _typed(
                texts.column(feature.name).combine_chunks().cast(pa.string()), feature, written
            )
            for feature in features
        }
    )


def _typed(texts: pa.Array, feature: Feature, written: TextFormat) -> pa.Array:
    if written.kind == "csv":
        texts = pc.if_else(pc.not_equal(texts, ""), texts, pa.scalar(None, pa.string()))
    if feature.kind in ("category", "text"):
        return texts
    if feature.kind == "vector":
        rows = [None if text is None else json.loads(text) for text in texts.to_pylist()]
        return pa.array(rows, pa.list_(pa.float64()))
    return as_type(texts, _text_type(feature))


def _text_type(feature: Feature) -> TextType:
    if feature.kind == "timestamp":
        return "timestamp_ntz" if feature.type == "timestamp_ntz" else "timestamp"
    if feature.kind == "boolean":
        return "boolean"
    return "date" if feature.kind == "date" else "double"
