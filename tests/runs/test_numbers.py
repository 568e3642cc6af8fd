"""Labels that are numbers, from the configuration to labels, report and new rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel import SelfTraining
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import ConfigError, DriftError, InputError
from spark_pseudolabel.job import label, plan, run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.review.revoking import Named, revoke_labels
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_plan, render_text
from spark_pseudolabel.store import failpoint as failpoint_module
from spark_pseudolabel.store.failpoint import FailpointError
from spark_pseudolabel.store.file_systems import open_files

N_LABELED, N_POOL, N_TEST = 150, 900, 200
TOLERANCE = 2.0
RIDGE = {"estimator": "Ridge"}


def rows_of(n: int, seed: int) -> pd.DataFrame:
    """Generate numbers that are noisier where ``noise`` is larger, and a category."""
    draw = np.random.default_rng(seed)
    rows = pd.DataFrame(draw.uniform(-2, 2, (n, 3)), columns=["a", "b", "noise"])
    rows["kind"] = draw.choice(["x", "y"], n)
    rows["y"] = 10 + 3 * rows["a"] - 2 * rows["b"] + 4 * (rows["kind"] == "x")
    rows["y"] += draw.normal(0, np.where(rows["noise"] > 0, 3.0, 0.3))
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("numbers")
    rows = rows_of(N_LABELED + N_POOL + N_TEST, 0)
    rows["id"] = np.random.default_rng(1).permutation(len(rows))
    rows[:N_LABELED].to_parquet(directory / "labeled.parquet", index=False)
    pool = rows[N_LABELED : N_LABELED + N_POOL]
    (directory / "pool").mkdir()
    for number, part in enumerate((pool[:500], pool[500:])):
        part.drop(columns="y").to_parquet(directory / "pool" / f"{number}.parquet", index=False)
    pool.to_parquet(directory / "truth.parquet", index=False)
    rows[-N_TEST:].to_parquet(directory / "test.parquet", index=False)
    return directory


def config(data: Path, out: Path, **sections: Any) -> dict[str, Any]:
    return {
        "task": "regression",
        "tolerance": TOLERANCE,
        "labeled": {"path": str(data / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(data / "pool")},
        "id": "id",
        "model": RIDGE,
        "selection": {"policy": "threshold", "threshold": 0.8},
        "output": {"path": str(out)},
        **sections,
    }


def report_of(spark: SparkSession, *args: Any, **sections: Any) -> dict[str, Any]:
    return run(spark, parse_config(config(*args, **sections))).report.as_json()


def labels_of(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "labels").to_pandas().sort_values("id", ignore_index=True)


def with_truth(data: Path, labels: pd.DataFrame) -> pd.DataFrame:
    return labels.merge(pd.read_parquet(data / "truth.parquet")[["id", "y"]], on="id")


def test_rounds_label_with_numbers(spark: SparkSession, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = report_of(
        spark,
        data,
        out,
        rounds={"max": 2},
        test={"path": str(data / "test.parquet")},
        output={"path": str(out), "features": True},
    )
    table = pq.read_table(out / "labels")
    types = {field.name: field.type for field in table.schema}
    assert [types[name] for name in ("label", "confidence", "lower", "upper")] == [pa.float64()] * 4
    labels = with_truth(data, labels_of(out))
    assert len(labels) == report["rows"]["accepted"] > 200
    assert labels["confidence"].gt(0.8).all()
    assert (np.abs(labels["label"] - labels["y"]) <= TOLERANCE).mean() > 0.8
    assert labels["y"].between(labels["lower"], labels["upper"]).mean() > 0.85
    assert report["classes"] == ["number"]
    assert report["numbers"]["tolerance"] == TOLERANCE
    test = report["final"]["test"]
    assert test["n"] == N_TEST
    assert 0 < test["numbers"]["mae"] <= test["numbers"]["rmse"] < 4
    assert test["numbers"]["r2"] > 0.6
    assert report["final"]["validation"]["n"] == 30
    training = pq.read_table(out / "training").to_pandas()
    given = pd.read_parquet(data / "labeled.parquet")
    known = training[training["source"] == "labeled"].merge(given, on="id")
    assert len(known) == N_LABELED - 30
    assert (known["label"] == known["y"]).all()
    assert "within" in render_text(report)
    assert "within" in render_html(report)
    assert check_output(str(out), deep=True).ok


def test_a_certificate_is_one_of_numbers_within_the_tolerance(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    sections = {
        "selection": {"policy": "certified", "precision": 0.85, "certainty": 0.9},
        "test": {"path": str(data / "truth.parquet")},
    }
    document = plan(spark, parse_config(config(data, out, **sections))).as_json()
    assert document["promise"]["estimator"] == "Ridge"
    assert "within 2" in render_plan(document)
    report = report_of(spark, data, out, **sections)
    assert report["certificate"]["claimed"]
    labels = with_truth(data, labels_of(out))
    right = np.abs(labels["label"] - labels["y"]) <= TOLERANCE
    assert right.mean() >= 0.85
    checked = report["final"]["test"]["labels"]
    assert (checked["n"], checked["correct"]) == (len(labels), int(right.sum()))
    new = tmp_path / "new"
    label(spark, str(out), input=str(data / "pool"), output=str(new))
    again = pq.read_table(new).to_pandas().sort_values("id", ignore_index=True)
    accepted = again[again["accepted"]].reset_index(drop=True)
    columns = ["id", "label", "confidence", "lower", "upper"]
    pd.testing.assert_frame_equal(accepted[columns], labels_of(out)[columns])
    taken = tmp_path / "ids"
    taken.write_text(f"{labels['id'][0]}\n")
    opened = open_files(str(out))
    with pytest.raises(InputError, match="are numbers"):
        revoke_labels(str(out), Named(label="number"), opened)
    assert revoke_labels(str(out), Named(ids=str(taken)), opened).revoked == 1
    assert labels_of(out)["id"].tolist() == labels["id"].tolist()[1:]


def test_whole_numbers_are_published_whole(spark: SparkSession, data: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(data / "labeled.parquet")
    rows["y"] = rows["y"].round().astype("int32")
    rows.to_parquet(tmp_path / "labeled.parquet", index=False)
    out = tmp_path / "out"
    given = {"path": str(tmp_path / "labeled.parquet"), "label": "y"}
    through_spark = {"path": str(data / "pool"), "scan": "spark"}
    one_shot = {"policy": "one_shot"}
    report_of(spark, data, out, labeled=given, selection=one_shot, unlabeled=through_spark)
    schema = pq.read_table(out / "labels").schema
    assert schema.field("label").type == pa.int64()
    labels = labels_of(out)
    assert len(labels) == N_POOL
    assert (labels["lower"] <= labels["label"]).all()
    report_of(spark, data, tmp_path / "direct", labeled=given, selection=one_shot)
    pd.testing.assert_frame_equal(labels, labels_of(tmp_path / "direct"))
    # Numbers are part of what is hashed over, by Spark as by the workers.
    contents = [
        json.loads(manifest.read_text())["content"]
        for manifest in sorted(tmp_path.rglob("round-0001.json"))
    ]
    assert len(contents) == 2
    assert contents[0] == contents[1]


def test_a_killed_run_ends_with_the_same_numbers(
    spark: SparkSession, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its numbers change with what it learns; those of a linear model are what they were.
    sections = {
        "selection": {"policy": "percentile", "step": 0.5},
        "model": {"estimator": "KNeighborsRegressor"},
    }
    whole = report_of(spark, data, tmp_path / "whole", **sections)
    for name in ("model.publish.done", "score.written", "round.publish.done"):
        monkeypatch.setattr(failpoint_module, "_reached", Counter())
        monkeypatch.setenv("SPL_FAILPOINT", f"{name}:raise")
        with pytest.raises(FailpointError):
            report_of(spark, data, tmp_path / "killed", **sections)
    monkeypatch.delenv("SPL_FAILPOINT")
    resumed = report_of(spark, data, tmp_path / "killed", **sections)
    pd.testing.assert_frame_equal(labels_of(tmp_path / "killed"), labels_of(tmp_path / "whole"))
    assert resumed["rounds"][1]["flips"] == whole["rounds"][1]["flips"]
    flips = whole["rounds"][1]["flips"]
    assert flips["changed"] > flips["kept"]
    assert check_output(str(tmp_path / "killed"), deep=True).ok


def test_a_student_learns_from_a_committee_and_is_measured_unseen(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    members = [RIDGE, {"estimator": "KNeighborsRegressor"}]
    report = report_of(
        spark, data, tmp_path / "out", teacher={"committee": members}, training={"rows": "all"}
    )
    weights = [member["weight"] for member in report["teacher"]["members"]]
    assert sum(weights) == pytest.approx(1.0)
    assert weights[0] > weights[1]  # numbers are linear here
    assert report["seed"]["oof"]["n"] == N_LABELED
    assert report["seed"]["residuals"]["source"] == "oof"
    final = report["final"]
    student = "student_not_used" not in [warning["code"] for warning in report["warnings"]]
    assert final["model"] == "model-0002"
    assert (final["oof"] != report["seed"]["oof"]) == student
    explained = explain_row(str(tmp_path / "out"), str(labels_of(tmp_path / "out")["id"][0]))
    assert isinstance(explained.label, float)
    assert "between" in explained.text


def test_numbers_spread_over_an_anchor_graph_as_far_as_labels_reach(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    far = pd.read_parquet(data / "pool" / "0.parquet")[:60]
    far[["a", "b", "noise"]] += 1000.0
    far["id"] += 10_000
    pool = tmp_path / "pool"
    pool.mkdir()
    near = pd.concat(pd.read_parquet(path) for path in sorted((data / "pool").iterdir()))
    near.to_parquet(pool / "near.parquet", index=False)
    far.to_parquet(pool / "far.parquet", index=False)
    asked = config(
        data,
        tmp_path / "direct",
        teacher={"graph": "anchors", "anchors": 200, "student": False},
        selection={"policy": "one_shot"},
        tolerance="0.5 sd",
    )
    del asked["model"]
    asked["unlabeled"] = {"path": str(pool)}
    report = run(spark, parse_config(asked)).report.as_json()
    rows = report["rows"]
    assert (rows["accepted"], rows["abstained"], rows["invalid"]) == (N_POOL, 60, 0)
    assert report["teacher"]["members"][0]["name"] == "anchors"
    labels = labels_of(tmp_path / "direct")
    truth = with_truth(data, labels)
    assert len(truth) == N_POOL
    error = np.sqrt(((truth["label"] - truth["y"]) ** 2).mean())
    assert error < 0.7 * truth["y"].std()  # noise alone is nearly half of it
    assert truth["y"].between(truth["lower"], truth["upper"]).mean() > 0.9
    right = (np.abs(truth["label"] - truth["y"]) <= report["numbers"]["tolerance"]).mean()
    assert truth["confidence"].mean() == pytest.approx(right, abs=0.07)
    new = tmp_path / "new"
    label(spark, str(tmp_path / "direct"), input=str(pool), output=str(new))
    again = pq.read_table(new).to_pandas().set_index("id")
    assert again["label"][far["id"]].isna().all()
    assert again["label"][labels["id"]].tolist() == labels["label"].tolist()
    asked |= {"output": {"path": str(tmp_path / "spark")}}
    asked["unlabeled"] = {"path": str(pool), "scan": "spark"}
    run(spark, parse_config(asked))
    pd.testing.assert_frame_equal(labels, labels_of(tmp_path / "spark"))
    assert check_output(str(tmp_path / "direct"), deep=True).ok


def test_numbers_spread_over_neighbors_and_a_student_takes_them_on(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    sections = {
        "teacher": {"graph": "neighbors", "k": 8},
        "selection": {"policy": "one_shot"},
        "tolerance": "0.5 sd",
        "features": {"include": ["a", "b", "kind"]},
    }
    test = {"path": str(data / "test.parquet")}
    report = report_of(spark, data, tmp_path / "direct", **sections, test=test)
    labels = labels_of(tmp_path / "direct")
    truth = with_truth(data, labels)
    assert len(truth) + report["rows"]["abstained"] == N_POOL
    error = np.sqrt(((truth["label"] - truth["y"]) ** 2).mean())
    assert error < 0.7 * truth["y"].std()  # noise alone is nearly half of it
    assert truth["y"].between(truth["lower"], truth["upper"]).mean() > 0.9
    assert report["teacher"]["parameters"]["method"] == "propagation"
    assert report["final"]["test"]["numbers"]["r2"] > 0.5
    pool = {"path": str(data / "pool"), "scan": "spark"}
    report_of(spark, data, tmp_path / "spark", **sections, test=test, unlabeled=pool)
    pd.testing.assert_frame_equal(labels, labels_of(tmp_path / "spark"))
    assert check_output(str(tmp_path / "direct"), deep=True).ok


@pytest.mark.parametrize("scan", ["auto", pytest.param("spark", marks=pytest.mark.long)])
def test_numbers_of_rows_that_come_later_are_published_once(
    scan: str, spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    pool, out = tmp_path / "pool", tmp_path / "out"
    pool.mkdir()
    every = [pd.read_parquet(path) for path in sorted((data / "pool").iterdir())]
    drops = [every[0], every[1][:250], every[1][250:]]

    def next_drop(number: int, rows: pd.DataFrame, **sections: Any) -> dict[str, Any]:
        rows.to_parquet(pool / f"{number}.parquet", index=False)
        return report_of(
            spark,
            data,
            out,
            unlabeled={"path": str(pool), "scan": scan},
            validation={"fraction": 0},
            rounds={"max": 1},
            **{"incremental": True, **sections},
        )

    reports = [next_drop(number, rows) for number, rows in enumerate(drops)]
    assert [report["rows"]["pool"] for report in reports] == [500, 250, 150]
    labels = labels_of(out)
    assert labels["id"].is_unique
    assert len(labels) == sum(report["rows"]["accepted"] for report in reports)
    assert reports[-1]["all_generations"]["accepted"] == len(labels)
    assert reports[-1]["numbers"]["tolerance"] == TOLERANCE
    # Later rows have the numbers of the kept model, bounds included.
    at_once = tmp_path / "at_once"
    label(spark, str(out), input=str(pool), output=str(at_once))
    kept = pq.read_table(at_once).to_pandas().set_index("id")
    later = labels[labels["model"] == "model-0002"].set_index("id")
    assert len(later) == reports[1]["rows"]["accepted"] + reports[2]["rows"]["accepted"] > 50
    columns = ["label", "confidence", "lower", "upper"]
    pd.testing.assert_frame_equal(kept.loc[later.index, columns], later[columns])
    assert kept.loc[later.index, "accepted"].all()
    assert "within" in render_text(reports[-1])
    assert explain_row(str(out), str(later.index[0])).label == later["label"].iloc[0]
    assert check_output(str(out), deep=True).ok
    moved = rows_of(200, 7).drop(columns="y").assign(id=range(20_000, 20_200))
    moved["noise"] += 10.0
    with pytest.raises(DriftError, match="different: noise"):
        next_drop(3, moved)
    assert len(labels_of(out)) == len(labels)
    # Fitted again, with the numbers of earlier generations beside the given ones.
    again = next_drop(4, moved[:0], incremental={"on_shift": "continue", "refit": {"every": 1}})
    assert again["rows"]["pool"] == 200
    assert again["generations"][-1]["refit"]
    final = labels_of(out)
    assert final["id"].is_unique
    assert len(final) == len(labels) + again["rows"]["accepted"]


def test_numbers_that_can_not_be_labeled_are_refused_by_name(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    rows = pd.read_parquet(data / "labeled.parquet")
    rows["y"] = rows["y"].map(str)
    rows.to_csv(tmp_path / "floats.csv", index=False)
    given = {"path": str(tmp_path / "floats.csv"), "label": "y"}
    document = plan(spark, parse_config(config(data, tmp_path / "out", labeled=given)))
    assert document.label_type == "double"  # of text, where all of it is numbers
    rows.loc[3, "y"] = "much"
    rows.to_csv(tmp_path / "words.csv", index=False)
    given["path"] = str(tmp_path / "words.csv")
    with pytest.raises(InputError, match=r"'y' must hold numbers .* It is string"):
        plan(spark, parse_config(config(data, tmp_path / "out", labeled=given)))


def test_from_python_numbers_are_fitted_and_added_to_frames(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    labeled, pool = (spark.read.parquet(str(data / n)) for n in ("labeled.parquet", "pool"))
    training = SelfTraining(
        make_pipeline(StandardScaler(), LinearRegression()),
        label="y",
        id="id",
        selection="one_shot",
        features={"include": ["a", "b"]},
        task="regression",
        tolerance="0.5 sd",
    )
    result = training.fit(labeled, pool, output=str(tmp_path / "out"))
    added = result.transform(pool).select("id", "label", "confidence").toPandas()
    model = {row.id: row for row in added.itertuples()}
    assert len(model) == N_POOL
    assert added["label"].dtype == float
    said = result.model.predict(pool.select("a", "b").toPandas())
    assert sorted(added["label"]) == pytest.approx(sorted(said))
    numbers = result.report["numbers"]
    assert numbers["spelled"] == "0.5 sd"
    assert numbers["tolerance"] == pytest.approx(numbers["sd"] / 2)
    with pytest.raises(ConfigError, match="regressor"):
        SelfTraining(
            LogisticRegression(), label="y", id="id", task="regression", tolerance=1.0
        ).config("out")
