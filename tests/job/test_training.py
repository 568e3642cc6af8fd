"""Whoever implements `Trainer` trains: nothing else of a run knows how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.job import loop, run
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.training import Trained
from spark_pseudolabel.spark.pool import Pool
from spark_pseudolabel.store.store import RoundStore


class EveryOther:
    """Trains on every second labeled row, and never fetches a row of the pool."""

    def __init__(self, setting: Setting, store: RoundStore, pool: Pool) -> None:
        self.setting = setting
        self.fitted = 0

    def train(self, maker: Teacher, previous: BaseEstimator | None) -> Trained:
        rows = self.setting.labeled
        half = replace(rows, X=rows.X[::2], codes=rows.codes[::2])
        model = maker.fit(half, self.setting.inputs.classes, previous)
        self.fitted += 1
        return Trained.of_labeled(model, half)


def test_a_trainer_of_ones_own_trains_every_model(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)
    x = chance.normal(size=400)
    rows = pd.DataFrame({"id": range(400), "x": x, "y": np.where(x > 0, "up", "down")})
    rows[:100].to_parquet(tmp_path / "labeled.parquet", index=False)
    (tmp_path / "pool").mkdir()
    rows[100:].drop(columns="y").to_parquet(tmp_path / "pool" / "0.parquet", index=False)
    trainers: list[EveryOther] = []

    def choose(setting: Setting, store: RoundStore, pool: Pool) -> EveryOther:
        trainers.append(EveryOther(setting, store, pool))
        return trainers[-1]

    monkeypatch.setattr(loop, "trainer_of", choose)
    config = parse_config(
        {
            "labeled": {"path": str(tmp_path / "labeled.parquet"), "label": "y"},
            "unlabeled": {"path": str(tmp_path / "pool")},
            "id": "id",
            "model": {"estimator": "LogisticRegression"},
            "selection": {"policy": "threshold", "threshold": 0.9},
            "validation": {"fraction": 0.2},
            "rounds": {"max": 2},
            "output": {"path": str(tmp_path / "out")},
        }
    )
    report = run(spark, config).report
    assert trainers[0].fitted == 2  # the second round changes nothing, so that model 3 is model 2
    assert report.rows.accepted > 0
    assert [one.trained_on for one in report.rounds] == [0, 0]
