"""Which columns a model sees, and what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_type

from spark_pseudolabel.columns import RESERVED
from spark_pseudolabel.config import Features
from spark_pseudolabel.core.features import Feature, FeatureKind, kind_of_strings
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.names import column
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.schema_text import UnknownType
from spark_pseudolabel.spark.reading.tables import (
    Note,
    Table,
    nameless_column,
    require_columns,
    some,
)

LABEL_TYPES = (T.StringType, T.IntegralType, T.BooleanType)
# Row numbers that pandas leaves in a file, as an index or as what it makes of a nameless column: a
# row's number is no property of it.
_ROW_NUMBERS = re.compile(r"__index_level_\d+__$|Unnamed: \d+$|$")

KEY_TYPES = (T.StringType, T.IntegralType)
INTEGERS: tuple[T.DataType, ...] = (
    T.ByteType(),
    T.ShortType(),
    T.IntegerType(),
    T.LongType(),
)
"""From the shortest to the longest."""

_KINDS: tuple[tuple[type[T.DataType], FeatureKind], ...] = (
    (T.BooleanType, "boolean"),
    (T.NumericType, "numeric"),
    (T.DateType, "date"),
    (T.TimestampType, "timestamp"),
    (T.TimestampNTZType, "timestamp"),
    (T.StringType, "category"),
)


def candidate_features(
    labeled: T.StructType, pool: T.StructType, settings: Features, not_features: Sequence[str]
) -> list[str]:
    """Name the columns that may be features, in the order of the labeled table.

    Parameters
    ----------
    labeled, pool
        Their columns; a feature must be in both.
    settings
        What to include or exclude; all shared columns unless said.
    not_features
        Id, label and group.
    """
    shared = [name for name in labeled.names if name in set(pool.names)]
    if settings.include is not None:
        return [name for name in settings.include if name in shared]
    left_out = {*not_features, *settings.exclude}
    return [c for c in shared if c not in left_out and not _ROW_NUMBERS.match(c)]


def feature_names(
    labeled: T.StructType,
    pool: T.StructType,
    settings: Features,
    not_features: Sequence[str],
    empty: Sequence[str] = (),
) -> list[str]:
    """Name the model's input columns, in the order of the labeled table.

    Parameters
    ----------
    labeled, pool, settings, not_features
        As in :func:`candidate_features`.
    empty
        Columns without any value, which are left out.

    Raises
    ------
    InputError
        If a column that the settings name is in no table, there is no feature at all, or one has a
        name that is taken.
    """
    if settings.include is not None:
        require_columns(labeled, settings.include, "labeled")
        require_columns(pool, settings.include, "unlabeled")
    _require_known((*settings.exclude, *settings.text), labeled, pool)
    candidates = candidate_features(labeled, pool, settings, not_features)
    names = [name for name in candidates if name not in empty]
    if not names:
        raise InputError(
            f"labeled and unlabeled must share at least one feature column. labeled has "
            f"{labeled.names}, unlabeled has {pool.names}.",
            code="no_features",
        )
    _require_free_names(names)
    return names


def unshared(
    labeled: T.StructType, pool: T.StructType, settings: Features, not_features: Sequence[str]
) -> tuple[Note, ...]:
    """Tell which columns are no features since one of the tables lacks them."""
    if settings.include is not None:
        return ()
    known = {*not_features, *settings.exclude}
    only = [
        [
            n
            for n in table.names
            if n not in other_table.names and n not in known and not _is_number(n)
        ]
        for table, other_table in ((labeled, pool), (pool, labeled))
    ]
    if not any(only):
        return ()
    lacking = [
        f"{name} has {some([repr(n) for n in names])}, which {other} lacks"
        for names, name, other in zip(
            only, ("labeled", "unlabeled"), ("unlabeled", "labeled"), strict=True
        )
        if names
    ]
    lowered = {name.strip().lower() for name in only[0]}
    alike = [name for name in only[1] if name.strip().lower() in lowered]
    hint = f" {alike[0]!r} differs in case or blanks only: rename it." if alike else ""
    return (
        Note(
            "unshared_columns",
            f"{'; '.join(lacking)}: the model does not see them.{hint} Columns that "
            "features.exclude names are not listed here.",
        ),
    )


def nameless(
    table: str, schema: T.StructType, settings: Features, not_features: Sequence[str]
) -> tuple[Note, ...]:
    """Tell which columns of a table are no features since they have no name of their own."""
    if settings.include is not None:
        return ()
    known = {*not_features, *settings.exclude}
    names = [name for name in schema.names if _is_number(name) and name not in known]
    return tuple(nameless_column(table, name) for name in names)


def find_features(
    names: Sequence[str], labeled: T.StructType, pool: T.StructType, settings: Features
) -> tuple[Feature, ...]:
    """Say what each column is; vector widths and free text follow in :func:`completed`.

    Raises
    ------
    InputError
        If a column is of a type no model takes, or of types in the two tables that do not widen.
    """
    return tuple(
        Feature(
            name,
            kind=_kind(name, labeled[name].dataType, pool[name].dataType, settings),
            type=type_name(pool, name),
        )
        for name in names
    )


def with_typed_nulls(tables: Mapping[str, Table], not_features: Sequence[str]) -> dict[str, Table]:
    """Give columns without any value the type that they have in another table.

    Such a column has no type of its own: pandas writes none, and readers of CSV and JSON call it a
    string. Numbers are what a column is that has no value anywhere.

    Parameters
    ----------
    tables
        By section name, ``labeled`` and ``unlabeled`` among them.
    not_features
        Columns that keep their types.
    """
    agreed = dict(tables)
    shared = set(tables["labeled"].schema.names) & set(tables["unlabeled"].schema.names)
    for name in sorted(shared - set(not_features)):
        having = {key: table for key, table in agreed.items() if name in table.schema.names}
        types = [table.schema[name].dataType for table in having.values()]
        untyped = any(isinstance(data_type, T.NullType) for data_type in types)
        if any(
            _kind_or_none(data_type) is None and not isinstance(data_type, T.NullType)
            for data_type in types
        ):
            continue  # refused by name where it is a feature
        if len(set(map(_kind_or_none, types))) == 1 and not untyped:
            continue
        valued = {key: table for key, table in having.items() if _has_values(table, name)}
        first = next(iter(valued.values()), None)
        wanted = T.DoubleType() if first is None else first.schema[name].dataType
        for key in having.keys() - valued.keys():
            agreed[key] = _retyped(having[key], name, wanted)
    return agreed


def _has_values(table: Table, name: str) -> bool:
    kind = table.schema[name].dataType
    if isinstance(kind, UnknownType):  # whatever they are, no model takes them
        return True
    if isinstance(kind, T.NullType):
        return False
    with reading(table.name):
        return not table.rows.filter(column(name).isNotNull()).isEmpty()


def _retyped(table: Table, name: str, data_type: T.DataType) -> Table:
    """Let a column of nulls be of another type; files that workers read have none to be cast."""
    wanted = T.ArrayType(T.DoubleType()) if _is_ml_vector(data_type) else data_type
    schema = T.StructType(
        [T.StructField(name, wanted) if field.name == name else field for field in table.schema]
    )
    return table.changed(schema, lambda rows: rows.withColumn(name, F.lit(None).cast(wanted)))


def require_kinds(schema: T.StructType, features: Sequence[Feature], name: str) -> None:
    """Refuse a table whose columns are not what a model was fitted on, or widen to it.

    Raises
    ------
    InputError
        Naming the column, what it is and what it must be.
    """
    require_columns(schema, [feature.name for feature in features], name)
    for feature in features:
        data_type = schema[feature.name].dataType
        if isinstance(data_type, T.NullType):
            continue  # nothing in it is of another type
        wanted = "category" if feature.kind == "text" else feature.kind
        if kind_of(data_type, feature.name, name) != wanted:
            raise InputError(
                f"Feature {feature.name!r} must be {feature.type} in {name}, or widen to it. It is "
                f"{data_type.simpleString()}: cast it.",
                code="type_differs",
                where=feature.name,
            )


def completed(
    features: Sequence[Feature], labeled: pa.Table, settings: Features
) -> tuple[Feature, ...]:
    """Complete features by what labeled rows hold: vector widths, text or category.

    Where there is no labeled row, by some of the pool's.
    """
    with_facts = tuple(
        _completed(feature, labeled.column(feature.name), settings) for feature in features
    )
    _require_own_columns(with_facts)
    return with_facts


def _require_own_columns(features: Sequence[Feature]) -> None:
    """Refuse a feature with the name that a number of a vector gets in the model."""
    owner: dict[str, str] = {}
    for feature in sorted(features, key=lambda feature: feature.kind == "vector"):
        for name in feature.columns:
            if name in owner:
                raise InputError(
                    f"Columns {owner[name]!r} and {feature.name!r} must not have the same name "
                    f"in the model: the vector {feature.name!r} becomes {feature.columns[0]!r} and "
                    f"so on, and {name!r} is there already. Rename one of them, or leave it out "
                    "by features.exclude.",
                    code="name_taken",
                    where=owner[name],
                )
            owner[name] = feature.name


def select_features(rows: DataFrame, features: Sequence[Feature]) -> list[Column]:
    """Return the feature columns in a form that Arrow takes: Spark ML vectors as arrays."""
    return [_arrow_column(rows, feature.name) for feature in features]


def selected_schema(
    schema: T.StructType, keys: Sequence[str], features: Sequence[Feature]
) -> T.StructType:
    """Return the columns that are left of a table by keys and :func:`select_features`."""
    selected = [schema[name] for name in (*keys, *(feature.name for feature in features))]
    array = T.ArrayType(T.DoubleType())
    return T.StructType(
        [T.StructField(f.name, array) if _is_ml_vector(f.dataType) else f for f in selected]
    )


def kind_of(data_type: T.DataType, name: str, table: str) -> FeatureKind:
    """Return what a column's type makes of it as a feature.

    Raises
    ------
    InputError
        If no model takes it.
    """
    if (kind := _kind_or_none(data_type)) is not None:
        return kind
    raise InputError(
        f"{table} column {name!r} is {data_type.simpleString()}, which no model takes. Cast it, "
        "or leave it out by features.exclude.",
        code="bad_type",
        where=name,
    )


def simple_feature(schema: T.StructType, name: str) -> Feature | None:
    """Return a column as a feature of one value; None where it is of another type."""
    kind = _kind_or_none(schema[name].dataType)
    return None if kind in (None, "vector") else Feature(name, kind, type_name(schema, name))


def arrow_type(data_type: T.DataType) -> pa.DataType:
    """Return the Arrow type of a Spark type; moments are in UTC, whatever the session's zone."""
    # Spark 4.3 needs to be given a zone, older ones know no such argument.
    if isinstance(data_type, T.TimestampType):
        return pa.timestamp("us", tz="UTC")
    return to_arrow_type(data_type)


