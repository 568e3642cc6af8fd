"""From Arrow rows to the frame a model is fitted on and scored with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.core.feature import Feature as Feature
from spark_pseudolabel.core.feature import FeatureKind as FeatureKind
from spark_pseudolabel.core.feature import Pack as Pack
from spark_pseudolabel.errors import InputError

_TEXT_MIN_WORDS = 3.0
_TEXT_MIN_DISTINCT = 0.5
_CACHED_ROWS = 2048


def to_frame(rows: pa.RecordBatch | pa.Table, features: Sequence[Feature]) -> pd.DataFrame:
    """Build the model's input.

    Parameters
    ----------
    rows
        Holds a column for every feature; others are ignored.
    features
        In the order in which the model was fitted.

    Returns
    -------
    DataFrame
        One row per input row. All float64 columns share one block; a missing number is NaN, a
        missing category None, a missing text the empty string. Column order: numeric features
        first, then strings, each in the order of `features`.

    Raises
    ------
    InputError
        If a vector's length differs from the feature's width.
    """
    numeric = [feature for feature in features if feature.numeric]
    strings = [feature for feature in features if not feature.numeric]
    frame = pd.DataFrame(
        to_matrix(rows, numeric),
        columns=[column for feature in numeric for column in feature.columns],
        copy=False,
    )
    for feature in strings:
        frame[feature.name] = _strings(rows.column(feature.name), feature.kind)
    return frame


def to_matrix(rows: pa.RecordBatch | pa.Table, features: Sequence[Feature]) -> NDArray[np.float64]:
    """Stack numeric features into one float64 matrix of shape (n_rows, sum of widths)."""
    if len(features) == 1 and features[0].kind == "vector":
        return _vectors(rows.column(features[0].name), features[0])
    matrix = np.empty((rows.num_rows, sum(feature.width for feature in features)))
    blocks = [_block(rows.column(feature.name), feature) for feature in features]
    # A few rows at a time stay in the processor's cache while column after column goes into them.
    for start in range(0, rows.num_rows, _CACHED_ROWS):
        part, column = slice(start, start + _CACHED_ROWS), 0
        for block in blocks:
            matrix[part, column : column + block.shape[1]] = block[part]
            column += block.shape[1]
    return matrix


def _block(column: pa.Array | pa.ChunkedArray, feature: Feature) -> NDArray[np.float64]:
    if feature.kind == "vector":
        return _vectors(column, feature)
    return _numbers(column)[:, np.newaxis]


def example_frame(features: Sequence[Feature]) -> pd.DataFrame:
    """Return one row of model input: zeros, missing categories and empty texts."""
    values = {feature.name: _example_value(feature) for feature in features}
    return to_frame(pa.table(values), features)


def _example_value(feature: Feature) -> pa.Array:
    if feature.kind == "vector":
        return pa.array([[0.0] * feature.width])
    # Any number stands for a date or a boolean here.
    return pa.array([0.0]) if feature.numeric else pa.array([None], pa.string())


@dataclass(frozen=True)
class OddNumber:
    """A number that many estimators refuse.

    Parameters
    ----------
    column, row
        Its place in the model's input.
    value
        The number; infinite, or too large for the single precision that trees compute in.
    """

    column: str
    row: int
    value: float


def odd_numbers(X: pd.DataFrame) -> list[OddNumber]:
    """Find numbers that are infinite, or else those too large for single precision.

    Examples
    --------
    >>> odd_numbers(pd.DataFrame({"a": [1.0, np.inf], "b": [np.nan, 1e300]}))
    [OddNumber(column='a', row=1, value=inf)]
    """
    numbers = X.select_dtypes("float64")
    size = np.abs(numbers.to_numpy())
    for odd in (np.isinf(size), size > np.finfo(np.float32).max):
        if odd.any():
            rows, columns = np.nonzero(odd)
            return [
                OddNumber(str(numbers.columns[j]), int(i), float(numbers.iat[i, j]))
                for i, j in zip(rows, columns, strict=True)
            ]
    return []


def odd_vectors(rows: pa.RecordBatch, feature: Feature) -> dict[int, int]:
    """Find vectors of another length than the feature's width: their length by row."""
    if rows.column(feature.name).null_count == rows.num_rows:
        return {}  # of any type
    lengths = pc.list_value_length(rows.column(feature.name))
    odd = pc.fill_null(pc.not_equal(lengths, feature.width), False)
    if not pc.any(odd).as_py():
        return {}
    positions = np.flatnonzero(odd.to_numpy(zero_copy_only=False))
    return {int(row): lengths[int(row)].as_py() for row in positions}


