"""Tables that Spark has written: the rows that its own readers give, and labels of one version."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame

from spark_pseudolabel.config import UnlabeledTable, parse_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import run
from spark_pseudolabel.output.state import report_if_finished
from spark_pseudolabel.spark.reading.logged import open_logged, rows_of
from tests.runs.test_incremental import read_labels, rows
from tests.tables.conftest import LAKE, Lake

ROWS = """
    select id, cast(id % 7 as double) as x, cast(id as int) as n, concat('d ', id % 3) as day,
      timestamp'2024-01-01' + make_interval(0, 0, 0, 0, 0, 0, id) as t,
      array(cast(id as double), 1.0D) as points
    from range(0, 100, 1, 2)
"""
LATER = "timestamp'2024-01-01', array(0.5D)"
MAPPED = """partitioned by (day) tblproperties(
    'delta.columnMapping.mode' = '{}', 'delta.enableDeletionVectors' = 'true')"""
MERGE_ON_READ = """partitioned by (day) tblproperties('format-version' = '{}',
    'write.delete.mode' = 'merge-on-read', 'write.update.mode' = 'merge-on-read')"""
CHANGED = (
    "delete from {0} where id % 10 = 3",
    "update {0} set x = -1 where id = 5",
    "delete from {0} where id = 7",
    "alter table {0} rename column x to y",
    "alter table {0} drop column n",
    "alter table {0} add column n double",
    f"insert into {{0}} (id, y, day, t, points, n) values (2000, 1.0, 'e/f%20=ü', {LATER}, 0.5)",
    f"insert into {{0}} (id, y, day, t, points, n) values (2001, null, null, {LATER}, null)",
)

Columns = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """What is done to a Delta table after it was made.

    Parameters
    ----------
    how
        Its partitions and properties.
    changes
        Statements.
    columns
        Changes its columns by a commit of its own: Delta's jar for this Spark was compiled for an
        earlier one, and fails on ALTER TABLE.
    after
        Statements after that.
    """

    how: str = ""
    changes: tuple[str, ...] = ()
    columns: Callable[[Columns], Columns] | None = None
    after: tuple[str, ...] = ()


def renamed(columns: Columns) -> Columns:
    """Rename x, and let another column be called n."""
    number = max(column["metadata"]["delta.columnMapping.id"] for column in columns) + 1
    marks = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": "col-new"}
    kept = [
        column | {"name": "y" if column["name"] == "x" else column["name"]}
        for column in columns
        if column["name"] != "n"
    ]
    return [*kept, {"name": "n", "type": "double", "nullable": True, "metadata": marks}]


def widened(columns: Columns) -> Columns:
    """Let n be a long integer."""
    change = {"toType": "long", "fromType": "integer"}
    marks = {"delta.typeChanges": [change]}
    return [
        column | ({"type": "long", "metadata": marks} if column["name"] == "n" else {})
        for column in columns
    ]


def commit(path: Path, change: Callable[[Columns], Columns]) -> None:
    """Commit other columns to a Delta table."""
    commits = sorted((path / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for file in commits for line in file.read_text().splitlines()]
    about = [action["metaData"] for action in actions if "metaData" in action][-1]
    schema = json.loads(about["schemaString"])
    schema["fields"] = change(schema["fields"])
    about["schemaString"] = json.dumps(schema)
    if "delta.columnMapping.maxColumnId" in about["configuration"]:
        numbers = [f["metadata"]["delta.columnMapping.id"] for f in schema["fields"]]
        about["configuration"]["delta.columnMapping.maxColumnId"] = str(max(numbers))
    file = path / "_delta_log" / f"{len(commits):020}.json"
    file.write_text(json.dumps({"metaData": about}) + "\n")


DELTA: dict[str, Case] = {
    "deletion vectors, short": Case(
        "tblproperties('delta.enableDeletionVectors' = 'true')", CHANGED[:3]
    ),
    "copy on write, long": Case("", CHANGED[:3]),
    "columns mapped by name, long": Case(MAPPED.format("name"), CHANGED[:3], renamed, CHANGED[6:]),
    "columns mapped by number, long": Case(MAPPED.format("id"), CHANGED[:3], renamed, CHANGED[6:]),
    "partitions, long": Case(
        "partitioned by (day, n)",
        (f"insert into {{0}} values (2000, 1.0, 7, 'e/f%20=ü', {LATER})",),
    ),
    "widened, long": Case(
        "tblproperties('delta.enableTypeWidening' = 'true')",
        (),
        widened,
        (f"insert into {{0}} values (2000, 1.0, 5000000000, 'a', {LATER})",),
    ),
    "checkpoints of the second kind, long": Case(
        "tblproperties('delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2')",
        CHANGED[:3],
    ),
}
ICEBERG: dict[str, tuple[str, tuple[str, ...]]] = {
    "position deletes, short": (MERGE_ON_READ.format(2), CHANGED),
    "deletion vectors, long": (MERGE_ON_READ.format(3), CHANGED),
    "widened, long": (
        "",
        (
            "alter table {0} alter column n type bigint",
            f"insert into {{0}} values (2000, 1.0, 5000000000, 'a', {LATER})",
        ),
    ),
    "put together again, long": (
        MERGE_ON_READ.format(2),
        (
            *CHANGED[:3],
            f"call {LAKE}.system.rewrite_data_files(table => '{{1}}', "
            "options => map('rewrite-all', 'true'))",
            f"call {LAKE}.system.expire_snapshots(table => '{{1}}', "
            "older_than => timestamp'2100-01-01', retain_last => 1)",
        ),
    ),
}


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring rows into an order, with arrays as text."""
    ordered = frame.sort_values("id").reset_index(drop=True)
    arrays = {
        "points": ordered["points"].map(lambda v: None if v is None else str([float(x) for x in v]))
    }
    return ordered.assign(**arrays)


