"""A finished run to ask people about, copied for each test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run

N_LABELED, N = 60, 500


@pytest.fixture(scope="session")
def reviewed_run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two rounds on plain Parquet; a tenth of the pool are copies of one row."""
    directory = tmp_path_factory.mktemp("reviewed")
    chance = np.random.default_rng(0)
    rows = pd.DataFrame(chance.normal(size=(N, 2)), columns=["strong", "order"])
    rows["job"] = chance.choice(["cook", "clerk"], N)
    copies = range(N_LABELED, N_LABELED + N // 10)
    rows.loc[copies, ["strong", "order", "job"]] = [0.01, 0.0, "cook"]
    noise = 0.4 * chance.normal(size=N)
    rows["y"] = np.where(rows["strong"] + noise > 0, "<yes>", "no")
    rows["id"] = [f"{i:03d}" for i in range(N)]
    rows[["id", "y"]].to_csv(directory / "truth.csv", index=False)
    rows[:N_LABELED].to_parquet(directory / "labeled.parquet", index=False)
    (directory / "pool").mkdir()
    pool = rows[N_LABELED:].drop(columns="y")
    for number in range(2):
        path = directory / "pool" / f"{number}.parquet"
        pool[number::2].to_parquet(path, index=False, row_group_size=60)
    config = {
        "labeled": {"path": str(directory / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(directory / "pool")},
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "selection": {"policy": "threshold", "threshold": 0.9},
        "rounds": {"max": 2},
        "output": {"path": str(directory / "out")},
    }
    (directory / "config.json").write_text(json.dumps(config))
    run(spark, parse_config(config))
    return directory


@pytest.fixture
def out(reviewed_run: Path, tmp_path: Path) -> str:
    """Give a test an output of its own."""
    shutil.copytree(reviewed_run / "out", tmp_path / "out")
    return str(tmp_path / "out")


@pytest.fixture(scope="session")
def truth(reviewed_run: Path) -> dict[str, str]:
    """Give the label of every row."""
    table = pd.read_csv(reviewed_run / "truth.csv", dtype=str)
    return dict(zip(table["id"], table["y"], strict=True))
