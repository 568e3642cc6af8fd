"""Ids of new rows: they have the run's own type, whatever they look like."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from spark_pseudolabel.core.text_types import TextFacts
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.tables import Table
from spark_pseudolabel.spark.reading.text_columns import with_key_types

TEXT, INT, LONG = T.StringType(), T.IntegerType(), T.LongType()


def table_of(spark: SparkSession, kind: T.DataType, ids: list[Any], *, typed: bool) -> Table:
    schema = T.StructType([T.StructField("id", kind)])
    rows = spark.createDataFrame([(one,) for one in ids], schema)
    texts: dict[str, TextFacts | None] = {} if typed else {"id": None}
    return Table("input", schema, lambda: rows, texts=texts)


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("kind", "ids", "run", "wanted", "values"),
    [
        (TEXT, ["34", "35"], "string", TEXT, ["34", "35"]),
        (TEXT, ["34", None], "int", INT, [34, None]),
        (LONG, [34, 35], "string", TEXT, ["34", "35"]),
        (LONG, [34, 35], "int", INT, [34, 35]),
        (INT, [34, 35], "bigint", LONG, [34, 35]),
        (TEXT, ["34"], None, TEXT, ["34"]),
    ],
)
def test_ids_take_the_type_of_the_run_s_ids(
    spark: SparkSession,
    kind: T.DataType,
    ids: list[Any],
    run: str | None,
    wanted: T.DataType,
    values: list[Any],
    typed: bool,
) -> None:
    table = table_of(spark, kind, ids, typed=typed)
    table = with_key_types(table, ["id"], {} if run is None else {"id": run})
    assert table.schema["id"].dataType == wanted
    assert [row.id for row in table.rows.collect()] == values


@pytest.mark.parametrize(
    ("kind", "ids", "run", "message"),
    [
        (TEXT, ["34", "007"], "bigint", "must hold integers, bigint .* such as '007'"),
        (TEXT, ["34", "NA"], "bigint", "must hold integers"),
        (TEXT, ["34", str(2**40)], "int", f".*, int as the ids of the run. It holds {2**40}"),
        (LONG, [34, 2**40], "int", f".*, int as the ids of the run. It holds {2**40}"),
        (T.DoubleType(), [34.0], "bigint", "must hold integers.* It is double"),
        (T.DoubleType(), [34.0], "string", "must hold text or integers. It is double"),
    ],
)
def test_ids_that_are_no_values_of_the_run_s_type_are_refused_by_name(
    spark: SparkSession, kind: T.DataType, ids: list[Any], run: str, message: str
) -> None:
    with pytest.raises(InputError, match=f"id column 'id' {message}") as refused:
        with_key_types(table_of(spark, kind, ids, typed=True), ["id"], {"id": run})
    assert (refused.value.code, refused.value.exit_code) == ("type_differs", 3)