def type_name(schema: T.StructType, column: str) -> str:
    """Return a column's type in Spark's own words, such as ``bigint``."""
    return schema[column].dataType.simpleString()


def type_of_both(labeled: T.DataType, pool: T.DataType) -> T.DataType:
    """Return the type that holds a column's values of both tables, where they are of one kind.

    Integers take the longer type, other numbers are doubles, as they are to a model.
    """
    labeled, pool = _array_of(labeled), _array_of(pool)
    if isinstance(labeled, T.ArrayType) and isinstance(pool, T.ArrayType):
        return T.ArrayType(type_of_both(labeled.elementType, pool.elementType))
    if type(labeled) is type(pool) and not isinstance(pool, T.DecimalType):
        return pool
    if isinstance(labeled, T.IntegralType) and isinstance(pool, T.IntegralType):
        return max(labeled, pool, key=INTEGERS.index)
    if isinstance(labeled, T.NumericType) and isinstance(pool, T.NumericType):
        return pool if labeled == pool else T.DoubleType()
    return pool


def _array_of(kind: T.DataType) -> T.DataType:
    return T.ArrayType(T.DoubleType()) if _is_ml_vector(kind) else kind


def require_type(
    schema: T.StructType, column: str, allowed: tuple[type[T.DataType], ...], name: str, wanted: str
) -> None:
    """Refuse a column of another type than allowed."""
    actual = schema[column].dataType
    if not isinstance(actual, allowed):
        raise InputError(
            f"{name} column {column!r} must be {wanted}. It is {actual.simpleString()}: cast it.",
            code="bad_type",
            where=column,
        )


