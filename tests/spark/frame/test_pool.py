"""Pools that only Spark reads: they stay what they were, and hold what was decided."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_pseudolabel.config import Config, parse_config
from spark_pseudolabel.core.sampling import low_limits
from spark_pseudolabel.errors import InputError, RunFailedError
from spark_pseudolabel.job import run
from spark_pseudolabel.spark.frame import selection
from spark_pseudolabel.spark.frame.pool import shares_within
from spark_pseudolabel.spark.reading import tables
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore

N_LABELED, N_POOL = 40, 120


def frames(spark: SparkSession) -> dict[str, DataFrame]:
    """Return labeled rows and a pool, two classes told apart by ``x`` with some noise."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=N_LABELED + N_POOL)
    rows = pd.DataFrame({"id": np.arange(len(x)), "x": x, "z": chance.normal(size=len(x))})
    labeled = rows[:N_LABELED].assign(y=(x + chance.normal(size=len(x)) > 0)[:N_LABELED])
    return {
        "labeled": spark.createDataFrame(labeled),
        "unlabeled": spark.createDataFrame(rows[N_LABELED:]).coalesce(1),
    }


def config(output: Path, most: int, *, relabel: bool = False, features: bool = False) -> Config:
    dataframe = {"from": "dataframe"}
    return parse_config(
        {
            "labeled": {**dataframe, "label": "y"},
            "unlabeled": {**dataframe, "snapshot": "never"},
            "id": "id",
            "model": {"estimator": "LogisticRegression"},
            "selection": {"policy": "top_k_per_class", "k": 9},
            "rounds": {"max": most, "relabel": relabel},
            "output": {"path": str(output), "features": features},
        }
    )


def committed(output: Path) -> int:
    return len(RoundStore.open(LocalFiles(), str(output)).rounds)


def test_an_expression_that_fails_when_the_pool_is_scored_is_an_error_of_the_pool(
    spark: SparkSession, tmp_path: Path
) -> None:
    given = frames(spark)
    # Ids alone are read before: only the job that scores makes the features.
    fails = F.expr("if(id = 100, 1 / (id - 100), x)")
    given["unlabeled"] = given["unlabeled"].withColumn("x", fails)
    with pytest.raises(InputError) as refused:
        run(spark, config(tmp_path / "out", 1), frames=given)
    assert (refused.value.exit_code, refused.value.where) == (3, "unlabeled")
    assert refused.value.code == "divide_by_zero"


def other_values_each_time(rows: DataFrame) -> DataFrame:
    # Spark's own rand() has one seed for as long as a DataFrame lives.
    chance = F.udf(lambda: float(secrets.randbits(40)), "double").asNondeterministic()
    return rows.withColumn("z", chance())


def one_row_changed(rows: DataFrame) -> DataFrame:
    return rows.withColumn("z", F.when(F.col("id") == N_LABELED + 3, 9.0).otherwise(F.col("z")))


def test_a_changed_pool_is_not_continued(spark: SparkSession, tmp_path: Path) -> None:
    given = frames(spark)
    run(spark, config(tmp_path / "out", 1), frames=given)
    changed = given | {"unlabeled": one_row_changed(given["unlabeled"])}
    with pytest.raises(InputError, match="unlabeled are not those") as told:
        run(spark, config(tmp_path / "out", 2), frames=changed)
    assert (told.value.code, told.value.where) == ("inputs_changed", "unlabeled")
    assert committed(tmp_path / "out") == 1


def test_a_pool_that_differs_at_every_look_ends_with_the_second(
    spark: SparkSession, tmp_path: Path
) -> None:
    given = frames(spark)
    other = given | {"unlabeled": other_values_each_time(given["unlabeled"])}
    with pytest.raises(InputError, match=r"rand\(\)"):
        run(spark, config(tmp_path / "out", 3, relabel=True), frames=other)
    assert committed(tmp_path / "out") == 1


def test_features_are_published_as_they_were_scored(spark: SparkSession, tmp_path: Path) -> None:
    given = frames(spark)
    # Ids and features of one scan are consistent; a published feature needs another one.
    other = given | {"unlabeled": other_values_each_time(given["unlabeled"])}
    with pytest.raises(InputError, match="unlabeled are not those"):
        run(spark, config(tmp_path / "out", 1, features=True), frames=other)
    assert not (tmp_path / "out" / "labels").exists()


def test_what_a_lost_try_has_left_is_not_committed(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = selection.count_accepted

    def after_a_lost_try(*arguments: object) -> object:
        (written,) = tmp_path.glob("out/_attempts/*/round-0001/*/accepted")
        whole = next(written.glob("part-*.parquet"))
        shutil.copy(whole, whole.with_name("part-00099-lost-c000.snappy.parquet"))
        rows = spark.read.parquet(str(written))
        return count(rows, *arguments[1:])  # type: ignore[arg-type]

    monkeypatch.setattr(selection, "count_accepted", after_a_lost_try)
    with pytest.raises(RunFailedError, match="must hold 18 accepted rows") as told:
        run(spark, config(tmp_path / "out", 1), frames=frames(spark))
    assert told.value.code == "rows_lost"
    assert committed(tmp_path / "out") == 0
    monkeypatch.undo()
    run(spark, config(tmp_path / "out", 1), frames=frames(spark))
    assert pd.read_parquet(tmp_path / "out" / "labels").id.is_unique


def test_the_committer_that_keeps_lost_tries_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    key = "mapreduce.fileoutputcommitter.algorithm.version"
    before = hadoop.get(key)
    hadoop.set(key, "2")
    try:
        with pytest.raises(InputError, match=r"must be 1\. It is 2") as told:
            tables.refuse_unsafe_commits(spark)
        with pytest.raises(InputError, match=r"must be 1\. It is 2"):
            run(spark, config(tmp_path / "out", 1), frames=frames(spark))
    finally:
        hadoop.set(key, before or "1")
    assert told.value.code == "unsafe_committer"
    assert committed(tmp_path / "out") == 0
    tables.refuse_unsafe_commits(spark)


def test_the_rows_within_hash_limits_are_estimated_by_class() -> None:
    by_code = np.array([1_000_000, 3_000_000, 5])
    limits = low_limits(by_code.tolist(), 40_000)
    expected = by_code * shares_within(limits)
    assert 40_000 < expected.sum() < 60_000
    assert shares_within(None) == 1.0
    assert (shares_within([None, -(2**63), 2**63 - 1]) * np.ones(3)).tolist() == [0.0, 2**-64, 1.0]
