"""Tables as people keep them: CSV, JSON and directories whose files differ."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.config import Config, load_config
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.errors import ConfigError, InputError
from spark_pseudolabel.job import label, run
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.spark.reading import csv_files
from spark_pseudolabel.spark.reading.collecting import collect
from tests.spark.tables import config_for, labeled_frame, pool_frame

Write = Callable[[Path], None]


def csv_config(directory: Path, **sections: Any) -> Config:
    labeled = {"path": str(directory / "labeled.csv"), "label": "y"}
    unlabeled = {"path": str(directory / "pool.csv")}
    for name, mine in (("labeled", labeled), ("unlabeled", unlabeled)):
        sections[name] = {**mine, **sections.get(name, {})}
    return config_for(directory, **sections)


def codes(inputs: Inputs) -> list[str]:
    return [note.code for note in inputs.notes]


def test_a_csv_file_is_read_as_it_is_written(spark: SparkSession, tmp_path: Path) -> None:
    """Quotes, line breaks, leading zeros, dots, an index, CRLF, a byte order mark: all at once."""

    def line(i: int, index: int) -> str:
        note = f'"He said ""no, {i}"",\r\ntwice"' if i % 2 else "plain words"
        n = "NA" if i % 5 == 0 else str(i)
        day = f"2024-01-{1 + i % 9:02}"
        return f'{index},"{i:05}",{i / 4},{n},{note},0{i % 7},{day},{i % 2 == 0},'

    header = ',id,petal.length,"n, so many",note,zip,day,flag,empty'
    labeled = [f"{line(i, i)},{('007', '010')[i % 2]}" for i in range(12)]
    pool = [line(i, i - 100) for i in range(100, 120)]
    # A header that was put above a file ends its line in another way than the rows do.
    text = {"labeled": (f"{header},y\n", labeled), "pool": (f"{header}\r\n", [*pool, ""])}
    for name, (first, rows) in text.items():
        (tmp_path / f"{name}.csv").write_bytes(
            ("\ufeff" + first + "\r\n".join([*rows, ""])).encode()
        )
    inputs = read_inputs(spark, csv_config(tmp_path, validation={"fraction": 0}))
    assert [(f.name, f.kind, f.type) for f in inputs.features] == [
        ("petal.length", "numeric", "double"),
        ("n, so many", "numeric", "double"),
        ("note", "text", "string"),
        ("zip", "category", "string"),
        ("day", "date", "date"),
        ("flag", "boolean", "boolean"),
    ]
    assert (inputs.classes, inputs.key_types) == (("007", "010"), {"id": "string"})
    assert codes(inputs) == ["nameless_column"] * 2 + ["read_as_missing", "empty_columns"]
    rows = inputs.pool.rows.toPandas().set_index("id").sort_index()
    assert rows.index.tolist() == [f"{i:05}" for i in range(100, 120)]
    third = to_frame(inputs.pool.rows.filter("id = '00103'").toArrow(), inputs.features)
    assert third.iloc[0].to_dict() == {
        "petal.length": 25.75,
        "n, so many": 103.0,
        "day": 19727.0,
        "flag": 0.0,
        # Spark's reader knows one line break only.
        "note": 'He said "no, 103",\ntwice',
        "zip": "05",
    }
    assert rows["n, so many"].isna().sum() == 4


def test_rows_that_cannot_be_read_are_invalid_and_new_rows_are_read_as_the_model_needs(
    spark: SparkSession, tmp_path: Path
) -> None:
    # An id called as a query might call something of its own.
    rows = pd.concat([labeled_frame()] * 3, ignore_index=True).drop(columns="id")
    # A name that Spark would take apart, too.
    rows = rows.assign(n=[f"{i:05}" for i in range(36)], **{"z.z": range(36)})
    rows.to_csv(tmp_path / "labeled.csv", index=False)
    pool = [f"{i},{i % 20 / 20},{i}" for i in range(1000, 1040)]
    pool[3] += ",1"
    pool[5] = "1005"
    text = "\n".join(["n,x,z.z", *pool]).encode().replace(b"1007,0.35,1007", b"1007,0.35,\xe9")
    (tmp_path / "pool.csv.gz").write_bytes(gzip.compress(text))
    unlabeled = {"path": str(tmp_path / "pool.csv.gz")}
    output = {"path": str(tmp_path / "out"), "features": True}
    one_shot = {"policy": "one_shot"}
    config = csv_config(tmp_path, unlabeled=unlabeled, id="n", selection=one_shot, output=output)
    report = run(spark, config).report.as_json()
    assert [warning["code"] for warning in report["warnings"]][:1] == ["unreadable_rows"]
    assert (report["rows"]["accepted"], report["rows"]["invalid"]) == (37, 3)
    invalid = pd.read_parquet(tmp_path / "out" / "invalid").set_index("n").reason
    width = "pool.csv.gz: the row does not have the header's 3 fields"
    assert invalid[["1003", "1005"]].tolist() == [width] * 2
    assert "'z.z' is not UTF-8" in invalid["1007"]

    # Of a batch without a value in x Spark would infer text, and of the ids numbers, which these
    # are and the run's are not.
    new = "n,z.z,x\n2007,1,\n2008,2,\n2009,many,\n"
    (tmp_path / "new.CSV").write_text(new)
    done = label(
        spark, str(tmp_path / "out"), input=str(tmp_path / "new.CSV"), output=f"{tmp_path}/new"
    )
    labels = pd.read_parquet(tmp_path / "new").set_index("n").sort_index()
    assert (done.rows, done.invalid) == (3, 1)
    assert labels.label.notna().to_dict() == {"2007": True, "2008": True, "2009": False}


def test_the_first_example_of_the_readme_is_read_as_printed(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    blocks = {
        kind: text.partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("csv", "yaml")
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / "purchases.csv").write_text(blocks["csv"])
    (tmp_path / "purchases.yaml").write_text(blocks["yaml"])
    # The JVM of the tests was started in another directory.
    here = [f"labeled.path={tmp_path / 'purchases.csv'}"]
    inputs = read_inputs(spark, load_config("purchases.yaml", here))
    assert inputs.labeled.column("id").to_pylist() == ["0001", "0002", "0003", "0004"]
    assert (inputs.pool_rows, inputs.notes, inputs.classes) == (2, (), ("food", "home"))
    kinds = {"amount": "numeric", "country": "category", "note": "text"}
    assert {f.name: f.kind for f in inputs.features} == kinds


@pytest.mark.parametrize("note", ["one line", "two\nlines"])
def test_large_files_are_cut_at_their_lines_only_where_no_value_holds_a_break(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str
) -> None:
    monkeypatch.setattr(csv_files, "_LARGE", 0)
    labeled_frame().to_csv(tmp_path / "labeled.csv", index=False)
    pool_frame().assign(note=note).to_csv(tmp_path / "pool.csv", index=False)
    rows = read_inputs(spark, csv_config(tmp_path)).pool.rows.toPandas()
    assert sorted(rows.id) == pool_frame().id.tolist()


def text_of(name: str, text: str | bytes) -> Write:
    def write(directory: Path) -> None:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


def csv_of(name: str, frame: pd.DataFrame, **how: Any) -> Write:
    return text_of(name, frame.to_csv(index=False, **how))


POOL = csv_of("pool.csv", pool_frame())
LABELED = csv_of("labeled.csv", labeled_frame())
IN_FOLDER: dict[str, Any] = {"unlabeled": {"path": "pool"}}

REFUSED: dict[str, tuple[list[Write], Mapping[str, Any], str, str]] = {
    "a row too wide": (
        [text_of("labeled.csv", "id,x,y\n1,2,a\n2,3,4,b\n"), POOL],
        {},
        "unreadable_rows",
        r"line 3 of .*labeled.csv has 4 fields, the header 3",
    ),
    "a quote that is never closed": (
        [LABELED, text_of("pool.csv", 'id,x,note\n100,1,"a\n101,2,b\n102,3,c\n')],
        {},
        "unreadable_rows",
        "the quotes in .*pool.csv are odd in number",
    ),
    "no UTF-8": (
        [text_of("labeled.csv", "id,x,y\n1,2,Gr\xfcn\n2,3,Rot\n".encode("latin-1")), POOL],
        {},
        "unreadable_rows",
        r"line 2 of .*labeled.csv is not UTF-8 \(options: encoding",
    ),
    "a pool's row without an id": (
        [LABELED, text_of("pool.csv", "x,id\n1,100\n2\n")],
        {},
        "unreadable_rows",
        "no id can be read of some. The first: line 3 of",
    ),
    "thousands": (
        [csv_of("labeled.csv", labeled_frame().assign(x="1,234")), POOL],
        {},
        "number_as_text",
        "'x' holds numbers .* such as '1,234'",
    ),
    "one name twice": (
        [text_of("labeled.csv", "id,x,x,y\n1,2,3,a\n"), POOL],
        {},
        "column_twice",
        "'x' occurs twice",
    ),
    "names that differ in case": (
        [csv_of("labeled.csv", labeled_frame().assign(X=1)), POOL],
        {},
        "column_twice",
        "'x' and 'X' differ in case only",
    ),
    "semicolons": (
        [csv_of("labeled.csv", labeled_frame(), sep=";"), POOL],
        {},
        "separator",
        "options: {sep: ';'}",
    ),
    "a file without a header": (
        [
            LABELED,
            csv_of("pool/a.csv", pool_frame()),
            csv_of("pool/b.csv", pool_frame(), header=False),
        ],
        IN_FOLDER,
        "missing_column",
        "b.csv lacks column 'id'",
    ),
    "other formats in a directory": (
        [LABELED, csv_of("pool/a.csv", pool_frame()), text_of("pool/b.json", "{}")],
        IN_FOLDER,
        "other_format",
        "b.json",
    ),
    "directories of other columns": (
        [LABELED, csv_of("pool/p=1/a.csv", pool_frame()), csv_of("pool/q=1/b.csv", pool_frame())],
        IN_FOLDER,
        "partitions_differ",
        "q=1/b.csv",
    ),
    "ids that are numbers in one table only": (
        [LABELED, csv_of("pool.csv", pool_frame().assign(id=lambda d: d.id.map("{:05}".format)))],
        {"labeled": {"path": "labeled.parquet", "format": "parquet"}},
        "type_differs",
        "such as '00100'",
    ),
    "a file of no bytes": (
        [text_of("labeled.csv", ""), POOL],
        {},
        "no_columns",
        "is empty",
    ),
    "JSON that is none": (
        [LABELED, text_of("pool.json", "hello\n")],
        {"unlabeled": {"path": "pool.json"}},
        "no_columns",
        "no JSON objects",
    ),
    "a broken line of JSON": (
        [LABELED, text_of("pool.jsonl", '{"id": 100, "x": 1}\n{"id": 101, "x":\n')],
        {"unlabeled": {"path": "pool.jsonl"}},
        "unreadable_rows",
        'pool.jsonl: no JSON object: {"id": 101',
    ),
    "JSON in two layouts": (
        [
            LABELED,
            text_of("pool/a.json", '[\n{"id": 100, "x": 1}\n]'),
            text_of("pool/b.json", '{"id": 101, "x": 1}\n'),
        ],
        IN_FOLDER,
        "json_layout",
        "a.json is one document",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_read_wrong_is_refused_by_name(
    spark: SparkSession, tmp_path: Path, case: str
) -> None:
    writes, sections, code, message = REFUSED[case]
    for write in writes:
        write(tmp_path)
    labeled_frame().to_parquet(tmp_path / "labeled.parquet", index=False)
    named = {
        section: {**keys, "path": str(tmp_path / keys["path"])}
        for section, keys in sections.items()
    }
    with pytest.raises(InputError, match=message) as refused:
        read_inputs(spark, csv_config(tmp_path, **named))
    assert (refused.value.code, refused.value.exit_code) == (code, 3)


def test_json_over_lines_is_read_and_columns_of_nulls_take_the_other_table_s_type(
    spark: SparkSession, tmp_path: Path
) -> None:
    labeled = labeled_frame().assign(z=1.5, m=[*range(11), {"no": "number"}], n=["n/a", *[1] * 11])
    labeled = labeled.assign(c=["1", "a"] * 6)
    labeled.to_json(tmp_path / "labeled.json", orient="records", indent=1)
    pool = pool_frame().assign(z=None, m=["n/a", *range(19)], n=["-", *range(19)], c="a")
    pool.to_json(tmp_path / "pool.json", orient="records", indent=1)
    config = config_for(
        tmp_path,
        labeled={"path": str(tmp_path / "labeled.json"), "label": "y"},
        unlabeled={"path": str(tmp_path / "pool.json")},
    )
    inputs = read_inputs(spark, config)
    kinds = {"x": "numeric", "z": "numeric", **dict.fromkeys("mnc", "category")}
    assert {f.name: f.kind for f in inputs.features} == kinds
    assert codes(inputs) == ["mixed_column"] * 2
    assert "'m' holds 11 numbers among 12 labeled values" in inputs.notes[0].message
    assert '"no":"number"' in inputs.notes[0].message
    assert "such as 'n/a'" in inputs.notes[1].message
    assert inputs.pool_rows == len(pool_frame())


@pytest.mark.parametrize("scan", ["auto", "spark"])
def test_the_columns_of_a_pool_are_those_of_all_its_files(
    spark: SparkSession, tmp_path: Path, scan: str
) -> None:
    """One file lacks a column, has narrower numbers, and nulls of no type."""
    labeled_frame().assign(z=1.0, c="u").to_parquet(tmp_path / "labeled.parquet", index=False)
    folder = tmp_path / "export [2024]"
    folder.mkdir()
    first = pool_frame().astype({"x": "float32", "id": "int32"}).assign(c=None)
    first.to_parquet(folder / "a.parquet", index=False)
    second = pool_frame().assign(id=lambda d: d.id + 100, z=2.0, c="v")
    second.to_parquet(folder / "b.parquet", index=False)
    config = config_for(tmp_path, unlabeled={"path": str(folder), "scan": scan})
    inputs = read_inputs(spark, config)
    assert (inputs.scan is not None) == (scan == "auto")
    assert codes(inputs) == ["files_differ"]
    assert "'z' (in a.parquet)" in inputs.notes[0].message
    if inputs.scan is not None and inputs.pool.plain is not None:
        rows = inputs.pool.plain.collect(inputs.scan.source)
    else:
        rows = collect(inputs.pool, ["id"], inputs.features, {})
    found = rows.to_pandas().set_index("id").sort_index()
    assert found.index.tolist() == [*range(100, 120), *range(200, 220)]
    assert found.z.isna().tolist() == [True] * 20 + [False] * 20
    assert found.c.tolist() == [None] * 20 + ["v"] * 20
    assert found.x.tolist() == [*first.x.astype("float64"), *second.x]


def test_what_directories_name_is_text_unless_the_other_table_has_a_type(
    spark: SparkSession, tmp_path: Path
) -> None:
    labeled_frame().assign(p="01", _q=1).to_parquet(tmp_path / "labeled.parquet", index=False)
    for number in (1, 2):
        folder = tmp_path / "pool" / f"p=0{number}" / f"_q={number}"
        folder.mkdir(parents=True)
        rows = pool_frame().assign(id=lambda d, n=number: d.id + 100 * n)
        rows.to_parquet(folder / "a.parquet", index=False)
    inputs = read_inputs(spark, config_for(tmp_path, unlabeled={"path": str(tmp_path / "pool")}))
    assert {f.name: (f.kind, f.type) for f in inputs.features} == {
        "x": ("numeric", "double"),
        "p": ("category", "string"),
        "_q": ("numeric", "bigint"),
    }
    assert {(row.p, row._q) for row in inputs.pool.rows.collect()} == {("01", 1), ("02", 2)}


def test_times_in_nanoseconds_are_read_by_workers_and_refused_where_spark_has_to_read(
    spark: SparkSession, tmp_path: Path
) -> None:
    day = pd.Timestamp("2024-01-01").as_unit("ns")
    labeled_frame().assign(t=day).to_parquet(tmp_path / "labeled.parquet", index=False)
    pool_frame().assign(t=day).to_parquet(tmp_path / "pool.parquet", index=False)
    inputs = read_inputs(spark, config_for(tmp_path))
    assert [(f.name, f.kind) for f in inputs.features] == [("x", "numeric"), ("t", "timestamp")]
    by_spark = {"path": str(tmp_path / "pool.parquet"), "scan": "spark"}
    with pytest.raises(InputError, match="'t' is of a type that Spark cannot read"):
        read_inputs(spark, config_for(tmp_path, unlabeled=by_spark))
    left_out = config_for(tmp_path, unlabeled=by_spark, features={"exclude": ["t"]})
    assert [f.name for f in read_inputs(spark, left_out).features] == ["x"]


def test_names_that_are_used_inside_are_told(spark: SparkSession, tmp_path: Path) -> None:
    for name, frame in (("labeled", labeled_frame()), ("pool", pool_frame())):
        taken = frame.assign(file="a.png", X=1).drop(columns="id")
        taken.to_parquet(tmp_path / f"{name}.parquet", index=False)
    inputs = read_inputs(spark, config_for(tmp_path, id=None))
    assert [f.name for f in inputs.features] == ["x", "X"]
    assert codes(inputs) == ["reserved_name"] * 2
    for name, frame in (("labeled", labeled_frame()), ("pool", pool_frame())):
        frame.assign(spl_code=1).to_parquet(tmp_path / f"{name}.parquet", index=False)
    with pytest.raises(InputError, match="'spl_code' begins with 'spl_'"):
        read_inputs(spark, config_for(tmp_path))


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"features": {"include": ["id", "x"]}}, "features.include"),
        ({"features": {"text": ["y"]}}, "features.text"),
        ({"features": {"include": ["file"]}, "id": None}, "features.include"),
        ({"output": {"path": "pool.parquet/out"}}, "output.path"),
        ({"output": {"path": "labeled.parquet"}}, "output.path"),
    ],
)
def test_what_cannot_work_is_told_without_spark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        config_for(tmp_path, **sections)
    assert [problem.key for problem in refused.value.problems] == [key]


def test_columns_that_one_table_lacks_or_that_have_no_name_are_told(
    spark: SparkSession, tmp_path: Path
) -> None:
    names = {"__index_level_0__": 1, "": 1}
    labeled = labeled_frame().assign(Z=1, who="me", **names)
    labeled.to_parquet(tmp_path / "labeled.parquet", index=False)
    pool = pool_frame().assign(z=1, **{"Unnamed: 0": 1, "Unnamed: 7": 1})
    pool.to_parquet(tmp_path / "pool.parquet", index=False)
    exclude = ["who", "Unnamed: 7"]
    inputs = read_inputs(spark, config_for(tmp_path, features={"exclude": exclude}))
    assert [f.name for f in inputs.features] == ["x"]
    assert codes(inputs) == ["unshared_columns"] + ["nameless_column"] * 3
    assert "labeled ('__index_level_0__') has no name" in inputs.notes[1].message
    assert "unlabeled ('Unnamed: 0') has no name" in inputs.notes[3].message
    message = inputs.notes[0].message
    assert "labeled has 'Z', which unlabeled lacks" in message
    assert "'z' differs in case" in message
