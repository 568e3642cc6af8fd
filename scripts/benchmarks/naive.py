"""Self-training on Spark as tutorials write it: ROOT LAYOUT ROWS MODEL.

Score with a pandas UDF, collect the accepted rows, refit on all of them, take them out of the pool
by an anti-join, score again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks import models
from benchmarks.runs import ROUNDS, THRESHOLD
from benchmarks.tables import Tables


def main() -> None:
    """Run the rounds, and print the accuracy on the test rows."""
    root, layout, rows, model_name = sys.argv[1:]
    tables = Tables(Path(root), layout, int(rows))
    spark = (
        SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").getOrCreate()
    )
    spark.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")
    columns = tables.columns
    X, y = tables.matrix("labeled")
    pool = spark.read.parquet(str(tables.pool))
    model = models.make(model_name).fit(X, y)
    for _ in range(ROUNDS):
        scored = pool.withColumn("p", _udf(spark, model)(F.struct(*columns)))
        accepted = scored.filter(F.col("p.confidence") > THRESHOLD).select(
            "id", *columns, F.col("p.label").alias("label")
        )
        accepted_rows = accepted.toPandas()
        if accepted_rows.empty:
            break
        X = np.concatenate([X, accepted_rows[columns].to_numpy()])
        y = np.concatenate([y, accepted_rows["label"].to_numpy()])
        model = models.make(model_name).fit(X, y)
        accepted_ids = spark.createDataFrame(accepted_rows[["id"]])
        pool = pool.join(accepted_ids, on="id", how="left_anti")
    X_test, y_test = tables.matrix("test")
    sys.stdout.write(f"{(model.predict(X_test) == y_test).mean()}\n")
    spark.stop()


def _udf(spark: SparkSession, model: Any) -> Any:
    shared = spark.sparkContext.broadcast(model)

    @F.pandas_udf("struct<label:bigint,confidence:double>")  # type: ignore[call-overload]
    def predict(features: pd.DataFrame) -> pd.DataFrame:
        P = shared.value.predict_proba(features.to_numpy())
        return pd.DataFrame(
            {"label": P.argmax(axis=1).astype(np.int64), "confidence": P.max(axis=1)}
        )

    return predict


if __name__ == "__main__":
    main()
