"""Labels that are numbers: read, checked by name, and what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import types as T

from spark_pseudolabel.columns import CODE, VALUE
from spark_pseudolabel.config import Config
from spark_pseudolabel.config.tolerance import tolerance_of
from spark_pseudolabel.core.numbers import RIGHT, NumberTask, decimals_of
from spark_pseudolabel.core.teachers.cross_fitting import FOLDS
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.schema import type_name

NUMBER_TYPES = (T.IntegralType, T.FractionalType)
"""Spark types of labels that are numbers."""

_EXACT = 2**53
"""Up to here a double holds each whole number."""

_WHOLE_DIGITS = 18
"""Of a decimal without a fraction: so many fit into 64 bits."""


def published_type(schema: T.StructType, label: str) -> str:
    """Return the Spark type of published numbers: bigint where the given ones are whole."""
    return "bigint" if _is_whole(schema[label].dataType) else "double"


def _is_whole(kind: T.DataType) -> bool:
    if isinstance(kind, T.DecimalType):
        return kind.scale == 0 and kind.precision <= _WHOLE_DIGITS
    return isinstance(kind, T.IntegralType)


def require_numbers(schema: T.StructType, label: str, name: str) -> None:
    """Refuse a label column that holds no numbers.

    Raises
    ------
    InputError
        Naming the column and what it is.
    """
    if isinstance(schema[label].dataType, NUMBER_TYPES):
        return
    raise InputError(
        f"{name} column {label!r} must hold numbers with task: regression: integers, floats or "
        f"decimals. It is {type_name(schema, label)}. Write its values with digits and a decimal "
        "point, name another column, or leave out task where labels are classes.",
        code="bad_type",
        where=label,
    )


def with_values(
    rows: pa.Table, column: str, label: str, name: str, keys: Sequence[str]
) -> pa.Table:
    """Return rows with their numbers, ``spl_value``, in place of a column of labels.

    Parameters
    ----------
    rows
        Keys, and labels that are not null.
    column
        The labels.
    label, name
        What messages call the column and its table.
    keys
        Key columns.

    Raises
    ------
    InputError
        If a label is NaN, infinite, or so large that a double would be another number.
    """
    labels = rows.column(column)
    if pa.types.is_integer(labels.type):
        _require(
            rows,
            pc.less_equal(pc.abs(labels.cast(pa.int64())), _EXACT),
            column,
            label,
            name,
            keys,
            "beyond 2 ** 53, where a double would be another number",
        )
    values = labels.cast(pa.float64(), safe=False)
    for holds, what in (
        (pc.invert(pc.is_nan(values)), "NaN. Write null for rows without a label"),
        (pc.is_finite(values), "infinite"),
    ):
        _require(rows, holds, column, label, name, keys, what)
    codes = pa.array(np.full(rows.num_rows, RIGHT, dtype=np.int32))
    others = rows.drop_columns([column]).append_column(CODE, codes)
    return others.append_column(VALUE, values)


def _require(
    rows: pa.Table,
    holds: pa.ChunkedArray,
    column: str,
    label: str,
    name: str,
    keys: Sequence[str],
    what: str,
) -> None:
    wrong = rows.filter(pc.invert(holds))
    if not wrong.num_rows:
        return
    row = ", ".join(f"{key} {wrong.column(key)[0].as_py()!r}" for key in keys)
    raise InputError(
        f"Labels must be finite numbers with task: regression. {wrong.num_rows:,} of "
        f"{rows.num_rows:,} in {name} column {label!r} are {what}; the first one is in the row "
        f"with {row} ({wrong.column(column)[0].as_py()}). Correct or drop these rows.",
        code="bad_label",
        where=label,
    )


def task_of(config: Config, values: NDArray[np.float64], schema: T.StructType) -> NumberTask:
    """Return what a run asks of numbers, from the labeled rows that it has.

    Parameters
    ----------
    config
        Its tolerance may be in standard deviations of them.
    values
        ndarray of shape (n_labeled,).
    schema
        Of the labeled table.

    Raises
    ------
    InputError
        If there are too few rows to measure errors on, or values that are no numbers to predict.
    """
    label, distinct = config.label, np.unique(values)
    if len(values) < FOLDS:
        raise InputError(
            f"labeled must hold at least {FOLDS} rows with task: regression: errors are measured "
            f"on {FOLDS} parts of them, each unseen. It has {len(values)}. Label more rows.",
            code="few_labeled",
        )
    if len(distinct) == 1:
        raise InputError(
            f"labeled column {label!r} must hold different numbers. All {len(values):,} rows have "
            f"{distinct[0]:g}.",
            code="one_class",
            where=label,
        )
    if len(distinct) == 2:
        raise InputError(
            f"labeled column {label!r} holds two different numbers only, {distinct[0]:g} and "
            f"{distinct[1]:g}: these are classes. Leave out task, tolerance and interval"
            + ("." if _is_whole(schema[label].dataType) else ", and write them as integers."),
            code="two_values",
            where=label,
        )
    with np.errstate(over="ignore"):
        sd, mean = float(values.std(ddof=1)), float(values.mean())
    if not np.isfinite(sd):
        raise InputError(
            f"labeled column {label!r} holds numbers too large to compute with, up to "
            f"{np.abs(values).max():g}. Write them in another unit.",
            code="bad_label",
            where=label,
        )
    assert config.tolerance is not None
    assert config.interval is not None
    tolerance = tolerance_of(config.tolerance)
    return NumberTask(
        tolerance=tolerance.amount * (sd if tolerance.unit == "sd" else 1.0),
        relative=tolerance.unit == "share",
        interval=config.interval,
        integer=_is_whole(schema[label].dataType),
        decimals=decimals_of(sd),
        sd=sd,
        mean=mean,
    )
