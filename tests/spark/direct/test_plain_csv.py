"""CSV as workers read it: plain files alone, each line once however files are cut."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from spark_pseudolabel.core.text_values import as_type
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct import plain_csv
from spark_pseudolabel.spark.direct.plain_csv import (
    Block,
    NotPlainError,
    PlainCsv,
    first_rows,
    read_block,
)
from spark_pseudolabel.store.files import FileInfo

HEADER = ("id", "word", "x")


def source_of(
    folder: Path, text: bytes, separator: str = ",", header: tuple[str, ...] = HEADER
) -> PlainCsv:
    (folder / "a.csv").write_bytes(text)
    return PlainCsv(str(folder), separator, ((FileInfo("a.csv", len(text)), header),))


@pytest.mark.parametrize("size", [1, 7, 8, 13, 50, 10_000])
@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("id,word,x\n1,a,0.5\n22,bb,\n333,,7\n4444,a longer one,1e3\n", ","),
        ("\ufeffid\tword\tx\r\n1\tü,ß\t0.5\r\n22\tb b\t\r\n333\t\t7", "\t"),
        ("id;word;x\n", ";"),
        ('"id","word",x\n1,"a, b",""\n"22",b,"0.5"\r\n333,",",7\n"4444","","1"', ","),
    ],
)
def test_every_line_is_read_once_however_files_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, separator: str, size: int
) -> None:
    monkeypatch.setattr(plain_csv, "BLOCK_BYTES", size)
    source = source_of(tmp_path, text.encode(), separator)
    names = ["x", "id", "lacking", "word"]
    found = [read_block(source, *task, names).to_pylist() for task in source.blocks]
    lines = list(csv.DictReader(text.removeprefix("\ufeff").splitlines(), delimiter=separator))
    wanted = [{name: line.get(name) or None for name in names} for line in lines]
    assert [row for of_block in found for row in of_block] == wanted


@pytest.mark.parametrize(
    "text",
    [
        b'id,word,x\n1,"a""b",2\n',
        b'id,word,x\n1,"a\nb",2\n',
        b'id,word,x\n1,"a\nb","c\nd"\n',
        b'id,word,x\n1,a"b",2\n',
        b'id,word,x\n1,"a"b,2\n',
        b'id,word,x\n1, "a",2\n',
        b'id,word,x\n1,"a,2\n',
        b"id,word,x\n1,a\n",
        b"id,word,x\n1,a,2,3\n",
        b"id,word,x\n1,a,2\n\n2,b,3\n",
        b"id,word,x\n\n1,a,2\n",
        b"id,word,x\r\n1,a,2\r\n\r\n2,b,3\r\n",
        b"id,word,x\n1,a\r,2\n",
        b"id,word,x\n1,\xff,2\n",
        b"id,word,x\n1,a\0,2\n",
        b"\nid,word,x\n1,a,2\n",
        b'id,wo"rd",x\n1,a,2\n',
        b'id,"wo""rd",x\n1,a,2\n',
        b" id,word,x\n1,a,2\n",
    ],
)
def test_what_readers_may_differ_in_is_left_to_spark(tmp_path: Path, text: bytes) -> None:
    source = source_of(tmp_path, text)
    with pytest.raises(NotPlainError):
        read_block(source, *source.blocks[0], ["id"])


@pytest.mark.parametrize("size", range(8, 40))
def test_a_line_break_between_quotes_is_seen_wherever_files_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(plain_csv, "BLOCK_BYTES", size)
    source = source_of(tmp_path, b'id,word,x\n1,"a\n2,b,3\n4,c,5\nd",6\n7,e,8\n')

    def read_all() -> None:
        for task in source.blocks:
            read_block(source, *task, ["id"])

    with pytest.raises(NotPlainError):
        read_all()


def test_a_file_of_another_length_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"id,word,x\n1,a,2\n")
    (tmp_path / "a.csv").write_bytes(b"id,word,x\n1,a,2\n2,b,3\n")
    with pytest.raises(InputError, match="must not change"):
        read_block(source, *source.blocks[0], ["id"])
    with pytest.raises(InputError, match="must not change"):
        read_block(source, Block(0, "a.csv", 5, 0, 5), HEADER, ["id"])


def test_texts_are_read_in_the_types_of_their_columns(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"id,word,x\n007,NA, +1e3\n8,,NA\n9,b,nan\n")
    found = first_rows(source, {"id": "bigint", "word": "string", "x": "double"})
    assert found.to_pydict() == {
        "id": [7, 8, 9],
        "word": ["NA", None, "b"],
        "x": [1000.0, None, None],
    }
    day = datetime.date(2024, 2, 29)
    assert as_type(pa.array(["2024-02-29", "-"]), "date").to_pylist() == [day, None]
    assert as_type(pa.array(["inf", "1"]), "double").to_pylist() == [float("inf"), 1.0]
