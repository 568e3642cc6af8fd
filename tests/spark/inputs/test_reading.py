"""Inputs: what is refused before any model is fitted, and what becomes of what is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from spark_pseudolabel.columns import CODE, HASH
from spark_pseudolabel.config import UnlabeledTable
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.errors import ConfigError, InputError
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.inputs.facts import GROUP, LABEL_COLUMN
from spark_pseudolabel.spark.inputs.labeled import check_labeled, split_labeled
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.spark.reading.tables import open_table
from tests.spark.tables import N_POOL, config_for, labeled_frame, pool_frame, write

Change = Callable[[pd.DataFrame], pd.DataFrame]


def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


REFUSED: dict[str, tuple[Change, Change, dict[str, Any], str, list[str]]] = {
    "no labeled rows": (lambda d: d[:0].astype({"y": str}), same, {}, "no_labeled", ["labeled"]),
    "no labeled rows, no id": (
        lambda d: d[:0].astype({"y": str}),
        same,
        {"id": None},
        "no_labeled",
        ["labeled"],
    ),
    "one class only": (lambda d: d.assign(y="a"), same, {}, "one_class", ["'a'"]),
    "null label": (lambda d: d.assign(y=[None, *d.y[1:]]), same, {}, "null_label", ["1 of 12"]),
    "label padded with NUL": (
        lambda d: d.assign(y=["a\0", *d.y[1:]]),
        same,
        {},
        "bad_label",
        ["1 of 12", "'y'", "'a\\x00'"],
    ),
    "vector's number named as a column": (
        lambda d: d.assign(x=[[1.0, 2.0]] * len(d), x_1=0.0),
        lambda d: d.assign(x=[[1.0, 2.0]] * len(d), x_1=0.0),
        {},
        "name_taken",
        ["'x'", "'x_1'", "features.exclude"],
    ),
    "label column missing": (lambda d: d.drop(columns="y"), same, {}, "missing_column", ["'y'"]),
    "id missing in pool": (same, lambda d: d.drop(columns="id"), {}, "missing_column", ["'id'"]),
    "double label": (lambda d: d.assign(y=d.x), same, {}, "bad_type", ["double"]),
    "duplicate labeled id": (
        lambda d: d.assign(id=0),
        same,
        {},
        "bad_id",
        ["labeled: ids", "1 id occurs"],
    ),
    "duplicate pool id": (
        same,
        lambda d: d.assign(id=[100, 100, *d.id[2:]]),
        {},
        "bad_id",
        ["unlabeled", "100"],
    ),
    "null pool id": (
        same,
        lambda d: d.assign(id=pd.array([None, *d.id[1:]], dtype="Int64")),
        {},
        "bad_id",
        ["null"],
    ),
    "labeled rows in pool": (
        same,
        lambda d: d.assign(id=d.id - 100),
        {},
        "labeled_in_pool",
        ["12 rows", "drop_labeled"],
    ),
    "string against number": (
        same,
        lambda d: d.assign(x="1"),
        {},
        "type_differs",
        ["'x'", "double", "string"],
    ),
    "id of another type": (same, lambda d: d.assign(id=d.id.astype(str)), {}, "type_differs", []),
    "boolean against number": (same, lambda d: d.assign(x=True), {}, "type_differs", ["boolean"]),
    "no shared feature": (lambda d: d.rename(columns={"x": "z"}), same, {}, "no_features", ["z"]),
    "unknown included feature": (
        same,
        same,
        {"features": {"include": ["age"]}},
        "missing_column",
        ["age"],
    ),
    "unknown excluded feature": (
        same,
        same,
        {"features": {"exclude": ["age"]}},
        "missing_column",
        ["age"],
    ),
    "strings in sklearn mode": (
        lambda d: d.assign(c="u"),
        lambda d: d.assign(c="u"),
        {"mode": "sklearn"},
        "bad_type",
        ["'c'"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_tables_are_refused_by_name(spark: SparkSession, tmp_path: Path, name: str) -> None:
    change_labeled, change_pool, sections, code, words = REFUSED[name]
    write(tmp_path, labeled=change_labeled(labeled_frame()), pool=change_pool(pool_frame()))
    with pytest.raises(InputError) as refused:
        read_inputs(spark, config_for(tmp_path, **sections))
    assert refused.value.code == code
    assert [word for word in words if word not in refused.value.message] == []


def test_a_missing_path_is_named(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, labeled=labeled_frame())
    with pytest.raises(InputError, match=r"unlabeled\.path .*pool\.parquet' does not exist"):
        read_inputs(spark, config_for(tmp_path))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "is no whole Parquet file"),
        (lambda path: path.write_bytes(b"id,x\n1,2\n"), "is no whole Parquet file"),
    ],
)
def test_a_damaged_file_is_named(
    spark: SparkSession, tmp_path: Path, damage: Callable[[Path], None], what: str
) -> None:
    write(tmp_path, labeled=labeled_frame())
    pool = tmp_path / "pool.parquet"
    pool.mkdir()
    write(pool, one=pool_frame(), two=pool_frame().assign(id=range(500, 520)))
    damage(pool / "two.parquet")
    with pytest.raises(InputError, match=f"two.parquet {what}"):
        read_inputs(spark, config_for(tmp_path))


@pytest.mark.parametrize(
    ("entry", "table_format"),
    [
        ("_delta_log/00000000000000000000.json", "delta"),
        ("metadata/v1.metadata.json", "iceberg"),
        (".hoodie/hoodie.properties", "hudi"),
    ],
)
def test_a_table_format_is_not_read_as_parquet(
    spark: SparkSession, tmp_path: Path, entry: str, table_format: str
) -> None:
    write(tmp_path, labeled=labeled_frame())
    pool = tmp_path / "pool.parquet"
    pool.mkdir()
    write(pool, one=pool_frame())
    (pool / entry).parent.mkdir()
    (pool / entry).write_text("{}")
    with pytest.raises(InputError, match=f"format: {table_format}"):
        read_inputs(spark, config_for(tmp_path))


def test_settings_that_hide_loss_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, labeled=labeled_frame(), pool=pool_frame())
    spark.conf.set("spark.sql.files.ignoreCorruptFiles", "true")
    try:
        with pytest.raises(InputError, match="ignoreCorruptFiles must be false"):
            read_inputs(spark, config_for(tmp_path))
    finally:
        spark.conf.unset("spark.sql.files.ignoreCorruptFiles")


def test_an_id_named_like_an_output_column_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    frames = {"labeled": labeled_frame(), "pool": pool_frame()}
    write(tmp_path, **{name: d.rename(columns={"id": "round"}) for name, d in frames.items()})
    with pytest.raises(ConfigError, match="'round' is taken"):
        read_inputs(spark, config_for(tmp_path, id="round"))


@pytest.mark.parametrize("key", ["file", "row_index"])
def test_an_id_may_be_called_like_a_row_s_place(
    spark: SparkSession, tmp_path: Path, key: str
) -> None:
    frames = {"labeled": labeled_frame(), "pool": pool_frame()}
    write(tmp_path, **{name: d.rename(columns={"id": key}) for name, d in frames.items()})
    inputs = read_inputs(spark, config_for(tmp_path, id=key))
    assert (inputs.keys, inputs.pool_rows) == ((key,), N_POOL)
    assert inputs.scan is not None


def test_validation_rows_may_not_be_labeled_rows(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, labeled=labeled_frame(), pool=pool_frame(), validation=labeled_frame()[3:5])
    validation = {"path": str(tmp_path / "validation.parquet")}
    with pytest.raises(InputError, match=r"validation holds 2 rows .* labeled rows"):
        read_inputs(spark, config_for(tmp_path, validation=validation))


def test_test_rows_may_not_be_labeled_rows(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, labeled=labeled_frame(), pool=pool_frame(), test=labeled_frame()[3:5])
    test = {"path": str(tmp_path / "test.parquet")}
    with pytest.raises(InputError, match=r"test holds 2 rows .* labeled rows"):
        read_inputs(spark, config_for(tmp_path, test=test))


@pytest.mark.parametrize("section", ["validation", "test"])
@pytest.mark.parametrize(("column", "value"), [("y", 1), ("x", "1")])
def test_columns_of_other_tables_must_be_of_the_same_kind(
    spark: SparkSession, tmp_path: Path, section: str, column: str, value: Any
) -> None:
    other = labeled_frame().assign(id=range(50, 62), **{column: value})
    write(tmp_path, labeled=labeled_frame(), pool=pool_frame(), other=other)
    config = config_for(tmp_path, **{section: {"path": str(tmp_path / "other.parquet")}})
    with pytest.raises(InputError, match=section) as refused:
        read_inputs(spark, config)
    assert (refused.value.code, refused.value.where) == ("type_differs", column)


def test_labeled_rows_can_be_taken_out_of_the_pool(spark: SparkSession, tmp_path: Path) -> None:
    both = pd.concat([labeled_frame().drop(columns="y"), pool_frame()])
    write(tmp_path, labeled=labeled_frame(), pool=both)
    unlabeled = {"path": str(tmp_path / "pool.parquet"), "drop_labeled": True}
    assert read_inputs(spark, config_for(tmp_path, unlabeled=unlabeled)).pool_rows == N_POOL


def test_rows_with_a_null_label_can_be_the_pool(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, labeled=pd.concat([labeled_frame(), pool_frame()]))
    inputs = read_inputs(spark, config_for(tmp_path, unlabeled={"from": "labeled"}))
    assert inputs.pool_rows == N_POOL
    assert inputs.labeled.num_rows + inputs.validation.num_rows == len(labeled_frame())


def test_numbers_widen_and_ids_compare_across_widths(spark: SparkSession, tmp_path: Path) -> None:
    narrow = labeled_frame().astype({"id": "int32"}).assign(x=range(12))
    write(tmp_path, labeled=narrow.astype({"x": "int16"}), pool=pool_frame())
    inputs = read_inputs(spark, config_for(tmp_path))
    assert [feature.kind for feature in inputs.features] == ["numeric"]
    assert inputs.labeled.schema.field("id").type == pa.int64()


def test_tables_and_queries_are_read(spark: SparkSession, tmp_path: Path) -> None:
    spark.createDataFrame(labeled_frame()).createOrReplaceTempView("given_rows")
    spark.createDataFrame(pool_frame()).createOrReplaceTempView("other_rows")
    config = config_for(
        tmp_path,
        labeled={"table": "given_rows", "label": "y"},
        unlabeled={"query": "select * from other_rows where id >= 110"},
    )
    assert read_inputs(spark, config).pool_rows == 10


FAILING = {
    "query of the pool's ids": (
        {"unlabeled": {"query": "select cast(concat('n', id) as bigint) id, x from {pool}"}},
        "unlabeled: a row cannot be evaluated: [CAST_INVALID_INPUT] The value 'n100'",
    ),
    "query of test rows": (
        {"test": {"query": "select id + array(900)[id] id, y, x from {labeled}"}},
        "test: a row cannot be evaluated: [INVALID_ARRAY_INDEX]",
    ),
    "view of validation rows": (
        {"validation": {"table": "raising"}},
        "validation: a row cannot be evaluated: [USER_RAISED_EXCEPTION] no such unit",
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_row_on_which_an_expression_fails_is_an_error_of_its_table(
    case: str, spark: SparkSession, tmp_path: Path
) -> None:
    sections, start = FAILING[case]
    paths = write(tmp_path, labeled=labeled_frame(), pool=pool_frame())
    files = {name: f"parquet.`{path}`" for name, path in paths.items()}
    raising = "select id + 50 id, y, if(x > 0.5, raise_error('no such unit'), x) x"
    spark.sql(f"{raising} from {files['labeled']}").createOrReplaceTempView("raising")
    filled = {
        name: {key: text.format_map(files) for key, text in section.items()}
        for name, section in sections.items()
    }
    with pytest.raises(InputError) as refused:
        read_inputs(spark, config_for(tmp_path, **filled))
    assert refused.value.exit_code == 3
    assert refused.value.message.startswith(start)
    assert len(refused.value.message.splitlines()) == 1


def test_a_missing_table_is_told_in_one_line(spark: SparkSession, tmp_path: Path) -> None:
    config = config_for(tmp_path, labeled={"table": "nowhere", "label": "y"})
    with pytest.raises(InputError, match="labeled 'nowhere' can't be read") as refused:
        read_inputs(spark, config)
    assert len(refused.value.message.splitlines()) == 1


def test_what_pandas_leaves_as_index_is_no_feature(spark: SparkSession, tmp_path: Path) -> None:
    for name, frame in (("labeled", labeled_frame()), ("pool", pool_frame())):
        frame.set_index(frame.id.rename(None) * 7).to_parquet(tmp_path / f"{name}.parquet")
    inputs = read_inputs(spark, config_for(tmp_path))
    assert [feature.name for feature in inputs.features] == ["x"]


def test_spark_opens_no_table_that_it_need_not(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, labeled=labeled_frame(), pool=pool_frame())
    inputs = read_inputs(spark, config_for(tmp_path))
    assert inputs.scan is not None
    assert "rows" not in vars(inputs.pool)
    assert inputs.pool.rows.schema == inputs.pool.schema


def test_rows_without_an_id_are_known_by_their_place(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, labeled=labeled_frame())
    pool = tmp_path / "a pool+ü 10%"
    (pool / "day=1").mkdir(parents=True)
    frame = pool_frame().drop(columns="id")
    names = ("a b", "b+c", "50%", "50%25", "für")
    for part in names:
        pq.write_table(
            pa.Table.from_pandas(frame), pool / f"day=1/{part}.parquet", row_group_size=7
        )
    sections = {"unlabeled": {"path": str(pool)}, "features": {"include": ["x"]}}
    inputs = read_inputs(spark, config_for(tmp_path, id=None, **sections))
    rows = inputs.pool.rows.toPandas()
    assert inputs.keys == ("file", "row_index")
    assert sorted(zip(rows.file, rows.row_index, strict=True)) == sorted(
        (f"day=1/{part}.parquet", i) for part in names for i in range(N_POOL)
    )


def test_a_table_of_one_file_is_known_by_the_file_s_name(
    spark: SparkSession, tmp_path: Path
) -> None:
    pool_frame().to_parquet(tmp_path / "a b+ü%.parquet", index=False)
    settings = UnlabeledTable(path=str(tmp_path / "a b+ü%.parquet"))
    rows = open_table(spark, settings, "unlabeled", positions=True).rows
    assert rows.toPandas().file.unique().tolist() == ["a b+ü%.parquet"]


@pytest.mark.parametrize("written_as", ["INT96", "TIMESTAMP_MICROS", "TIMESTAMP_MILLIS"])
def test_timestamps_that_spark_wrote_are_read_as_spark_reads_them(
    spark: SparkSession, tmp_path: Path, written_as: str
) -> None:
    moments = ["0001-01-01", "1582-10-04", "1969-12-31 23:59:59.5", "9999-12-31 23:59:59"]
    values = ", ".join(f"({i}L, timestamp '{moment}')" for i, moment in enumerate(moments))
    setting = "spark.sql.parquet.outputTimestampType"
    before = spark.conf.get(setting)
    spark.conf.set(setting, written_as)
    try:
        spark.sql(f"select * from values {values} as (id, t)").write.parquet(str(tmp_path / "t"))
    finally:
        spark.conf.set(setting, before)
    table = open_table(spark, UnlabeledTable(path=str(tmp_path / "t")), "unlabeled")
    features = [Feature("t", "timestamp", "timestamp")]
    assert table.plain is not None
    assert table.plain.readable(["t"])
    direct = table.plain.collect(PartSource(table.plain.root, ("id",), ("t",))).sort_by("id")
    found = to_frame(direct, features)
    pd.testing.assert_frame_equal(found, to_frame(table.rows.sort("id").toArrow(), features))
    assert found["t"].tolist() == [-62135596800.0, -12220243200.0, -0.5, 253402300799.0]


@pytest.mark.parametrize("footer", [{"version": "2.4.8"}, {}])
def test_old_dates_are_the_same_to_both_backends(
    spark: SparkSession, tmp_path: Path, footer: dict[str, str]
) -> None:
    write(tmp_path, labeled=labeled_frame(), pool=pool_frame())
    days = pa.array([date(1500, 1, 1 + i) for i in range(N_POOL)])
    told = {f"org.apache.spark.{key}": value for key, value in footer.items()}
    for name in ("labeled", "pool"):
        rows = pq.read_table(tmp_path / f"{name}.parquet")
        rows = rows.append_column("d", days[: rows.num_rows])
        pq.write_table(rows.replace_schema_metadata(told), tmp_path / f"{name}.parquet")
    read = {}
    for scan in ("auto", "spark"):
        unlabeled = {"path": str(tmp_path / "pool.parquet"), "scan": scan}
        inputs = read_inputs(spark, config_for(tmp_path, unlabeled=unlabeled))
        assert (inputs.scan is None) == (scan == "spark" or bool(footer))
        pool = inputs.pool.rows.select("d").toArrow() if inputs.scan is None else days
        found = pool.column("d").to_pylist() if inputs.scan is None else days.to_pylist()
        read[scan] = [found, inputs.labeled.column("d").to_pylist()]
    assert read["auto"] == read["spark"]
    assert (read["spark"][0] != days.to_pylist()) == bool(footer)


def test_columns_of_foreign_types_are_left_out_and_refused_as_features(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(tmp_path, labeled=labeled_frame(), pool=pool_frame())
    udt = {"type": "udt", "pyClass": "evil_module_of_the_tests.A", "serializedClass": ""}
    kinds = {"x": "double", "id": "long", "f": {**udt, "sqlType": "long"}}
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}}
        for name, kind in kinds.items()
    ]
    text = json.dumps({"type": "struct", "fields": fields})
    rows = pq.read_table(tmp_path / "pool.parquet").select(["x", "id"])
    rows = rows.append_column("f", rows.column("id"))
    told = {"org.apache.spark.sql.parquet.row.metadata": text}
    pq.write_table(rows.replace_schema_metadata(told), tmp_path / "pool.parquet")
    labeled = labeled_frame().assign(f=1)
    write(tmp_path, labeled=labeled)
    with pytest.raises(InputError, match="'f' is of the user-defined type") as told_by:
        read_inputs(spark, config_for(tmp_path))
    assert told_by.value.where == "f"
    inputs = read_inputs(spark, config_for(tmp_path, features={"exclude": ["f"]}))
    assert [feature.name for feature in inputs.features] == ["x"]
    assert inputs.pool.rows.count() == N_POOL
    assert "evil_module_of_the_tests" not in sys.modules


def test_every_kind_of_column_becomes_model_input(spark: SparkSession, tmp_path: Path) -> None:
    def rows(start: int, n: int) -> list[tuple[Any, ...]]:
        return [
            (
                start + i,
                "a" if i % 2 else "b",
                None if i == 0 else i,
                bool(i % 2),
                Decimal(i) / 4,
                date(1970, 1, 1 + i),
                datetime(1970, 1, 1, 0, 0, i),
                "red" if i % 3 else None,
                f"some free words about {start + i}",
                [float(i), 1.0],
                Vectors.dense([i, 2.0, 3.0]),
            )
            for i in range(n)
        ]

    schema = "id long, y string, n int, b boolean, d decimal(10, 2), day date, t timestamp, "
    schema += "c string, words string, arr array<float>, "
    frames = {}
    for name, data in (("labeled", rows(0, 12)), ("unlabeled", rows(100, 5))):
        plain = spark.createDataFrame([r[:-1] for r in data], schema.rstrip(", "))
        vectors = spark.createDataFrame([(r[0], r[-1]) for r in data], ["id", "vec"])
        frames[name] = plain.join(vectors, "id")
    frames["unlabeled"] = frames["unlabeled"].drop("y")
    config = config_for(
        tmp_path, labeled={"from": "dataframe", "label": "y"}, unlabeled={"from": "dataframe"}
    )
    inputs = read_inputs(spark, config, frames)
    assert {f.name: (f.kind, f.width) for f in inputs.features} == {
        "n": ("numeric", 1),
        "b": ("boolean", 1),
        "d": ("numeric", 1),
        "day": ("date", 1),
        "t": ("timestamp", 1),
        "c": ("category", 1),
        "words": ("text", 1),
        "arr": ("vector", 2),
        "vec": ("vector", 3),
    }
    frame = to_frame(inputs.pool.rows.orderBy("id").toArrow(), inputs.features)
    third = frame.iloc[3].to_dict()
    assert third == {
        "n": 3.0,
        "b": 1.0,
        "d": 0.75,
        "day": 3.0,
        "t": 3.0,
        "arr_0": 3.0,
        "arr_1": 1.0,
        "vec_0": 3.0,
        "vec_1": 2.0,
        "vec_2": 3.0,
        "c": None,
        "words": "some free words about 103",
    }
    assert np.isnan(frame.n[0])


@pytest.mark.parametrize(
    ("labels", "kind"), [(["a", "b"], "string"), ([7, -3], "bigint"), ([True, False], "boolean")]
)
def test_labels_keep_their_type(
    spark: SparkSession, tmp_path: Path, labels: list[Any], kind: str
) -> None:
    write(tmp_path, labeled=labeled_frame().assign(y=labels * 6), pool=pool_frame())
    inputs = read_inputs(spark, config_for(tmp_path))
    assert (inputs.label_type, inputs.classes) == (kind, tuple(sorted(labels)))


def test_the_split_does_not_depend_on_the_order_of_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    found = []
    for order in (labeled_frame(), labeled_frame()[::-1]):
        write(tmp_path, labeled=order, pool=pool_frame())
        inputs = read_inputs(spark, config_for(tmp_path, validation={"fraction": 0.34}))
        assert np.bincount(inputs.validation.column(CODE)).tolist() == [2, 2]
        found.append((inputs.validation.column("id").to_pylist(), inputs.frozen.labeled))
    assert found[0] == found[1]


def test_a_group_is_on_one_side(spark: SparkSession, tmp_path: Path) -> None:
    grouped = labeled_frame().assign(customer=[i // 2 for i in range(12)])
    write(tmp_path, labeled=grouped, pool=pool_frame())
    validation = {"fraction": 0.34, "group": "customer"}
    inputs = read_inputs(spark, config_for(tmp_path, validation=validation))
    sides = [set(np.array(t.column("id")) // 2) for t in (inputs.labeled, inputs.validation)]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert [feature.name for feature in inputs.features] == ["x"]


@pytest.mark.parametrize(("like_sklearn", "labels"), [(True, ["a", "-1"]), (False, [0, -1])])
def test_label_of_minus_one_is_refused_only_where_it_means_none(
    like_sklearn: bool, labels: list[Any]
) -> None:
    rows = pa.table({"id": [1, 2], LABEL_COLUMN: labels})
    check_labeled(rows, ["id"], "y", like_sklearn=like_sklearn)
    bad = pa.table({"id": [1, 2], LABEL_COLUMN: pa.array([0, -1], pa.int32())})
    with pytest.raises(InputError, match=r"must not be -1 with mode: sklearn.* 1 of 2 in 'y'"):
        check_labeled(bad, ["id"], "y", like_sklearn=True)


def test_group_that_leaves_no_validation_row_is_refused(tmp_path: Path) -> None:
    config = config_for(tmp_path, validation={"fraction": 0.5, "group": "customer"})
    rows = pa.table(
        {
            CODE: pa.array([0, 0, 1, 1], pa.int32()),
            GROUP: ["a", "a", "b", "b"],
            HASH: [1, 2, 3, 4],
        }
    )
    with pytest.raises(InputError, match=r"validation.group 'customer' leaves no row"):
        split_labeled(rows, config)
    labeled, validation = split_labeled(
        rows.set_column(1, GROUP, pa.array(["a", "b", "a", "b"])), config
    )
    assert (labeled.num_rows, validation.num_rows) == (2, 2)


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_a_column_without_any_value_has_the_type_of_the_other_table(
    spark: SparkSession, tmp_path: Path, format: str
) -> None:
    labeled = labeled_frame().assign(v=None, w="u", n=None)
    pool = pool_frame().assign(v=None, w=None, n=0.5)
    options = {}
    if format == "csv":
        labeled.to_csv(tmp_path / "labeled.csv", index=False)
        pool.to_csv(tmp_path / "pool.csv", index=False)
        options = {
            "labeled": {"path": str(tmp_path / "labeled.csv"), "format": "csv", "label": "y"},
            "unlabeled": {"path": str(tmp_path / "pool.csv"), "format": "csv"},
        }
    else:
        write(tmp_path, labeled=labeled, pool=pool)
    found = read_inputs(spark, config_for(tmp_path, **options))
    kinds = {feature.name: feature.kind for feature in found.features}
    assert kinds == {"x": "numeric", "w": "category", "n": "numeric"}
    assert [note.code for note in found.notes] == ["empty_columns"]
    assert (found.scan is None) == (format == "csv")
    X = to_frame(found.labeled, found.features)
    assert X["n"].isna().all()
    rows = to_frame(found.pool.rows.toArrow(), found.features)
    assert rows["w"].isna().all()
    assert rows["n"].tolist() == [0.5] * N_POOL


def test_vectors_that_no_labeled_row_has_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    write(
        tmp_path, labeled=labeled_frame().assign(e=None), pool=pool_frame().assign(e=[[1.0]] * 20)
    )
    with pytest.raises(InputError, match="must hold a vector in 'e'") as refused:
        read_inputs(spark, config_for(tmp_path))
    assert refused.value.where == "e"
