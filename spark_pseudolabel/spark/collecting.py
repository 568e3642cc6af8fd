"""Bringing tables that fit into the driver's memory there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.spark.direct.source import Source
from spark_pseudolabel.spark.direct.survey import PlainTable
from spark_pseudolabel.spark.schema import select_features
from spark_pseudolabel.spark.tables import Table, to_arrow

_MAX_BYTES = 2**30
_SIMPLE = (T.StringType, T.IntegralType, T.BooleanType)


def collect(
    table: Table, keys: Sequence[str], features: Sequence[Feature], renamed: Mapping[str, str]
) -> pa.Table:
    """Collect columns of a table.

    Small plain Parquet is read by the driver itself: a Spark job takes seconds to begin.

    Parameters
    ----------
    table
        The table.
    keys
        Its key columns, which come as int64 or string.
    features
        Its feature columns.
    renamed
        Further columns: from the name they get to the one they have. What is neither a string,
        an integer nor a boolean comes as a string.
    """
    if table.plain is not None and _driver_reads(table.plain, table, features, renamed):
        with contextlib.suppress(OSError):  # a file system that pyarrow can't open from here
            return _by_driver(table.plain, keys, features, renamed)
    return _by_spark(table, keys, features, renamed)


def _driver_reads(
    plain: PlainTable, table: Table, features: Sequence[Feature], renamed: Mapping[str, str]
) -> bool:
    return (
        plain.bytes <= _MAX_BYTES
        and plain.readable(feature.name for feature in features)
        and all(_is_simple(table, column) for column in renamed.values())
    )


def _by_driver(
    plain: PlainTable,
    keys: Sequence[str],
    features: Sequence[Feature],
    renamed: Mapping[str, str],
) -> pa.Table:
    names = [feature.name for feature in features]
    columns = dict.fromkeys([*names, *renamed.values()])
    found = plain.collect(Source(plain.root, tuple(keys), tuple(columns)))
    wanted = {name: name for name in (*keys, *names)} | dict(renamed)
    return pa.table({new: found.column(old) for new, old in wanted.items()})


def _by_spark(
    table: Table, keys: Sequence[str], features: Sequence[Feature], renamed: Mapping[str, str]
) -> pa.Table:
    extra = [_simple(table, old).alias(new) for new, old in renamed.items()]
    return to_arrow(table.rows.select(*keys, *select_features(table.rows, features), *extra))


def _simple(table: Table, column: str) -> Column:
    return F.col(column) if _is_simple(table, column) else F.col(column).cast("string")


def _is_simple(table: Table, column: str) -> bool:
    return isinstance(table.schema[column].dataType, _SIMPLE)