def _require_free_names(names: Sequence[str]) -> None:
    bad = [name for name in names if name.startswith(RESERVED)]
    if bad:
        raise InputError(
            f"features: column {bad[0]!r} begins with {RESERVED!r}, as columns do that are used "
            "inside. Rename it, or leave it out by features.exclude.",
            code="reserved_name",
            where=bad[0],
        )


def _is_number(name: str) -> bool:
    return _ROW_NUMBERS.match(name) is not None


def _require_known(names: Sequence[str], labeled: T.StructType, pool: T.StructType) -> None:
    known = {*labeled.names, *pool.names}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"features names columns {unknown} that no table has. labeled has {labeled.names}.",
            code="missing_column",
            where=unknown[0],
        )


def _kind(name: str, labeled: T.DataType, pool: T.DataType, settings: Features) -> FeatureKind:
    kind, pool_kind = kind_of(labeled, name, "labeled"), kind_of(pool, name, "unlabeled")
    if kind != pool_kind:
        raise InputError(
            f"Feature {name!r} must have the same type in both tables (numbers widen to double). "
            f"It is {labeled.simpleString()} in labeled and {pool.simpleString()} in unlabeled: "
            "cast one, or leave it out by features.exclude.",
            code="type_differs",
            where=name,
        )
    if name in settings.text and kind != "category":
        raise InputError(
            f"features.text names {name!r}, which must be a string column. It is "
            f"{pool.simpleString()}.",
            code="bad_type",
            where=name,
        )
    return "text" if name in settings.text else kind


