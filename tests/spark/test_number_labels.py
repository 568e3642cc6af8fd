"""Labels that are numbers are read as they are, and refused by name where they are none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import types as T

from spark_pseudolabel.columns import CODE, VALUE
from spark_pseudolabel.config import Config, parse_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.number_labels import (
    published_type,
    require_numbers,
    task_of,
    with_values,
)

KINDS: list[tuple[T.DataType, str]] = [
    (T.ByteType(), "bigint"),
    (T.LongType(), "bigint"),
    (T.DecimalType(18, 0), "bigint"),
    (T.DecimalType(38, 0), "double"),
    (T.DecimalType(10, 2), "double"),
    (T.FloatType(), "double"),
    (T.DoubleType(), "double"),
]


def schema(kind: T.DataType) -> T.StructType:
    return T.StructType([T.StructField("y", kind)])


def config(tolerance: float | str = 2.0) -> Config:
    return parse_config(
        {
            "task": "regression",
            "tolerance": tolerance,
            "interval": 0.9,
            "labeled": {"path": "labeled", "label": "y"},
            "unlabeled": {"path": "pool"},
            "id": "id",
            "output": {"path": "out"},
        }
    )


def read(labels: pa.Array) -> pa.Table:
    rows = pa.table({"id": pa.array(range(10, 10 + len(labels))), "label": labels})
    return with_values(rows, "label", "y", "labeled", ["id"])


@pytest.mark.parametrize(("kind", "published"), KINDS)
def test_published_numbers_are_whole_where_given_ones_are(kind: T.DataType, published: str) -> None:
    require_numbers(schema(kind), "y", "labeled")
    assert published_type(schema(kind), "y") == published
    assert task_of(config(), np.arange(9.0), schema(kind)).integer == (published == "bigint")


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([1, -2, 3], pa.int8()),
        pa.array([1, -2, 3], pa.int64()),
        pa.array([1.0, -2.0, 3.0], pa.float32()),
        pa.array([Decimal("1.00"), Decimal("-2.00"), Decimal("3.00")]),
    ],
)
def test_numbers_of_every_type_are_the_same_doubles(labels: pa.Array) -> None:
    rows = read(labels)
    assert rows.column(VALUE).to_pylist() == [1.0, -2.0, 3.0]
    assert rows.column(CODE).to_pylist() == [0, 0, 0]
    assert rows.column_names == ["id", CODE, VALUE]


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (pa.array([1.0, np.nan, 2.0]), "1 of 3 .* NaN. .* row with id 11"),
        (pa.array([1.0, 2.0, -np.inf]), "infinite; .* row with id 12 .-inf."),
        (pa.array([2**53 + 2, 0, 0]), "beyond 2 .. 53"),
    ],
)
def test_what_is_no_number_is_refused_with_its_row(labels: pa.Array, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        read(labels)
    assert (caught.value.code, caught.value.where) == ("bad_label", "y")


@pytest.mark.parametrize("kind", [T.StringType(), T.BooleanType(), T.DateType()])
def test_labels_of_other_types_are_refused_by_their_type(kind: T.DataType) -> None:
    with pytest.raises(InputError, match=f"'y' must hold numbers .* It is {kind.simpleString()}"):
        require_numbers(schema(kind), "y", "validation")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (np.arange(4.0), "few_labeled"),
        (np.full(9, 3.0), "one_class"),
        (np.array([0.0, 1.0] * 9), "two_values"),
        (np.array([1e300, -1e300, 0.0] * 9), "bad_label"),
    ],
)
def test_numbers_of_which_nothing_is_learned_are_refused(values: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        task_of(config(), values, schema(T.DoubleType()))
    assert caught.value.code == code


def test_a_tolerance_in_deviations_is_one_of_the_labeled_rows() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    task = task_of(config("0.5 sd"), values, schema(T.DoubleType()))
    assert task.sd == pytest.approx(np.std(values, ddof=1))
    assert (task.tolerance, task.relative) == (pytest.approx(task.sd / 2), False)
    share = task_of(config("5 %"), values, schema(T.DoubleType()))
    assert (share.tolerance, share.relative, share.interval) == (0.05, True, 0.9)
