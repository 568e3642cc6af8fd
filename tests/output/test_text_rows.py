"""Rows of text without Spark: what is in the files, and what a run makes of it."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_pseudolabel.core.feature import Feature
from spark_pseudolabel.output.text_rows import TextFormat, as_typed, text_batches
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.identity import StoredTable

CSV, JSON = TextFormat("csv"), TextFormat("json")


def rows_in(path: Path, written: TextFormat, names: list[str] | None = None) -> pa.Table:
    with LocalFiles().open_input(str(path)) as stream:
        return pa.Table.from_batches(text_batches(stream, str(path), written, names))


@pytest.mark.parametrize(
    "content",
    [
        '{"id": 1, "x": 0.10, "v": [1, 2.50], "s": "a", "b": true}\nno object\n\n{"id": 2}\n',
        '\ufeff[\n {"id": 1, "x": 0.10, "v": [1, 2.50], "s": "a", "b": true},\n {"id": 2}]',
        '[{"id": 1, "x": 0.10, "v": [1, 2.50], "s": "a", "b": true}, {"id": 2}]\n',
    ],
)
def test_values_of_json_are_as_they_are_written(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.json").write_text(content, encoding="utf-8")
    found = rows_in(tmp_path / "rows.json", JSON, ["id", "x", "v", "s", "b"]).to_pylist()
    nothing = {"x": None, "v": None, "s": None, "b": None}
    first = {"id": "1", "x": "0.10", "v": "[1,2.50]", "s": "a", "b": "true"}
    assert found == [first, {"id": "2", **nothing}]
    assert rows_in(tmp_path / "rows.json", JSON).column_names == ["id", "x", "v", "s", "b"]


def test_csv_is_read_by_its_options(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "rows.csv.gz", "wt", encoding="latin-1") as file:
        file.write("id;name\n1;'a;ü'\n2;b;c\n3;d\n")
    written = TextFormat.of(
        StoredTable(
            path="x", format="csv", options={"delimiter": ";", "quote": "'", "encoding": "latin1"}
        )
    )
    assert written is not None
    found = rows_in(tmp_path / "rows.csv.gz", written, ["name", "id", "lacking"]).to_pylist()
    # A row that is too wide is among the invalid ones.
    assert [(row["id"], row["name"], row["lacking"]) for row in found] == [
        ("1", "a;ü", None),
        ("3", "d", None),
    ]


@pytest.mark.parametrize(
    ("table", "written"),
    [
        ({"format": "json"}, JSON),
        ({"format": "json", "options": {"multiLine": "true"}}, None),
        ({"format": "csv", "options": {"header": "false"}}, None),
        ({"format": "csv", "options": {"escape": "!"}}, None),
        ({"format": "csv", "options": {"inferSchema": "false"}}, CSV),
        ({"format": "orc"}, None),
    ],
)
def test_what_only_spark_reads_is_left_to_it(
    table: dict[str, Any], written: TextFormat | None
) -> None:
    assert TextFormat.of(StoredTable(path="x", **table)) == written


def test_texts_become_what_they_are_to_a_run() -> None:
    features = [
        Feature("n", "numeric", "double"),
        Feature("b", "boolean", "boolean"),
        Feature("d", "date", "date"),
        Feature("t", "timestamp", "timestamp"),
        Feature("l", "timestamp", "timestamp_ntz"),
        Feature("v", "vector", "array<double>", 2),
        Feature("c", "category", "string"),
    ]
    texts = pa.table(
        {
            "n": [" +1e3 ", "NA", "0x1", "inf"],
            "b": ["TRUE", "false", "-", None],
            "d": ["2024-02-29", "", "2024-2-1", None],
            "t": ["2024-01-31T10:00:00+02:00", "2024-01-31 10:00Z", "?", None],
            "l": ["2024-01-31 10:00", "2024-01-31T10:00:00.5", "", None],
            "v": ["[1,2.5]", None, None, None],
            "c": ["", "NA", " a ", None],
        }
    )
    found = as_typed(texts, features, CSV).to_pydict()
    utc, moment = datetime.UTC, datetime.datetime
    assert found["n"] == [1000.0, None, None, float("inf")]
    assert found["b"] == [True, False, None, None]
    assert found["d"] == [datetime.date(2024, 2, 29), None, None, None]
    assert found["t"] == [
        moment(2024, 1, 31, 8, tzinfo=utc),
        moment(2024, 1, 31, 10, tzinfo=utc),
        None,
        None,
    ]
    assert found["l"][:2] == [moment(2024, 1, 31, 10), moment(2024, 1, 31, 10, 0, 0, 500_000)]
    assert found["v"] == [[1.0, 2.5], None, None, None]
    assert found["c"] == [None, "NA", " a ", None]
    assert as_typed(texts, features, JSON).to_pydict()["c"] == ["", "NA", " a ", None]