def _kind_or_none(data_type: T.DataType) -> FeatureKind | None:
    if _is_vector(data_type):
        return "vector"
    return next((kind for spark_type, kind in _KINDS if isinstance(data_type, spark_type)), None)


def _is_vector(data_type: T.DataType) -> bool:
    is_numbers = isinstance(data_type, T.ArrayType) and isinstance(
        data_type.elementType, T.NumericType
    )
    return is_numbers or _is_ml_vector(data_type)


def _is_ml_vector(data_type: T.DataType) -> bool:
    return isinstance(data_type, T.UserDefinedType) and data_type.simpleString() == "vector"


def _arrow_column(rows: DataFrame, name: str) -> Column:
    if _is_ml_vector(rows.schema[name].dataType):
        return vector_to_array(column(name)).alias(name)
    return column(name)


def _completed(feature: Feature, column: pa.ChunkedArray, settings: Features) -> Feature:
    if feature.kind == "vector":
        return _replace(feature, width=_width(feature, column))
    if feature.kind == "category" and feature.name not in settings.text:
        return _replace(feature, kind=kind_of_strings(column.to_pylist()))
    return feature


def _replace(feature: Feature, **changes: Any) -> Feature:
    return Feature(**{**vars(feature), **changes})


def _width(feature: Feature, column: pa.ChunkedArray) -> int:
    if column.null_count == len(column):
        raise InputError(
            f"The labeled rows must hold a vector in {feature.name!r}, which tells how many "
            "numbers it has. It has no value there: leave it out by features.exclude.",
            code="vector_length",
            where=feature.name,
        )
    lengths = pc.min_max(pc.list_value_length(column)).as_py()
    if lengths["min"] is None or lengths["min"] != lengths["max"] or lengths["min"] == 0:
        raise InputError(
            f"Every vector in {feature.name!r} must have the same number of values, at least 1. "
            f"In the labeled rows they have from {lengths['min']} to {lengths['max']}.",
            code="vector_length",
            where=feature.name,
        )
    return int(lengths["min"])
