from __future__ import annotations

import gc
import pickle
from collections.abc import Sequence

import pytest
from pyspark.sql import SparkSession

from spark_pseudolabel.errors import (
    ConfigError,
    InputError,
    Problem,
    PseudoLabelError,
    StoredStateError,
)
from spark_pseudolabel.report.document import ErrorDocument
from spark_pseudolabel.spark.tasking import exchange, merge_tasks, run_tasks


def test_answers_come_in_the_order_of_the_work(spark: SparkSession) -> None:
    assert run_tasks(spark, lambda n: n * n, range(7)) == [n * n for n in range(7)]
    assert run_tasks(spark, lambda n: n * n, []) == []


@pytest.mark.parametrize("kind", [InputError, StoredStateError])
def test_what_a_task_refuses_is_told_as_it_is(
    spark: SparkSession, kind: type[PseudoLabelError]
) -> None:
    def refuse(n: int) -> int:
        raise kind(f"piece {n} is damaged", code="damaged_file", where="x.parquet")

    with pytest.raises(kind, match="piece 1 is damaged") as refused:
        run_tasks(spark, refuse, [1])
    assert (refused.value.code, refused.value.where) == ("damaged_file", "x.parquet")


@pytest.mark.parametrize(
    "error",
    [
        InputError("x is damaged", code="damaged_file", where="x"),
        StoredStateError("x is damaged", where="x"),
        ConfigError([Problem("rounds.max", "must be a number", "a.yaml", 3)]),
    ],
)
def test_errors_come_from_a_worker_whole(error: PseudoLabelError) -> None:
    come = pickle.loads(pickle.dumps(error))
    assert type(come) is type(error)
    assert ErrorDocument.of(come) == ErrorDocument.of(error)
    assert str(come) == str(error)


def test_workers_do_not_go_over_what_they_imported_after_every_task(spark: SparkSession) -> None:
    run_tasks(spark, lambda _: None, range(4))
    assert max(run_tasks(spark, lambda _: gc.get_freeze_count(), range(4))) > 0


def together(lists: Sequence[list[int]]) -> list[int]:
    return [n for some in lists for n in some]


@pytest.mark.parametrize("n", [0, 1, 64, 65, 150])
def test_answers_are_merged_in_the_order_of_the_work(spark: SparkSession, n: int) -> None:
    merged = merge_tasks(spark, lambda n: [n], range(n), together)
    assert merged == (list(range(n)) or None)


def test_what_is_exchanged_comes_to_its_group(spark: SparkSession) -> None:
    groups = exchange(spark, lambda n: [(m % 3, n * m) for m in range(n)], range(9), sorted, 3)
    expected = [sorted(n * m for n in range(9) for m in range(g, n, 3)) for g in range(3)]
    assert groups == expected


def test_a_refusal_comes_through_an_exchange(spark: SparkSession) -> None:
    def refuse(n: int) -> list[int]:
        if n == 90:
            raise InputError(f"piece {n} is damaged", code="damaged_file", where="x.parquet")
        return [n]

    with pytest.raises(InputError, match="piece 90 is damaged"):
        merge_tasks(spark, refuse, range(100), together)
