"""Schemas as Spark writes them into files, read without running what they name.

Python's parser of Spark's JSON imports the module that a user-defined type names, and before
SPARK-56463 unpickled its class. A footer is written by whoever can write a table: hence a parser of
our own, with a closed list of types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pyspark.ml.linalg import VectorUDT
from pyspark.sql import DataFrame
from pyspark.sql import types as T

_SCALARS: dict[str, T.DataType] = {
    "binary": T.BinaryType(),
    "boolean": T.BooleanType(),
    "byte": T.ByteType(),
    "date": T.DateType(),
    "double": T.DoubleType(),
    "float": T.FloatType(),
    "integer": T.IntegerType(),
    "long": T.LongType(),
    "short": T.ShortType(),
    "string": T.StringType(),
    "timestamp": T.TimestampType(),
    "timestamp_ntz": T.TimestampNTZType(),
    "void": T.NullType(),
}
_DECIMAL = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)")
_VECTOR = ("org.apache.spark.ml.linalg.VectorUDT", "pyspark.ml.linalg.VectorUDT")
_DEEPEST = 100


class UnknownType(T.DataType):
    """A type that no column of ours may have, such as a user-defined one.

    Parameters
    ----------
    description
        How messages call it.
    is_foreign
        Whether Python's parser would import what it names.
    """

    def __init__(self, description: str, *, is_foreign: bool):
        self.description = description
        self.is_foreign = is_foreign

    def simpleString(self) -> str:  # noqa: N802  Spark's name
        return self.description


def parse_schema(text: str) -> T.StructType | None:
    """Return the schema that a file holds as text; None if it holds none.

    Fields are nullable, as for Spark's own reader: what a file promises is not checked.

    Examples
    --------
    >>> parse_schema('{"type":"struct","fields":[{"name":"n","type":"long"}]}')
    StructType([StructField('n', LongType(), True)])
    >>> udt = '{"type":"udt","pyClass":"antigravity.A","sqlType":"long"}'
    >>> parse_schema('{"type":"struct","fields":[{"name":"n","type":%s}]}' % udt)["n"].dataType
    UnknownType()
    """
    try:
        return _struct(json.loads(text), 0)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def schema_of(rows: DataFrame) -> T.StructType:
    """Return the schema of rows that Spark has opened, without what Python would do with it.

    Columns of types that Python would import are in it as :class:`UnknownType`.
    """
    # The plan's own text; DataFrame.schema and .columns would parse it.
    text = str(rows._jdf.schema().json())
    schema = parse_schema(text)
    if schema is None:
        raise ValueError(f"Spark's schema must be a struct. It is {text[:200]!r}.")
    return schema


def without_foreign_types(rows: DataFrame, schema: T.StructType) -> DataFrame:
    """Drop the columns whose types Python's parser would import, wherever they are nested."""
    foreign = [
        field.name for field in schema if any(u.is_foreign for u in _unknown(field.dataType))
    ]
    return rows.drop(*foreign) if foreign else rows


def has_unknown_types(schema: T.StructType) -> bool:
    """Whether a column is of a type that is not on the list, or holds one."""
    return any(_unknown(schema))


def _struct(value: Any, depth: int) -> T.StructType:
    if value["type"] != "struct":
        raise ValueError(f"must be a struct, is {value['type']!r}")
    fields = [(field["name"], _type(field["type"], depth)) for field in value["fields"]]
    if not all(isinstance(name, str) for name, _ in fields):
        raise ValueError("must have names of columns that are texts")
    return T.StructType([T.StructField(name, kind) for name, kind in fields])


def _type(value: Any, depth: int) -> T.DataType:
    if depth > _DEEPEST:
        raise ValueError(f"must nest types at most {_DEEPEST} deep")
    if isinstance(value, str):
        return _scalar(value)
    match value["type"]:
        case "struct":
            return _struct(value, depth + 1)
        case "array":
            return T.ArrayType(_type(value["elementType"], depth + 1))
        case "map":
            key, item = (_type(value[part], depth + 1) for part in ("keyType", "valueType"))
            return T.MapType(key, item)
        case "udt" if (value.get("class"), value.get("pyClass")) == _VECTOR:
            return VectorUDT()
        case "udt":
            name = str(value.get("class") or value.get("pyClass"))[:100]
            return UnknownType(f"of the user-defined type {name!r}", is_foreign=True)
    raise ValueError(f"must be of a known type, is {value['type']!r}")


def _scalar(name: str) -> T.DataType:
    if name in _SCALARS:
        return _SCALARS[name]
    if decimal := _DECIMAL.fullmatch(name):
        precision, scale = int(decimal[1]), int(decimal[2])
        return T.DecimalType(precision, scale)
    return UnknownType(name, is_foreign=False)


def _unknown(kind: T.DataType) -> Iterator[UnknownType]:
    if isinstance(kind, UnknownType):
        yield kind
    elif isinstance(kind, T.StructType):
        for field in kind:
            yield from _unknown(field.dataType)
    elif isinstance(kind, T.ArrayType):
        yield from _unknown(kind.elementType)
    elif isinstance(kind, T.MapType):
        yield from (*_unknown(kind.keyType), *_unknown(kind.valueType))