def without_vectors(rows: pa.RecordBatch, feature: Feature, odd: Iterable[int]) -> pa.RecordBatch:
    """Put null in place of a feature's vectors at these positions."""
    mask = np.zeros(rows.num_rows, dtype=bool)
    mask[list(odd)] = True
    column = rows.column(feature.name)
    masked = pc.if_else(pa.array(mask), pa.scalar(None, column.type), column)
    return rows.set_column(rows.schema.get_field_index(feature.name), feature.name, masked)


def kind_of_strings(values: Sequence[str | None]) -> FeatureKind:
    """Guess whether a string column holds categories or free text.

    Text is what has at least three words on average and is mostly distinct; the guess is made
    once, on the labeled rows, and is written into the model's manifest.
    """
    present = [value for value in values if value]
    if not present:
        return "category"
    mean_words = float(np.mean([len(value.split()) for value in present]))
    distinct = len(set(present)) / len(present)
    is_text = mean_words >= _TEXT_MIN_WORDS and distinct >= _TEXT_MIN_DISTINCT
    return "text" if is_text else "category"


def _numbers(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        # Microseconds first: Spark's precision, so that both backends give the same seconds
        # whatever unit a Parquet file was written with.
        micros = column.cast(pa.timestamp("us", tz=kind.tz), safe=False).cast(pa.int64())
        return _float64(micros) / 1e6
    if pa.types.is_date(kind):
        return _float64(column.cast(pa.date32()).cast(pa.int32()))
    return _float64(column)


def _float64(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    values: NDArray[np.float64] = column.to_numpy(**_copy_allowed(column))
    return values


def _copy_allowed(column: pa.Array | pa.ChunkedArray) -> dict[str, bool]:
    # A chunked array always copies and takes no such argument.
    return {} if isinstance(column, pa.ChunkedArray) else {"zero_copy_only": False}


def _vectors(column: pa.Array | pa.ChunkedArray, feature: Feature) -> NDArray[np.float64]:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # zero chunks stay chunked
        column = pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    if column.null_count == len(column):  # of any type
        return np.full((len(column), feature.width), np.nan)
    _check_widths(column, feature)
    if column.null_count == 0:
        return _float64(column.flatten()).reshape(len(column), feature.width)
    matrix = np.full((len(column), feature.width), np.nan)
    matrix[column.is_valid().to_numpy(zero_copy_only=False)] = _float64(column.flatten()).reshape(
        -1, feature.width
    )
    return matrix


def _check_widths(column: pa.Array, feature: Feature) -> None:
    lengths = pc.list_value_length(column)
    wrong = pc.any(pc.not_equal(lengths, feature.width)).as_py()
    if wrong:
        widths = pc.min_max(lengths).as_py()
        raise InputError(
            f"Every vector in {feature.name!r} must have {feature.width} numbers. "
            f"Found from {widths['min']} to {widths['max']}.",
            code="vector_length",
            where=feature.name,
        )


def _strings(column: pa.Array | pa.ChunkedArray, kind: FeatureKind) -> NDArray[np.object_]:
    if kind == "text":
        column = pc.fill_null(column.cast(pa.string()), "")
    values: NDArray[np.object_] = column.cast(pa.string()).to_numpy(**_copy_allowed(column))
    return values
