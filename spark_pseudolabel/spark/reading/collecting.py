"""Bringing tables that fit into the driver's memory there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import types as T

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.survey import PlainTable
from spark_pseudolabel.spark.reading import names
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.schema import select_features
from spark_pseudolabel.spark.reading.tables import Table, to_arrow
from spark_pseudolabel.store.arrow_files import reached_otherwise

_MAX_BYTES = 2**30
_SIMPLE = (T.StringType, T.IntegralType, T.BooleanType)


def collect(
    table: Table,
    keys: Sequence[str],
    features: Sequence[Feature],
    renamed: Mapping[str, str],
    numbers: Sequence[str] = (),
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
    numbers
        Those of them, by the name they get, that are numbers and come as such.
    """
    if table.plain is not None and _driver_reads(table.plain, table, features, renamed, numbers):
        with reached_otherwise():
            return _by_driver(table.plain, keys, features, renamed)
    return _by_spark(table, keys, features, renamed, numbers)


def _driver_reads(
    plain: PlainTable,
    table: Table,
    features: Sequence[Feature],
    renamed: Mapping[str, str],
    numbers: Sequence[str],
) -> bool:
    return (
        plain.bytes <= _MAX_BYTES
        and plain.readable(feature.name for feature in features)
        and all(
            _is_simple(table, old) or (new in numbers and plain.readable([old]))
            for new, old in renamed.items()
        )
    )


def _by_driver(
    plain: PlainTable,
    keys: Sequence[str],
    features: Sequence[Feature],
    renamed: Mapping[str, str],
) -> pa.Table:
    used = [feature.name for feature in features]
    columns = dict.fromkeys([*used, *renamed.values()])
    collected = plain.collect(plain.source(keys, list(columns)))
    wanted = {name: name for name in (*keys, *used)} | dict(renamed)
    return pa.table({new: collected.column(old) for new, old in wanted.items()})


def _by_spark(
    table: Table,
    keys: Sequence[str],
    features: Sequence[Feature],
    renamed: Mapping[str, str],
    numbers: Sequence[str],
) -> pa.Table:
    require_spark_reads(table, [*(feature.name for feature in features), *renamed.values()])
    extra = [
        (names.column(old) if new in numbers else _simple(table, old)).alias(new)
        for new, old in renamed.items()
    ]
    chosen = [*names.columns(keys), *select_features(table.rows, features), *extra]
    with reading(table.name):
        return to_arrow(table.rows.select(*chosen))


def require_spark_reads(table: Table, columns: Iterable[str]) -> None:
    """Refuse columns that workers could read, and Spark can't, where Spark has to.

    Raises
    ------
    InputError
        Naming the column.
    """
    if table.files is None:
        return
    lost = [name for name in columns if name not in table.rows.columns]
    if lost:
        raise InputError(
            f"{table.name} column {lost[0]!r} is of a type that Spark cannot read, such as times "
            "in nanoseconds, and Spark has to read this table. Write it in microseconds, or leave "
            "it out by features.exclude.",
            code="bad_type",
            where=lost[0],
        )


def _simple(table: Table, column: str) -> Column:
    selected = names.column(column)
    return selected if _is_simple(table, column) else selected.cast("string")


def _is_simple(table: Table, column: str) -> bool:
    return isinstance(table.schema[column].dataType, _SIMPLE)
