"""Comparing versions; on a cluster that differs: tests/cluster/test_spark_submit.py."""

from __future__ import annotations

from pyspark.sql import SparkSession

from spark_pseudolabel.spark import libraries
from spark_pseudolabel.spark.tasking import run_tasks


def test_differences_are_named() -> None:
    here = {"Python": "3.12", "numpy": "2.4.6", "xgboost": "missing"}
    assert libraries.differences(here, here) == []
    there = {"Python": "3.11", "numpy": "missing", "xgboost": "missing"}
    assert libraries.differences(here, there) == [
        "Python is 3.11, on the driver 3.12",
        "numpy is missing, on the driver 2.4.6",
    ]


def test_workers_tell_what_the_driver_would(spark: SparkSession) -> None:
    names = (*libraries.NEEDED, "no-such-distribution")
    assert run_tasks(spark, libraries.versions, [names]) == [libraries.versions(names)]
    assert libraries.versions(names)["no-such-distribution"] == "missing"
    assert "missing" not in libraries.versions(libraries.NEEDED).values()
