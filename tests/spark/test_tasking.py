from __future__ import annotations

import gc

import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.tasking import run_tasks


def test_answers_come_in_the_order_of_the_work(spark: SparkSession) -> None:
    assert run_tasks(spark, lambda n: n * n, range(7)) == [n * n for n in range(7)]
    assert run_tasks(spark, lambda n: n * n, []) == []


def test_what_a_task_refuses_is_told_as_it_is(spark: SparkSession) -> None:
    def refuse(n: int) -> int:
        raise InputError(f"piece {n} is damaged", code="damaged_file", where="x.parquet")

    with pytest.raises(InputError, match="piece 1 is damaged") as refused:
        run_tasks(spark, refuse, [1])
    assert (refused.value.code, refused.value.where) == ("damaged_file", "x.parquet")


def test_workers_do_not_go_over_what_they_imported_after_every_task(spark: SparkSession) -> None:
    run_tasks(spark, lambda _: None, range(4))
    assert max(run_tasks(spark, lambda _: gc.get_freeze_count(), range(4))) > 0
