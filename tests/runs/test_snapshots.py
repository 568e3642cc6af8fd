"""A pool that workers can't read is frozen once, and labeled as if each round had read it."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import DriftError, InputError, StoredStateError
from spark_pseudolabel.job import Result, loop, plan, run
from spark_pseudolabel.job.loop import to_the_end
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.gc import collect_garbage
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.store import failpoint
from tests.output.review.builders import command

N_LABELED, N_POOL = 60, 300
TABLES = ("labels", "undecided", "training", "invalid")


def rows_of(n: int, first: int = 0) -> pd.DataFrame:
    """Generate two classes: numbers with nulls, a category, a day."""
    chance = np.random.default_rng(first)
    x = chance.normal(size=n)
    rows = pd.DataFrame({"id": [f"r{first + i:05d}" for i in range(n)], "x": x.round(3)})
    rows["z"] = np.where(chance.random(n) < 0.1, None, chance.integers(0, 9, n).astype(object))
    rows["color"] = np.where(x + chance.normal(size=n) > 0, "red", "blue")
    rows["day"] = (pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), "D")).date
    rows["kind"] = np.where(x + chance.normal(scale=0.4, size=n) > 0, "yes", "no")
    return rows


@dataclass
class Case:
    """Tables of CSV, or frames, and an output."""

    spark: SparkSession
    folder: Path
    sections: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, DataFrame] | None = None

    def config(self, out: str, **sections: Any) -> Any:
        unlabeled = {**self.sections["unlabeled"], **sections.pop("unlabeled", {})}
        settings = {
            "id": "id",
            "model": {"estimator": "LogisticRegression"},
            "validation": {"fraction": 0},
            "selection": {"policy": "top_k_per_class", "k": 20},
            "rounds": {"max": 2},
            "output": {"path": str(self.folder / out), "features": True},
            **self.sections,
            **sections,
            "unlabeled": unlabeled,
        }
        return parse_config({k: v for k, v in settings.items() if v is not None})

    def run(self, out: str, **sections: Any) -> Result:
        return run(self.spark, self.config(out, **sections), frames=self.frames)

    def tables(self, out: str) -> dict[str, pd.DataFrame]:
        return {
            name: pd.read_parquet(self.folder / out / name).sort_values("id", ignore_index=True)
            for name in TABLES
        }

    def snapshots(self, out: str) -> list[Path]:
        return sorted((self.folder / out / "_snapshots").glob("*/snapshot.json"))


def require_same_tables(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    for name in TABLES:
        columns = sorted(left[name].columns)
        pd.testing.assert_frame_equal(left[name][columns], right[name][sorted(right[name].columns)])


@pytest.fixture
def csv(spark: SparkSession, tmp_path: Path) -> Case:
    rows_of(N_LABELED).to_csv(tmp_path / "labeled.csv", index=False)
    pool = rows_of(N_POOL, N_LABELED).drop(columns="kind")
    (tmp_path / "pool").mkdir()
    for number in range(2):
        pool[number::2].to_csv(tmp_path / "pool" / f"{number}.csv", index=False)
    # One field too many: the row can't be read, and is known by its id.
    with (tmp_path / "pool" / "1.csv").open("a") as file:
        file.write("r99999,0.5,1,red,2024-01-01,more\n")
    sections = {
        "labeled": {"path": str(tmp_path / "labeled.csv"), "label": "kind"},
        "unlabeled": {"path": str(tmp_path / "pool")},
    }
    return Case(spark, tmp_path, sections)


@pytest.fixture
def frames(spark: SparkSession, tmp_path: Path) -> Case:
    dataframe = {"from": "dataframe"}
    pool = rows_of(N_POOL, N_LABELED).drop(columns=["kind", "z"])
    given = {
        "labeled": spark.createDataFrame(rows_of(N_LABELED).drop(columns="z")),
        "unlabeled": spark.createDataFrame(pool).repartition(3, "id"),
    }
    sections = {"labeled": {**dataframe, "label": "kind"}, "unlabeled": dataframe}
    return Case(spark, tmp_path, sections, given)


def test_labels_are_the_same_with_and_without(csv: Case) -> None:
    announced = plan(csv.spark, csv.config("auto")).snapshot
    assert announced is not None
    assert (announced.frozen, announced.kept) == (True, False)
    assert announced.bytes
    assert not (csv.folder / "auto").exists()
    reports = {
        how: csv.run(how, unlabeled={"snapshot": how}).report for how in ("auto", "never", "keep")
    }
    require_same_tables(csv.tables("auto"), csv.tables("never"))
    require_same_tables(csv.tables("keep"), csv.tables("never"))
    rows = reports["auto"].rows
    assert rows.invalid == 1
    assert rows.accepted + rows.rejected + rows.invalid + rows.abstained == rows.pool == N_POOL + 1
    assert csv.snapshots("auto") == csv.snapshots("never") == []
    (kept,) = csv.snapshots("keep")
    assert check_output(str(csv.folder / "keep"), deep=True).ok
    assert not collect_garbage(str(csv.folder / "keep"), older_than_s=0).items
    columns = {"id", "x", "z", "color", "day", "spl_unreadable"}
    (folder,) = [path for path in kept.parent.iterdir() if path.is_dir()]
    assert set(pq.read_table(folder).column_names) == columns
    next(folder.glob("*.parquet")).unlink()
    assert not check_output(str(csv.folder / "keep")).ok


def test_plain_csv_is_frozen_by_workers_as_by_spark(csv: Case) -> None:
    bad = csv.folder / "pool" / "1.csv"
    bad.write_text("".join(bad.read_text().splitlines(keepends=True)[:-1]))
    tables, makers = {}, set()
    first = csv.folder / "pool" / "0.csv"
    for how in ("plain", "quoted", "by spark"):
        if how == "quoted":
            first.write_text(first.read_text().replace("red", '"red"').replace("id,", '"id",', 1))
        if how == "by spark":  # a blank line means nothing, and not to all readers
            first.write_text(first.read_text() + "\n")
        csv.run(how, unlabeled={"snapshot": "keep"}, rounds={"max": 1})
        (kept,) = csv.snapshots(how)
        file = next(kept.parent.glob("*/*.parquet"))
        makers.add(pq.ParquetFile(file).metadata.created_by.split(" ")[0])
        tables[how] = csv.tables(how)
        assert makers == {"parquet-cpp-arrow", *(["parquet-mr"] if how == "by spark" else [])}
    require_same_tables(tables["plain"], tables["quoted"])
    require_same_tables(tables["plain"], tables["by spark"])


def test_a_query_gives_every_round_the_same_rows(csv: Case) -> None:
    pool = rows_of(N_POOL, N_LABELED)[["id", "x"]]
    csv.spark.createDataFrame(pool).createOrReplaceTempView("spl_pool")
    # Spark's own rand() has one seed for as long as a DataFrame lives.
    chance = F.udf(lambda: secrets.randbits(40) / 2**40, "double").asNondeterministic()
    csv.spark.udf.register("spl_chance", chance)
    csv.sections["unlabeled"] = {"query": "select id, x + spl_chance() + rand() x from spl_pool"}
    csv.sections["features"] = {"include": ["x"]}
    with pytest.raises(InputError, match="unlabeled are not those"):
        csv.run("never", unlabeled={"snapshot": "never"})
    csv.run("keep", unlabeled={"snapshot": "keep"})
    (kept,) = csv.snapshots("keep")
    (folder,) = [path for path in kept.parent.iterdir() if path.is_dir()]
    frozen = pd.read_parquet(folder).set_index("id")["x"]
    labels = csv.tables("keep")["labels"]
    assert set(labels["round"]) == {1, 2}
    assert (labels["x"].to_numpy() == frozen[labels["id"]].to_numpy()).all()


@pytest.mark.parametrize("moved", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_deleted_snapshot_is_frozen_anew_if_the_rows_are_the_same(
    frames: Case, moved: bool
) -> None:
    frames.run("whole", rounds={"max": 3}, unlabeled={"snapshot": "never"})
    frames.run("out")
    assert frames.snapshots("out") == []
    assert frames.frames is not None
    pool = frames.frames["unlabeled"]
    if moved:
        frames.frames["unlabeled"] = pool.repartition(2, "x")
    result = frames.run("out", rounds={"max": 3})
    assert (result.resumed, frames.snapshots("out")) == (True, [])
    require_same_tables(frames.tables("out"), frames.tables("whole"))
    frames.frames["unlabeled"] = pool.withColumn(
        "x", F.when(F.col("id") == "r00100", 9.0).otherwise(F.col("x"))
    )
    with pytest.raises(InputError, match="unlabeled are not those") as refused:
        frames.run("out", rounds={"max": 4})
    assert (refused.value.exit_code, refused.value.code) == (3, "inputs_changed")
    # Of a run that is finished nothing is read again.
    assert frames.run("out", rounds={"max": 3}).already_done
    assert not any((frames.folder / "out" / "_snapshots").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("point", "stays"),
    [
        pytest.param("snapshot.written", False, marks=pytest.mark.long),
        pytest.param("snapshot.publish.done", False, marks=pytest.mark.long),
        ("model.fitted", True),
    ],
)
def test_what_was_frozen_is_read_after_a_crash(
    frames: Case, monkeypatch: pytest.MonkeyPatch, point: str, stays: bool
) -> None:
    stop(frames, monkeypatch, point)
    before = [path.read_bytes() for path in frames.snapshots("out")]
    assert len(before) == (point != "snapshot.written")
    found: list[bytes] = []

    def look(*args: Any) -> Result:
        found.extend(path.read_bytes() for path in frames.snapshots("out"))
        return to_the_end(*args)

    monkeypatch.setattr(loop, "to_the_end", look)
    frames.run("out")
    assert len(found) == 1
    # What no run had named yet may be of any age.
    assert (found == before) == stays
    frames.run("whole", unlabeled={"snapshot": "never"})
    require_same_tables(frames.tables("out"), frames.tables("whole"))


def stop(case: Case, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(failpoint, "_reached", Counter())
        patched.setenv("SPL_FAILPOINT", f"{point}:raise")
        with pytest.raises(failpoint.FailpointError):
            case.run("out")


@pytest.mark.long
def test_a_damaged_snapshot_is_refused(frames: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(frames, monkeypatch, "model.fitted")
    (snapshot,) = frames.snapshots("out")
    next(snapshot.parent.glob("*/*.parquet")).unlink()
    with pytest.raises(StoredStateError, match="delete the directory") as refused:
        frames.run("out")
    assert refused.value.exit_code == 5
    shutil.rmtree(snapshot.parent)
    assert frames.run("out").report.rows.pool == N_POOL


def test_rows_without_an_id_keep_their_places(spark: SparkSession, tmp_path: Path) -> None:
    rows = rows_of(N_LABELED + N_POOL)
    rows[:N_LABELED].to_parquet(tmp_path / "labeled.parquet")
    for number in range(3):
        (tmp_path / "pool" / f"b={number}").mkdir(parents=True)
        part = rows[N_LABELED + number :: 3].drop(columns=["kind", "id"])
        part.to_parquet(tmp_path / "pool" / f"b={number}" / "0.parquet", index=False)
    labeled = {"path": str(tmp_path / "labeled.parquet"), "label": "kind"}
    sections = {"labeled": labeled, "unlabeled": {"path": str(tmp_path / "pool")}, "id": None}
    case = Case(spark, tmp_path, sections)
    found = []
    for how in ("auto", "never"):
        case.run(how, unlabeled={"snapshot": how}, features={"include": ["x", "color"]})
        labels = pd.read_parquet(tmp_path / how / "labels")
        found.append(labels.sort_values(["file", "row_index"], ignore_index=True))
    pd.testing.assert_frame_equal(*found)
    assert set(found[0]["file"]) == {f"b={number}/0.parquet" for number in range(3)}


@pytest.mark.parametrize("format", [pytest.param("csv", marks=pytest.mark.long), "json"])
def test_people_are_shown_rows_of_text_without_spark(
    csv: Case, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    if format == "json":
        for path in [csv.folder / "labeled.csv", *(csv.folder / "pool").glob("*.csv")]:
            rows = pd.read_csv(path, dtype={"z": "Int64"}, on_bad_lines="skip")
            rows.to_json(path.with_suffix(".json"), orient="records", lines=True)
            path.unlink()
        csv.sections["labeled"]["path"] = str(csv.folder / "labeled.json")
    out = str(csv.folder / "out")
    csv.run("out", output={"path": out}, rounds={"max": 1})
    label = pd.read_parquet(csv.folder / "out" / "labels").iloc[0]
    why = explain_row(out, label["id"], why=True).why
    assert why is not None
    assert why.confidence == why.stored_confidence == label["confidence"]
    command(capsys, "export", out, "--audit", "9", "--to", str(csv.folder / "ask"))
    asked = pd.read_csv(csv.folder / "ask" / "part-00000.csv").set_index("id")
    pool = rows_of(N_POOL, N_LABELED).set_index("id").loc[asked.index]
    assert asked["x"].tolist() == pool["x"].tolist()
    assert asked["color"].tolist() == pool["color"].tolist()


def test_what_only_spark_reads_is_known_later_if_it_is_kept(
    csv: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = rows_of(N_POOL, N_LABELED)[["id", "x", "color"]]
    csv.spark.createDataFrame(pool).createOrReplaceTempView("spl_pool")
    csv.sections["unlabeled"] = {"query": "select * from spl_pool"}
    for how in ("auto", "keep"):
        out = str(csv.folder / how)
        csv.run(how, output={"path": out}, rounds={"max": 1}, unlabeled={"snapshot": how})
        label = pd.read_parquet(csv.folder / how / "labels").iloc[0]
        export = ["review", "export", out, "--audit", "9", "--to", str(csv.folder / f"ask-{how}")]
        if how == "auto":
            with pytest.raises(InputError, match=r"unlabeled\.snapshot: keep") as refused:
                explain_row(out, label["id"], why=True)
            assert refused.value.exit_code == main(export) == 3
            assert "unlabeled.snapshot: keep" in " ".join(capsys.readouterr().err.split())
            continue
        why = explain_row(out, label["id"], why=True).why
        assert why is not None
        assert why.confidence == label["confidence"]
        assert main(export) == 0
        asked = pd.read_csv(csv.folder / f"ask-{how}" / "part-00000.csv").set_index("id")
        assert asked["x"].tolist() == pool.set_index("id")["x"][asked.index].tolist()


def test_each_generation_freezes_what_is_new(csv: Case) -> None:
    sections: dict[str, Any] = {
        "incremental": True,
        "rounds": {"max": 1},
        "selection": {"policy": "threshold", "threshold": 0.7},
    }
    csv.run("out", **sections)
    new = rows_of(80, 1000).drop(columns="kind")
    new.to_csv(csv.folder / "pool" / "2.csv", index=False)
    # Later days than any before: the first try is stopped, and its snapshot goes with it.
    with pytest.raises(DriftError):
        csv.run("out", **sections)
    assert csv.snapshots("out") == []
    sections["incremental"] = {"on_shift": "continue"}
    report = csv.run("out", **sections).report
    assert [each.rows for each in report.generations] == [N_POOL + 1, 80, 80]
    assert report.rows.accepted + report.rows.rejected == 80
    assert csv.run("out", **sections).already_done
    tables = csv.tables("out")
    known = [tables[name]["id"] for name in ("labels", "undecided", "invalid")]
    assert sorted(pd.concat(known)) == sorted(
        [*new["id"], *rows_of(N_POOL, N_LABELED)["id"], "r99999"]
    )
    assert not any((csv.folder / "out" / "_snapshots").rglob("*.parquet"))


def test_one_round_over_parquet_is_read_where_it_is(frames: Case, tmp_path: Path) -> None:
    assert frames.frames is not None
    frames.frames["unlabeled"].write.parquet(str(tmp_path / "pool"))
    given = frames.spark.read.parquet(str(tmp_path / "pool"))
    of_rounds = {}
    for most in (1, 2):
        config = frames.config("out", rounds={"max": most})
        found = plan(frames.spark, config, {**frames.frames, "unlabeled": given}).snapshot
        assert found is not None
        of_rounds[most] = found.frozen
    assert of_rounds == {1: False, 2: True}
    shuffled = given.groupBy("id").agg(*[F.max(n).alias(n) for n in ("x", "color", "day")])
    config = frames.config("out", rounds={"max": 1})
    found = plan(frames.spark, config, {**frames.frames, "unlabeled": shuffled}).snapshot
    assert found is not None
    assert found.frozen
