"""One set of columns for Parquet files that differ in theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import types as T

from spark_pseudolabel.errors import InputError

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())


@dataclass(frozen=True)
class SchemaOfFiles:
    """The columns of some files of a table.

    Parameters
    ----------
    files
        Paths below the table's root; the first of them stands for all in messages.
    schema
        Their columns as pyarrow reads them.
    spark_schema
        The same as Spark does.
    """

    files: tuple[str, ...]
    schema: pa.Schema
    spark_schema: T.StructType


@dataclass(frozen=True)
class Merged:
    """The columns of all files of a table, in the order in which they first appear.

    Parameters
    ----------
    schema, spark_schema
        Of all; numbers as wide as the widest.
    lacking
        Columns that some file does not have, and the first such file.
    """

    schema: pa.Schema
    spark_schema: T.StructType
    lacking: Mapping[str, str]


def merge(groups: Sequence[SchemaOfFiles]) -> Merged:
    """Merge the columns of files.

    Raises
    ------
    InputError
        If a column has types that do not widen to one; names both files.
    """
    for group in groups:
        require_unique(group.schema.names, group.files[0])
    if len(groups) == 1:
        return Merged(groups[0].schema, groups[0].spark_schema, {})
    names = list(dict.fromkeys(name for group in groups for name in group.schema.names))
    lacking = {
        name: next(g.files[0] for g in groups if name not in g.schema.names)
        for name in names
        if any(name not in g.schema.names for g in groups)
    }
    schema = pa.schema([(name, _type(name, groups)) for name in names])
    spark = [T.StructField(name, _spark(name, schema.field(name).type, groups)) for name in names]
    return Merged(schema, T.StructType(spark), lacking)


def require_unique(names: Sequence[str], where: str) -> None:
    """Refuse a table with two columns of one name.

    Raises
    ------
    InputError
        Naming the column.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(
            f"column {twice[0]!r} occurs twice in {where}. Rename one.",
            code="column_twice",
            where=twice[0],
        )


def _type(name: str, groups: Sequence[SchemaOfFiles]) -> pa.DataType:
    merged: pa.DataType | None = None
    first = ""
    for group in groups:
        if name not in group.schema.names:
            continue
        kind = group.schema.field(name).type
        wider = kind if merged is None else _wider(merged, kind)
        if wider is None:
            raise InputError(
                f"column {name!r} must have one type in all files (numbers widen). It is {merged} "
                f"in {first} and {kind} in {group.files[0]}: cast it in one of them.",
                code="type_differs",
                where=name,
            )
        merged, first = wider, first or group.files[0]
    assert merged is not None
    return merged


def _wider(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if left in _INTEGERS and right in _INTEGERS:
        return max(left, right, key=_INTEGERS.index)
    if {left, right} == {pa.string(), pa.large_string()}:
        return pa.string()
    numbers = all(pa.types.is_floating(t) or t in _INTEGERS for t in (left, right))
    if numbers:
        return pa.float64()
    times = all(pa.types.is_timestamp(t) for t in (left, right))
    return (
        pa.timestamp("us", left.tz) if times and (left.tz is None) == (right.tz is None) else None
    )


def _spark(name: str, merged: pa.DataType, groups: Sequence[SchemaOfFiles]) -> T.DataType:
    having = [g for g in groups if name in g.schema.names]
    same = [g for g in having if g.schema.field(name).type == merged]
    if same:
        return same[0].spark_schema[name].dataType
    if merged == pa.float64():
        return T.DoubleType()
    if pa.types.is_timestamp(merged):
        return T.TimestampNTZType() if merged.tz is None else T.TimestampType()
    return T.StringType()
