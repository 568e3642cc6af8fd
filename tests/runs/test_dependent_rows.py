"""Labeled rows that are copies of one another, or of one group, from configuration to report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run
from spark_pseudolabel.report.text import render_text

SELECTION = {"policy": "certified", "precision": 0.9, "certainty": 0.9}


def sessions(n: int, size: int, seed: int) -> pd.DataFrame:
    """Return sessions whose rows are alike, with one label each: that of their features."""
    chance = np.random.default_rng(seed)
    centers = chance.normal(size=(n, 4))
    session = np.repeat(np.arange(n) + 10_000 * seed, size)
    X = np.repeat(centers, size, axis=0) + 0.1 * chance.normal(size=(n * size, 4))
    rows = pd.DataFrame(X, columns=[f"x{i}" for i in range(4)])
    rows["y"] = np.where(np.repeat(centers[:, 0], size) > 0, "yes", "no")
    return rows.assign(id=np.arange(n * size) + 100_000 * seed, session=session)


def config(directory: Path, out: str, **sections: Any) -> dict[str, Any]:
    labeled = {"path": str(directory / "labeled.parquet"), "label": "y"}
    return {
        "labeled": {**labeled, **sections.pop("labeled", {})},
        "unlabeled": {"path": str(directory / sections.pop("pool", "pool.parquet"))},
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "selection": SELECTION,
        "output": {"path": str(directory / out)},
        **sections,
    }


def report_of(spark: SparkSession, *args: Any, **sections: Any) -> dict[str, Any]:
    return run(spark, parse_config(config(*args, **sections))).report.as_json()


def folds_of(directory: Path, out: str) -> pd.Series:
    (file,) = (directory / out).rglob("oof.parquet")
    return pq.read_table(file).to_pandas().set_index("id")["spl_fold"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sessions")
    labeled, pool = sessions(120, 3, 1), sessions(500, 3, 2)
    labeled.to_parquet(directory / "labeled.parquet", index=False)
    pool.drop(columns="y").to_parquet(directory / "pool.parquet", index=False)
    without = pool.drop(columns=["y", "session"])
    without.to_parquet(directory / "without.parquet", index=False)
    return directory


def test_certificate_counts_groups(spark: SparkSession, data: Path) -> None:
    report = report_of(spark, data, "out", labeled={"group": "session"})
    certificate = report["certificate"]
    assert certificate["claimed"]
    assert certificate["n_calibration"] == 120
    assert certificate["claims"][0]["n"] <= 120
    assert [one["class"] for one in certificate["by_class"]] == ["no", "yes"]
    published = sum(one["published"] for one in certificate["by_class"])
    assert published == report["rows"]["accepted"] > 0
    rows = pd.read_parquet(data / "labeled.parquet").set_index("id")
    assert folds_of(data, "out").groupby(rows["session"]).nunique().eq(1).all()
    assert not report["shift"]["shifted"]
    assert report["shift"]["n_labeled"] == 120


def test_group_that_the_pool_does_not_know_lets_nothing_be_claimed(
    spark: SparkSession, data: Path
) -> None:
    report = report_of(spark, data, "blind", labeled={"group": "session"}, pool="without.parquet")
    assert report["certificate"]["refused"] == "no_pool_groups"
    assert report["rows"]["accepted"] == 0
    assert "no_pool_groups" in [one["code"] for one in report["warnings"]]


@pytest.mark.parametrize("scores", ["out_of_fold", "held_out"])
def test_copies_share_a_fold_and_count_once(
    spark: SparkSession, tmp_path: Path, scores: str
) -> None:
    rows = sessions(300, 1, 1).drop(columns="session")
    copies = rows[:60].assign(id=lambda one: one["id"] + 50_000)
    copies.loc[copies.index[0], "y"] = "yes" if rows["y"][0] == "no" else "no"
    pd.concat([rows, copies]).to_parquet(tmp_path / "labeled.parquet", index=False)
    pool = sessions(1000, 1, 2).drop(columns=["y", "session"])
    pool.to_parquet(tmp_path / "pool.parquet", index=False)
    fraction = 0.0 if scores == "out_of_fold" else 0.5
    report = report_of(
        spark,
        tmp_path,
        "out",
        selection={**SELECTION, "scores": scores},
        validation={"fraction": fraction},
    )
    (warning,) = [one for one in report["warnings"] if one["code"] == "duplicates"]
    assert str(report["duplicates"]["example"][0]) in warning["message"]
    if scores == "held_out":
        known = report["rows"]["validation"]
        assert report["certificate"]["n_calibration"] < known - 20
        return
    assert {key: report["duplicates"][key] for key in ("rows", "groups", "conflicting")} == {
        "rows": 120,
        "groups": 60,
        "conflicting": 1,
    }
    assert report["certificate"]["n_calibration"] == 300
    folds = folds_of(tmp_path, "out")
    assert (folds[rows["id"][:60]].to_numpy() == folds[copies["id"]].to_numpy()).all()
    assert not report["shift"]["shifted"]
    assert "duplicates" in render_text(report)
