"""Types of columns in two tables, and the one that holds the values of both."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import types as T

from spark_pseudolabel.spark.direct.tasks import true_codes
from spark_pseudolabel.spark.reading.schema import type_of_both

BYTE, INT, LONG, DOUBLE = T.ByteType(), T.IntegerType(), T.LongType(), T.DoubleType()
FLOAT, STRING = T.FloatType(), T.StringType()


@pytest.mark.parametrize(
    ("labeled", "pool", "both"),
    [
        (LONG, INT, LONG),
        (INT, LONG, LONG),
        (BYTE, T.ShortType(), T.ShortType()),
        (INT, INT, INT),
        (DOUBLE, INT, DOUBLE),
        (LONG, FLOAT, DOUBLE),
        (DOUBLE, FLOAT, DOUBLE),
        (FLOAT, FLOAT, FLOAT),
        (T.DecimalType(10, 2), T.DecimalType(10, 2), T.DecimalType(10, 2)),
        (T.DecimalType(20, 2), T.DecimalType(10, 2), DOUBLE),
        (STRING, STRING, STRING),
        (T.TimestampNTZType(), T.TimestampType(), T.TimestampType()),
        (T.ArrayType(DOUBLE), T.ArrayType(FLOAT), T.ArrayType(DOUBLE)),
        (VectorUDT(), T.ArrayType(INT), T.ArrayType(DOUBLE)),
        (T.ArrayType(FLOAT), VectorUDT(), T.ArrayType(DOUBLE)),
    ],
)
def test_a_type_of_two_tables_holds_the_values_of_both(
    labeled: T.DataType, pool: T.DataType, both: T.DataType
) -> None:
    assert type_of_both(labeled, pool) == both


def test_labels_of_a_shorter_type_are_told_apart() -> None:
    labels = pa.array([1, 2, None], pa.int8())
    assert true_codes(labels, (1, 300)).tolist() == [0, -1, -1]
