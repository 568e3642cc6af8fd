"""What ``init --from`` finds in tables, and that the configuration it writes can be used."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import Config, load_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output import first_look
from spark_pseudolabel.output.first_look import Look, look_at
from spark_pseudolabel.output.preflight import check_configuration
from spark_pseudolabel.output.starter import starter

PURCHASES = """\
id,amount,country,note,kind
0001,4.50,DE,"two coffees, to go",food
0002,830.00,FR,rent for May,home
0003,9.90,DE,"lunch at the ""old"" place",food
0004,61.20,FR,a bill for electricity,home
0005,7.80,DE,sandwich and a juice,
0006,790.00,FR,rent for June,
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _written(look: Look) -> Config:
    """Return what is written for a table, read again."""
    Path("written.yaml").write_text(starter(look, "written.yaml"), encoding="utf-8")
    return load_config("written.yaml", check_estimators=False)


def test_a_csv_file_gives_a_configuration_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("purchases.csv").write_text(PURCHASES)
    arguments = ["init", "c.yaml", "--from", "purchases.csv", "--label", "kind"]
    assert main([*arguments, "--output-format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["table"]
    assert (found["format"], found["id"], found["texts"]) == ("csv", "id", ["note"])
    assert (found["labeled"], found["unlabeled"], found["notes"]) == (4, 2, [])
    config = load_config("c.yaml")
    check_configuration(config)
    assert config.labeled is not None
    assert (config.labeled.path, config.labeled.label, config.id) == ("purchases.csv", "kind", "id")
    assert config.unlabeled.from_ == "labeled"
    assert config.features.text == ("note",)
    assert config.output.path == "out/purchases"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252"])
def test_separator_and_encoding_are_found(separator: str, encoding: str) -> None:
    names = ["row_id", "größe, in cm", "label"]
    rows = [names, ["1", "1,5", "ja"], ["2", "2,5", ""], ["3", "Ä", "nein"]]
    Path("t.csv").write_bytes("\n".join(map(separator.join, rows)).encode(encoding))
    look = look_at("t.csv", "label")
    assert look.options.get("sep") == separator
    assert look.options.get("encoding") == (encoding if encoding == "windows-1252" else None)
    assert look.columns == names
    assert dict(look.classes) == {"ja": 1, "nein": 1}
    assert look.unlabeled == 1
    config = _written(look)
    assert config.labeled is not None
    assert config.labeled.options == dict(look.options)


def test_a_compressed_file_is_read_and_a_suffix_of_tabs_needs_no_option() -> None:
    with gzip.open("t.tsv.gz", "wt") as file:
        file.write("id\tx\ty\n1\t5\ta\n2\t6\tb\n3\t6\t\n")
    look = look_at("t.tsv.gz", "y")
    assert (look.format, look.options, look.unlabeled) == ("csv", {}, 1)
    assert _written(look).output.path == "out/t"


def test_parquet_json_and_directories_are_read() -> None:
    table = pa.table({"key": ["a", "b", "c"], "x": [1.0, 1.0, 2.0], "y": [1, None, 2]})
    Path("pool/_tmp").mkdir(parents=True)
    pq.write_table(table.slice(0, 1), "pool/part-0.parquet")
    pq.write_table(table.slice(1), "pool/part-1.parquet")
    Path("pool/_tmp/rest.parquet").write_text("no table")
    Path("t.jsonl").write_text("\n".join(map(json.dumps, table.to_pylist())))
    for path, kind in {"pool": "parquet", "t.jsonl": "json"}.items():
        look = look_at(path, "y")
        assert (look.format, look.id, look.rows, look.unlabeled) == (kind, "key", 3, 1)
        assert _written(look).labeled.format == kind  # type: ignore[union-attr]


def test_without_an_id_it_is_said_what_follows() -> None:
    table = pa.table({"x": [1, 1, 2], "y": ["a", None, "b"]})
    pq.write_table(table, "t.parquet")
    look = look_at("t.parquet", "y")
    assert (look.id, _written(look).id) == (None, None)
    assert "named by file and position" in look.notes[0]
    Path("t.csv").write_text("x,y\n1,a\n1,\n2,b\n")
    assert "csv needs one" in look_at("t.csv", "y").notes[0]


def test_a_number_that_happens_to_be_unique_is_no_id_of_few_rows() -> None:
    columns = {"height": list(range(2_000)), "y": ["a", "b", None, "a"] * 500}
    pq.write_table(pa.table(columns).slice(0, 900), "few.parquet")
    pq.write_table(pa.table(columns), "many.parquet")
    few = look_at("few.parquet", "y")
    assert few.id is None
    assert "('height' would do)" in few.notes[0]
    assert look_at("few.parquet", "y", "height").id == "height"
    assert look_at("many.parquet", "y").id == "height"


def test_rows_with_labels_only_need_another_table() -> None:
    Path("t.csv").write_text("id,y\n1,a\n2,b\n")
    look = look_at("t.csv", "y")
    assert "unlabeled.path" in look.notes[0]
    with pytest.raises(InputError, match="does not exist"):
        check_configuration(_written(look))


def test_of_a_large_table_only_labels_are_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_look, "MOST_ROWS", 10)
    n = 200_000
    labels = ["a"] * (n - 2) + [None, "b"]
    table = pa.table({"row_id": range(n), "y": labels})
    pq.write_table(table, "t.parquet", row_group_size=50_000)
    look = look_at("t.parquet", "y")
    assert look.rows_with_id < n // 2
    assert (look.rows, look.unlabeled, look.whole) == (n, 1, False)
    assert dict(look.classes) == {"a": n - 2, "b": 1}
    text = starter(look, "c.yaml")
    assert f"among the first {n:,} rows" in text
    assert f"unique in {look.rows_with_id:,} rows" in text


@pytest.mark.parametrize(
    ("columns", "label", "key", "said"),
    [
        ({"id": [1, 2], "y": ["a", "b"]}, "z", None, "lacks the column 'z'"),
        ({"id": [1, 1], "y": ["a", "b"]}, "y", "id", "without missing or equal values"),
        ({"id": [1, None], "y": ["a", "b"]}, "y", "id", "without missing or equal values"),
        ({"id": [1, 2], "y": pa.array([None, None], pa.string())}, "y", None, "must name a column"),
    ],
)
def test_what_a_table_does_not_hold_is_refused(
    columns: dict[str, Any], label: str, key: str | None, said: str
) -> None:
    pq.write_table(pa.table(columns), "t.parquet")
    with pytest.raises(InputError, match=said):
        look_at("t.parquet", label, key)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing.csv", "does not exist"),
        ("s3a://bucket/pool", "on the local disk"),
        ("broken.parquet", "can't be read as parquet"),
        ("table", "is a delta table"),
        ("t.avro", "only Parquet, CSV, JSON and ORC"),
    ],
)
def test_a_table_that_cannot_be_looked_at_is_exit_3(
    path: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.parquet").write_text("no table")
    Path("t.avro").write_text("x")
    Path("table/_delta_log").mkdir(parents=True)
    assert main(["init", "c.yaml", "--from", path, "--label", "y"]) == 3
    assert said in capsys.readouterr().err
    assert not Path("c.yaml").exists()


def test_labels_that_cannot_be_used_are_told() -> None:
    pq.write_table(pa.table({"id": [1, 2, 3], "y": [1.0, None, 0.0]}), "t.parquet")
    assert "astype" in look_at("t.parquet", "y").notes[0]
    pq.write_table(pa.table({"id": [1, 2, 3], "y": ["a", "", None]}), "u.parquet")
    assert "blank text" in look_at("u.parquet", "y").notes[0]
    pq.write_table(pa.table({"id": [1, 2], "y": ["a", None]}), "v.parquet")
    assert "two classes" in look_at("v.parquet", "y").notes[0]


def test_an_index_that_pandas_has_written_is_no_id() -> None:
    Path("t.csv").write_text(",x,y\n0,5,a\n1,5,\n2,5,b\n")
    assert look_at("t.csv", "y").id is None


def test_columns_of_one_name_are_refused() -> None:
    Path("t.csv").write_text("id,x,X,y\n0,5,1,a\n1,5,1,b\n")
    with pytest.raises(InputError, match="'X', 'x' occur more than once"):
        look_at("t.csv", "y")


def test_labels_are_spelled_as_in_reports() -> None:
    pq.write_table(pa.table({"id": [1, 2, 3], "y": [True, None, False]}), "t.parquet")
    assert dict(look_at("t.parquet", "y").classes) == {"false": 1, "true": 1}


def test_numbers_that_no_reader_reads_are_left_out() -> None:
    Path("t.csv").write_text('id,price,x,y\n1,"1,234",5,a\n2,"2,500",5,\n3,"3,1",5,b\n')
    look = look_at("t.csv", "y")
    assert look.unreadable == ["price"]
    assert _written(look).features.exclude == ("price",)


@pytest.mark.parametrize("name", ["y", "no", "a: b", "#x", "a'b\"c", "ü\u202e", "1", "*", "a\\n"])
def test_any_name_survives_being_written(name: str) -> None:
    pq.write_table(pa.table({"row_id": [1, 2, 3], name: ["yes", "no\n# x: 1", None]}), "t.parquet")
    config = _written(look_at("t.parquet", name))
    assert config.label == name
    assert config.id == "row_id"


def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "c.yaml", "--from", "t.csv"]) == 2
    assert main(["init", "c.yaml", "--id", "row"]) == 2
    assert "go together" in capsys.readouterr().err
