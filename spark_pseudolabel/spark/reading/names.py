"""Columns by their names, whatever characters these hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T


def quoted(name: str) -> str:
    """Return a column's name as Spark's parser takes it for one name.

    Examples
    --------
    >>> quoted("petal.length"), quoted("a`b")
    ('`petal.length`', '`a``b`')
    """
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> Column:
    """Return the column of this very name."""
    return F.col(quoted(name))


Batches = Iterable[pa.RecordBatch]


def map_in_arrow(
    rows: DataFrame,
    function: Callable[[Batches], Iterator[pa.RecordBatch]],
    schema: T.StructType | str,
) -> DataFrame:
    """Return ``rows.mapInArrow``, which takes names for expressions, for columns of any name."""
    names = rows.columns
    if all(re.fullmatch(r"\w+", name) for name in names):
        return rows.mapInArrow(function, schema)

    def named(batches: Batches) -> Iterator[pa.RecordBatch]:
        return function(batch.rename_columns(names) for batch in batches)

    return rows.toDF(*[f"c{i}" for i in range(len(names))]).mapInArrow(named, schema)


def columns(names: Iterable[str]) -> list[Column]:
    """Return the columns of these very names."""
    return [column(name) for name in names]
