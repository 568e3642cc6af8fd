"""Runs on Delta and Iceberg tables: the labels of the Parquet that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.new_files import report_if_nothing_new
from spark_pseudolabel.output.state import report_if_finished
from tests.runs.test_incremental import Drops, read_labels, rows
from tests.store.logs.warehouse import in_memory, latest

POOL = [rows(1000, 300).drop(columns="kind"), rows(2000, 300).drop(columns="kind")]


def arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


class Parquet:
    """A directory, into which nothing is put while a run lasts."""

    def __init__(self, directory: Path):
        self.section: dict[str, Any] = {"path": str(directory / "pool")}
        (directory / "pool").mkdir()
        for number, frame in enumerate(POOL):
            frame.to_parquet(directory / "pool" / f"{number}.parquet", index=False)

    def change(self) -> None: ...


class Delta:
    """A table, of which rows are deleted and added, and whose files are put together."""

    def __init__(self, directory: Path):
        self.place = directory / "pool"
        self.section = {"path": str(self.place), "format": "delta"}
        for frame in POOL:
            write_deltalake(self.place, arrow(frame), mode="append")

    def change(self) -> None:
        table = DeltaTable(self.place)
        table.delete("row_id < 'r001200'")
        write_deltalake(table, arrow(rows(3000, 200).drop(columns="kind")), mode="append")
        table.optimize.compact()


class Iceberg:
    """A table of which a column was renamed between its files, which go on being appended to."""

    def __init__(self, directory: Path):
        first = arrow(POOL[0].rename(columns={"c": "was"}))
        self.table = in_memory(directory).create_table("db.pool", schema=first.schema)
        self.table.append(first)
        with self.table.update_schema() as change:
            change.rename_column("was", "c")
        self.table.append(arrow(POOL[1]))
        self.section = {"path": latest(self.table), "format": "iceberg"}

    def change(self) -> None:
        self.table.delete("row_id < 'r001200'")


def test_a_run_ends_with_the_labels_of_what_the_table_held(
    spark: SparkSession, tmp_path: Path
) -> None:
    labels, asked, whys = [], [], []
    for kind in (Parquet, Delta, Iceberg):
        directory = tmp_path / kind.__name__
        directory.mkdir()
        rows(0, 150).to_parquet(directory / "labeled.parquet", index=False)
        table = kind(directory)
        sections = {
            "labeled": {"path": str(directory / "labeled.parquet"), "label": "kind"},
            "unlabeled": table.section,
            "id": "row_id",
            "model": {"estimator": "LogisticRegression"},
            "selection": {"policy": "threshold", "threshold": 0.8},
            "output": {"path": str(directory / "out")},
        }
        run(spark, parse_config({**sections, "rounds": {"max": 1}}))
        table.change()
        config = parse_config({**sections, "rounds": {"max": 3}})
        report = run(spark, config).report
        assert report.rows.pool == 600
        assert report_if_finished(config) is not None
        labels.append(read_labels(directory / "out"))
        # What people are told of rows is read of the same version.
        out, to = str(directory / "out"), directory / "ask"
        assert main(["review", "export", out, "--queue", "20", "--to", str(to)]) == 0
        asked.append(pd.read_csv(to / "part-00000.csv"))
        why = explain_row(out, "r001007", why=True).why
        assert why is not None
        whys.append(why.features)
    assert len(labels[0]) > 300
    for of_table in labels[1:]:
        pd.testing.assert_frame_equal(labels[0], of_table)
    assert {"a", "b", "c"} <= set(asked[0])
    for of_table in asked[1:]:
        pd.testing.assert_frame_equal(asked[0], of_table, check_like=True)
    assert all(sorted(w, key=str) == sorted(whys[0], key=str) for w in whys[1:])


def test_rows_that_come_into_a_table_are_the_next_generation(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = Drops(spark, tmp_path)
    place = tmp_path / "table"
    drops.sections["unlabeled"] = {"path": str(place), "format": "delta"}

    def put(frame: pd.DataFrame) -> None:
        write_deltalake(place, arrow(frame.drop(columns="kind")), mode="append")

    put(rows(1000, 400))
    put(rows(1400, 200))
    assert drops.run()["rows"]["pool"] == 600
    # Put together, the rows are in other files, and not new.
    DeltaTable(place).optimize.compact()
    DeltaTable(place).delete("row_id < 'r001010'")
    assert report_if_nothing_new(parse_config(drops.config())) is None
    drops.run()
    put(rows(2000, 200))
    report = drops.run()
    told = [(each["rows"], each["overlap"]) for each in report["generations"]]
    assert told == [(600, 0), (0, 590), (200, 0)]
    assert report_if_nothing_new(parse_config(drops.config())) is not None
    labels = drops.labels
    assert labels["row_id"].is_unique
    assert (labels["row_id"] < "r001010").any()
    assert len(labels) == report["all_generations"]["accepted"]
