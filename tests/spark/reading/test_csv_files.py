"""Headers and rows of CSV files, as the driver reads them without Spark."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.csv_files import (
    Dialect,
    other_separator,
    read_header,
    unreadable_line,
)
from spark_pseudolabel.store.files import LocalFiles

HEADERS: dict[str, tuple[bytes, dict[str, str], tuple[str, ...] | None]] = {
    "plain": (b"id,x\n1,2\n", {}, ("id", "x")),
    "byte order mark and CRLF": (b"\xef\xbb\xbfid,x\r\n1,2\r\n", {}, ("id", "x")),
    "quotes": (b'"a ""b"", c",x\n', {}, ('a "b", c', "x")),
    "a line break in a name": (b'"a\nb",x\n1,2\n', {}, ("a\nb", "x")),
    "empty lines first": (b"\n\r\nid,x\n", {}, ("id", "x")),
    "no index name": (b",x\n0,1\n", {}, ("", "x")),
    "index name of pandas": (b"Unnamed: 0,x\n", {}, ("", "x")),
    "a trailing comma": (b"id,x,\n", {}, ("id", "x", "")),
    "no line": (b"\n\n", {}, None),
    "semicolons": (b"id;x\n", {"sep": ";"}, ("id", "x")),
    "a separator of two characters": (b"id||x\n", {"delimiter": "||"}, ("id", "x")),
    "comments": (b"# made by hand\nid,x\n", {"comment": "#"}, ("id", "x")),
    "no header": (b"1,2\n", {"header": "false"}, ("_c0", "_c1")),
    "another escape": (b'"a \\"b\\"",x\n', {"escape": "\\"}, ('a "b"', "x")),
    "UTF-16": ("id,é\n".encode("utf-16"), {"encoding": "UTF-16"}, ("id", "é")),
    "windows-1252": ("id,€\n".encode("cp1252"), {"charset": "windows-1252"}, ("id", "€")),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_is_read_as_it_is_written(tmp_path: Path, name: str) -> None:
    data, options, expected = HEADERS[name]
    file = tmp_path / "a.csv"
    file.write_bytes(data)
    dialect = Dialect.of(options, ["a.csv"])
    assert read_header(LocalFiles(), str(file), dialect, "labeled") == expected


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress)],
)
def test_a_header_is_read_through_compression(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / f"a.tsv{suffix}"
    file.write_bytes(compress(b"id\tx\n1\t2\n"))
    dialect = Dialect.of({}, [file.name])
    assert read_header(LocalFiles(), str(file), dialect, "labeled") == ("id", "x")


REFUSED: dict[str, tuple[str, bytes, dict[str, str], str]] = {
    "Latin-1": ("a.csv", "id,é\n".encode("latin-1"), {}, "is not UTF-8"),
    "UTF-16": ("a.csv", "id,x\n".encode("utf-16"), {}, "encoding: UTF-16"),
    "compressed under another name": ("a.csv", gzip.compress(b"id\n"), {}, "ends in .gz"),
    "not compressed at all": ("a.csv.gz", b"id\n", {}, "cannot be read"),
    "an archive": ("a.csv", b"PK\x03\x04....", {}, "archive or a spreadsheet"),
    "Hadoop's compression": ("a.csv.lz4", b"id\n", {}, "one of Hadoop's"),
    "no such encoding": ("a.csv", b"id\n", {"encoding": "utf8-mac"}, "'utf8-mac'"),
    "an encoding that Spark lacks": ("a.csv", b"id\n", {"encoding": "shift_jis"}, "as UTF-8"),
    "two characters for one": ("a.csv", b"id\n", {"quote": "''"}, "quote must be one character"),
    "no separator": ("a.csv", b"id\n", {"delimiter": ""}, "sep must be at least one character"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_csv_is_refused_by_name(tmp_path: Path, name: str) -> None:
    file_name, data, options, message = REFUSED[name]
    file = tmp_path / file_name
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"labeled|options:") as refused:
        read_header(LocalFiles(), str(file), Dialect.of(options, [file_name]), "labeled")
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (b'1,"a, b"\n2,"c\nd"\n3,e,f\n', (5, "has 3 fields, the header 2")),
        (b"1,a\n\n2\n", (4, "has 1 fields, the header 2")),
        (b"1,\xe9\n", (2, "is not UTF-8 (options: encoding says what a file is)")),
        pytest.param(
            b"1," + b"a" * 200_000 + b"\n2\n", (3, "has 1 fields, the header 2"), id="long field"
        ),
        (b"1,a\n2,b\n", None),
    ],
)
def test_the_line_of_a_row_that_cannot_be_read_is_found(
    tmp_path: Path, rows: bytes, line: tuple[int, str] | None
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"id,x\n" + rows)
    assert unreadable_line(LocalFiles(), str(file), Dialect.of({}, ["a.csv"]), 2) == line


def test_another_separator_is_guessed_from_a_header_of_one_name() -> None:
    assert other_separator(["id;x;y"]) == ";"
    assert other_separator(["id"]) is None
    assert other_separator(["a;b", "c"]) is None
