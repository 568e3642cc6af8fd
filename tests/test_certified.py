"""Labels with a certificate, committees and students, from the configuration to the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from sklearn.datasets import make_classification

from spark_pseudolabel.cli import main
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import label, plan, run
from spark_pseudolabel.progress import SilentEvents
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_text

N_LABELED = 300
LOGISTIC = {"estimator": "LogisticRegression"}
CERTIFIED = {"policy": "certified", "precision": 0.9, "certainty": 0.9}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate two classes, 7 to 3, with noisy labels: pool of 3,000 rows, truth beside it."""
    X, y = make_classification(
        3000 + N_LABELED, 8, n_informative=5, weights=[0.7], class_sep=1.2, random_state=0
    )
    rows = pd.DataFrame(X, columns=[f"x{i}" for i in range(8)])
    rows["y"], rows["id"] = np.where(y, "yes", "no"), np.arange(len(rows))
    directory = tmp_path_factory.mktemp("certified")
    write(directory, rows[:N_LABELED], rows[N_LABELED:])
    return directory


def write(directory: Path, labeled: pd.DataFrame, pool: pd.DataFrame) -> None:
    labeled.to_parquet(directory / "labeled.parquet", index=False)
    pool.drop(columns="y").to_parquet(directory / "pool.parquet", index=False)
    pool[["id", "y"]].to_parquet(directory / "truth.parquet", index=False)


def config(data: Path, out: Path, **sections: Any) -> dict[str, Any]:
    unlabeled = {"path": str(data / "pool.parquet"), **sections.pop("unlabeled", {})}
    given = {"path": str(data / "labeled.parquet"), "label": "y", **sections.pop("labeled", {})}
    usual = {"id": "id", "model": LOGISTIC, "selection": CERTIFIED, "output": {"path": str(out)}}
    return {**usual, "labeled": given, "unlabeled": unlabeled, **sections}


def report_of(spark: SparkSession, *args: Any, **sections: Any) -> dict[str, Any]:
    return run(spark, parse_config(config(*args, **sections))).report


def labels_of(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "labels").to_pandas().sort_values("id", ignore_index=True)


def precision(data: Path, labels: pd.DataFrame) -> float:
    joined = labels.merge(pd.read_parquet(data / "truth.parquet"), on="id")
    return float((joined["label"] == joined["y"]).mean())


def test_certified_labels_keep_the_promise(spark: SparkSession, data: Path, tmp_path: Path) -> None:
    report = report_of(spark, data, tmp_path / "out")
    labels = labels_of(tmp_path / "out")
    certificate = report["certificate"]
    assert certificate["claimed"]
    assert certificate["n_calibration"] == N_LABELED
    assert (
        len(labels) == report["rows"]["accepted"] == sum(c["rows"] for c in certificate["claims"])
    )
    assert certificate["coverage"] == len(labels) / 3000 > 0.3
    assert precision(data, labels) >= 0.9
    assert labels["weight"].eq(0).all()  # the final model has learned from none of them
    assert labels["confidence"].min() >= certificate["claims"][0]["cut"]
    assert report["seed"]["oof"]["n"] == N_LABELED
    assert report["final"]["oof"] == report["seed"]["oof"]
    assert (report["n_iter"], report["best_round"]) == (1, 1)
    assert "Certified: precision 0.9" in render_text(report)
    assert "Certified: precision 0.9" in render_html(report)