def same_rows(lake: Lake, section: dict[str, Any], truth: DataFrame) -> None:
    """Compare what the driver reads, and tasks do for Spark, with what the format's reader does."""
    settings = UnlabeledTable.model_validate(section)
    plain = open_logged(lake.spark, settings, "unlabeled").plain
    assert plain is not None
    expected = shown(truth.toPandas())
    columns = list(truth.columns)
    assert plain.spark_schema.names == columns
    assert plain.rows == len(expected)
    read = plain.collect(plain.source((), columns)).to_pandas()
    read["t"] = read["t"].dt.tz_localize(None)
    pd.testing.assert_frame_equal(shown(read), expected, check_dtype=False)
    through_spark = rows_of(lake.spark, plain).toPandas()
    pd.testing.assert_frame_equal(shown(through_spark), expected, check_dtype=False)


@pytest.mark.parametrize("name", DELTA)
def test_rows_of_delta_are_those_that_spark_reads(lake: Lake, name: str) -> None:
    case = DELTA[name]
    path = lake.root / f"delta {name}"
    table = f"delta.`{path}`"
    lake.sql(f"create table {table} using delta {case.how} as {ROWS}")
    lake.sql(*(change.format(table) for change in case.changes))
    if case.columns is not None:
        commit(path, case.columns)
        lake.sql(*(change.format(table) for change in case.after))
    truth = lake.spark.read.format("delta").load(str(path))
    same_rows(lake, {"path": str(path), "format": "delta"}, truth)


@pytest.mark.parametrize("name", ICEBERG)
def test_rows_of_iceberg_are_those_that_spark_reads(lake: Lake, name: str) -> None:
    how, changes = ICEBERG[name]
    short = f"db.t{list(ICEBERG).index(name)}"
    table = f"{LAKE}.{short}"
    lake.sql(f"create table {table} using iceberg {how} as {ROWS}")
    lake.sql(*(change.format(table, short) for change in changes))
    same_rows(lake, {"table": table, "format": "iceberg"}, lake.spark.table(table))
    path = lake.root / "iceberg" / short.replace(".", "/")
    same_rows(lake, {"path": str(path), "format": "iceberg"}, lake.spark.table(table))


def test_a_clone_that_has_files_of_another_table_is_read_by_spark_long(lake: Lake) -> None:
    source, clone = (f"delta.`{lake.root / name}`" for name in ("whole", "clone"))
    lake.sql(f"create table {source} using delta as {ROWS}")
    lake.sql(f"create table {clone} shallow clone {source}", f"delete from {clone} where id < 9")
    section = {"path": str(lake.root / "clone"), "format": "delta", "version": 0}
    opened = open_logged(lake.spark, UnlabeledTable.model_validate(section), "unlabeled")
    assert (opened.plain, opened.files) == (None, None)
    assert opened.rows is not None
    assert opened.rows.count() == 100


