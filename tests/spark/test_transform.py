"""A model on somebody's DataFrame: the same answers as a scan gives, whatever the session."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import Scorer, make_scorer
from spark_pseudolabel.spark.frame.scoring import broadcast, score_rows
from spark_pseudolabel.spark.transform import with_predictions

NEW_YORK = dt.timezone(dt.timedelta(hours=-4))
FEATURES = (
    Feature("n", "numeric", "bigint"),
    Feature("price", "numeric", "decimal(12,3)"),
    Feature("is new", "boolean", "boolean"),
    Feature("day", "date", "date"),
    Feature("at", "timestamp", "timestamp"),
    Feature("on clock", "timestamp", "timestamp_ntz"),
    Feature("emb", "vector", "array<float>", 2),
    Feature("ml", "vector", "vector", 2),
)
SCHEMA = (
    "id int, n bigint, price decimal(12,3), `is new` boolean, day date, at timestamp, "
    "`on clock` timestamp_ntz, emb array<float>, spl_prediction int"
)
N_PLAIN = 20


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    made: list[tuple[Any, ...]] = [
        (
            i,
            2**53 + i,
            Decimal(i * 1001) / 1000,
            i % 3 == 0,
            dt.date(2024, 1, 1) + dt.timedelta(days=i),
            dt.datetime(2024, 6, 1, i, 30, 1, 250_000, tzinfo=NEW_YORK),
            dt.datetime(2024, 3, 10, i, 30, 0, 5),
            [float(i % 5), 0.1 * i],
            7,
        )
        for i in range(N_PLAIN)
    ]
    late, early = dt.date(9999, 12, 31), dt.datetime(1583, 1, 1, 2, 3, 4, 5)
    at = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
    made += [
        (100, None, None, None, None, None, None, [1.0, 2.0], 7),
        (101, 5, Decimal(1), True, late, at, early, [1.0, 2.0], 7),
        (102, 5, Decimal(1), True, late, at, early, [1.0], 7),
        (103, 5, Decimal(1), True, late, at, early, None, 7),
    ]
    plain = spark.createDataFrame(made, SCHEMA)
    return plain.withColumn("ml", array_to_vector(F.array(F.lit(0.5), F.col("id") * 1.0)))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    # A model of which every column changes the confidence.
    frame = pd.DataFrame(
        {
            "n": 2.0**53 + np.arange(N_PLAIN),
            "price": np.arange(N_PLAIN) * 1.001,
            "is new": np.arange(N_PLAIN) % 3 == 0,
            "day": 19723.0 + np.arange(N_PLAIN),
            "at": 1.7172e9 + 3600.0 * np.arange(N_PLAIN),
            "on clock": 1.71e9 + 3600.0 * np.arange(N_PLAIN),
            "emb_0": np.arange(N_PLAIN) % 5,
            "emb_1": 0.1 * np.arange(N_PLAIN),
            "ml_0": 0.5,
            "ml_1": np.arange(N_PLAIN),
        }
    ).astype("float64")
    labels = np.where(np.random.default_rng(1).random(N_PLAIN) < 0.5, "no", "yes")
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.05))
    return make_scorer(model.fit(frame, labels), FEATURES)


def _found(rows: DataFrame, scorer: Scorer) -> pa.Table:
    added = with_predictions(
        rows, scorer, ["no", "yes"], "string", label_col="label", confidence_col="confidence"
    )
    assert added.columns == [*rows.columns, "label", "confidence"]
    return added.select("id", "label", "confidence").orderBy("id").toArrow()


def test_it_says_what_a_scan_says_in_any_time_zone(
    spark: SparkSession, rows: DataFrame, scorer: Scorer
) -> None:
    keyed = Scorer(**{**vars(scorer), "keys": ("id",)})
    plain = rows.withColumn("ml", F.array(F.lit(0.5), F.col("id") * 1.0))
    with broadcast(spark.sparkContext, keyed) as shared:
        scanned = score_rows(plain, shared).orderBy("id").toArrow().to_pydict()
    labels = [None if code is None else ("no", "yes")[code] for code in scanned["spl_code"]]
    assert len({*scanned["spl_confidence"]}) > N_PLAIN / 2
    assert scanned["id"][labels.index(None)] == 102
    zone = spark.conf.get("spark.sql.session.timeZone")
    try:
        for other in ("UTC", "America/New_York", "Asia/Tokyo"):
            spark.conf.set("spark.sql.session.timeZone", other)
            found = _found(rows, scorer).to_pydict()
            assert found["label"] == labels
            assert found["confidence"] == scanned["spl_confidence"]
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)


def test_a_column_that_is_null_throughout_fails_no_job(rows: DataFrame, scorer: Scorer) -> None:
    empty = rows.limit(3).withColumn("emb", F.lit(None).cast("array<float>"))
    assert _found(empty.withColumn("day", F.lit(None).cast("date")), scorer).num_rows == 3
