"""Comparing versions; on a cluster that differs: tests/cluster/test_spark_submit.py."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import cast

import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.startup import libraries
from spark_pseudolabel.spark.tasking import run_tasks


def test_differences_are_named() -> None:
    here = {"Python": "3.12", "numpy": "2.4.6", "xgboost": "missing"}
    assert libraries.differences(here, here) == []
    there = {"Python": "3.11", "numpy": "missing", "xgboost": "missing"}
    assert libraries.differences(here, there) == [
        "Python is 3.11, on the driver 3.12",
        "numpy is missing, on the driver 2.4.6",
    ]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Job aborted\n ModuleNotFoundError: No module named 'pyarrow'\n at java", InputError),
        ("Job 3 cancelled because SparkContext was shut down", RuntimeError),
    ],
)
def test_only_what_blames_their_python_is_an_error_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(libraries, "run_tasks", fail)
    context = SimpleNamespace(master="spark://host:7077", defaultParallelism=2)
    spark = cast(SparkSession, SimpleNamespace(sparkContext=context))
    with pytest.raises(error, match="pyarrow" if error is InputError else "cancelled"):
        libraries.require_same_libraries(spark)


def test_workers_tell_what_the_driver_would(spark: SparkSession) -> None:
    names = (*libraries.NEEDED, "no-such-distribution")
    assert run_tasks(spark, libraries.versions, [names]) == [libraries.versions(names)]
    assert libraries.versions(names)["no-such-distribution"] == "missing"
    assert "missing" not in libraries.versions(libraries.NEEDED).values()


def test_a_library_that_is_there_and_does_not_load_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(module: str) -> None:
        if module == "absent":
            raise ModuleNotFoundError(module)
        raise OSError("\nlibgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", fail)
    assert libraries.loaded(["absent", "lightgbm"]) == {
        "absent": "missing",
        "lightgbm": "not usable (OSError: libgomp.so.1: cannot open shared object file)",
    }