# --- runs over tables that change


def put(lake: Lake, table: str, frame: pd.DataFrame) -> None:
    lake.spark.createDataFrame(frame).createOrReplaceTempView("rows_to_put")
    lake.sql(f"insert into {table} select * from rows_to_put")


def delta_table(lake: Lake) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return a table with deletion vectors, its section, and what takes old versions away."""
    path = lake.root / "pool"
    table = f"delta.`{path}`"
    lake.sql(
        f"create table {table} (row_id string, a double, b double, c double) using delta "
        "tblproperties('delta.enableDeletionVectors' = 'true')"
    )
    return table, {"path": str(path), "format": "delta"}, (f"vacuum {table} retain 0 hours",)


def iceberg_table(lake: Lake) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return a table of a catalog, its section, and what takes old snapshots away."""
    table = f"{LAKE}.db.pool"
    lake.sql(
        f"create table {table} (row_id string, a double, b double, c double) using iceberg "
        "tblproperties('format-version' = '2', 'write.delete.mode' = 'merge-on-read')"
    )
    expire = (
        f"call {LAKE}.system.expire_snapshots(table => 'db.pool', "
        "older_than => timestamp'2100-01-01', retain_last => 1)"
    )
    return table, {"table": table, "format": "iceberg"}, (expire,)


@pytest.mark.parametrize("make", [delta_table, iceberg_table])
def test_a_run_goes_on_with_its_version_until_that_is_gone_short(
    lake: Lake,
    tmp_path: Path,
    make: Callable[[Lake], tuple[str, dict[str, Any], tuple[str, ...]]],
) -> None:
    labeled = str(tmp_path / "labeled.parquet")
    rows(0, 150).to_parquet(labeled, index=False)
    pool = pd.concat([rows(1000, 300), rows(2000, 300)]).drop(columns="kind")
    table, section, expire = make(lake)
    put(lake, table, pool)
    lake.sql(f"delete from {table} where row_id between 'r001100' and 'r001149'")
    held = pool[~pool["row_id"].between("r001100", "r001149")]
    held.to_parquet(tmp_path / "held.parquet", index=False)

    def config(name: str, rounds: int, unlabeled: dict[str, Any]) -> Any:
        return parse_config(
            {
                "labeled": {"path": labeled, "label": "kind"},
                "unlabeled": unlabeled,
                "id": "row_id",
                "model": {"estimator": "LogisticRegression"},
                "selection": {"policy": "threshold", "threshold": 0.8},
                "rounds": {"max": rounds},
                "output": {"path": str(tmp_path / name)},
            }
        )

    plain = {"path": str(tmp_path / "held.parquet")}
    run(lake.spark, config("parquet", 3, plain))
    run(lake.spark, config("out", 1, section))
    run(lake.spark, config("left", 1, section))
    # Rows come, go and are changed, and files are put together, before the run goes on.
    put(lake, table, rows(3000, 200).drop(columns="kind"))
    lake.sql(
        f"delete from {table} where row_id < 'r001050'",
        f"update {table} set a = -a where row_id > 'r002100'",
    )
    if section["format"] == "delta":
        lake.sql(f"optimize {table}")
    else:
        lake.sql(f"call {LAKE}.system.rewrite_data_files(table => 'db.pool')")
    assert run(lake.spark, config("out", 3, section)).report.rows.pool == len(held)
    labels = read_labels(tmp_path / "out")
    pd.testing.assert_frame_equal(labels, read_labels(tmp_path / "parquet"))
    assert not labels["row_id"].between("r001100", "r001149").any()
    lake.sql(*expire)
    with pytest.raises(InputError, match="unlabeled") as refused:
        run(lake.spark, config("left", 3, section))
    assert refused.value.code == "version_expired"
    assert report_if_finished(config("out", 3, section)) is not None
    # What is there now is another run's, or the next generation's.
    later = run(lake.spark, config("later", 1, section)).report
    assert later.rows.pool == lake.spark.table(table).count()
