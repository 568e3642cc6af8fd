"""Rows of mixed columns as vectors, so that it can be told how unlike they are."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.core.hashing import xxhash64

MOST_CATEGORIES = 30
WORDS = 32
_WORD = re.compile(r"\w+")
_SPREAD = 3.0


def vectors_of(rows: pa.Table) -> NDArray[np.float64]:
    """Return rows as vectors: numbers by their spread, categories and words as places of their own.

    Parameters
    ----------
    rows
        Features, as the pool's files have them.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
    """
    parts = [_column(rows.column(name)) for name in rows.column_names]
    return np.hstack(parts) if parts else np.zeros((rows.num_rows, 0))


def _column(column: pa.ChunkedArray) -> NDArray[np.float64]:
    kind = column.type
    if pa.types.is_boolean(kind):
        said: NDArray[np.float64] = column.cast(pa.float64()).fill_null(-1.0).to_numpy()
        return said[:, np.newaxis]
    if pa.types.is_temporal(kind):
        column = column.cast(pa.timestamp("us") if not pa.types.is_time(kind) else kind)
        return _numbers(column.cast(pa.int64()).cast(pa.float64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(column.cast(pa.float64()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(column.cast(pa.string()))
    return np.zeros((len(column), 0))


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    numbers = column.to_numpy().astype(np.float64)
    known = np.isfinite(numbers)
    if not known.any():
        return np.zeros((len(numbers), 0))
    low, middle, high = np.quantile(numbers[known], [0.25, 0.5, 0.75])
    width = (high - low) or numbers[known].std() or 1.0
    scaled = np.clip((np.where(known, numbers, middle) - middle) / width, -_SPREAD, _SPREAD)
    return np.stack([scaled, np.where(known, 0.0, 1.0)], axis=1)


def _lists(column: pa.ChunkedArray) -> NDArray[np.float64]:
    rows = column.to_pylist()
    n_values = max((len(row) for row in rows if row is not None), default=0)
    X = np.zeros((len(rows), n_values))
    for place, row in enumerate(rows):
        if row is not None and len(row) == n_values:
            X[place] = [0.0 if value is None else float(value) for value in row]
    deviation = X.std(axis=0)
    # All together as one column is.
    width = np.where(deviation > 0, deviation, 1.0) * max(np.sqrt(n_values), 1.0)
    scaled: NDArray[np.float64] = (X - X.mean(axis=0)) / width
    return scaled


def _texts(column: pa.ChunkedArray) -> NDArray[np.float64]:
    numbers = _as_numbers(column)
    if numbers is not None:
        return _numbers(numbers)
    coded = column.combine_chunks().fill_null("").dictionary_encode()
    values, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)
    if len(values) <= MOST_CATEGORIES:
        one_each: NDArray[np.float64] = np.eye(len(values))[codes] / np.sqrt(2.0)
        return one_each
    by_value = np.stack([_words(value) for value in values])
    words: NDArray[np.float64] = by_value[codes]
    return words


def _as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return texts of a CSV file that are all numbers as such; None of others."""
    filled = pc.if_else(pc.equal(column, ""), None, column)
    try:
        return filled.cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _words(text: str) -> NDArray[np.float64]:
    """Return a text's words in so many boxes, of length 1."""
    boxes = np.zeros(WORDS)
    words = _WORD.findall(text.lower())
    if words:
        hashes = xxhash64([pa.array(words, pa.string())])
        np.add.at(boxes, hashes % WORDS, 1.0)
        boxes /= np.linalg.norm(boxes)
    return boxes


def fingerprints_of(rows: pa.Table) -> NDArray[np.int64]:
    """Return a number that rows share which are alike but for the last digits, case and blanks."""
    columns = [_coarse(rows.column(name)) for name in rows.column_names]
    return xxhash64(columns) if columns else np.arange(rows.num_rows, dtype=np.int64)


def _coarse(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_floating(column.type):
        numbers = column.to_numpy().astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            digits = np.where(numbers == 0, 0, np.floor(np.log10(np.abs(numbers))))
            rounded = np.round(numbers / 10.0**digits, 2) * 10.0**digits
        return pa.array([f"{value:.6g}" for value in rounded.tolist()], pa.string())
    if pa.types.is_nested(column.type):
        return pa.array([str(value) for value in column.to_pylist()], pa.string())
    texts = pc.utf8_lower(column.cast(pa.string()).fill_null(""))
    return pc.replace_substring_regex(texts, r"\s+", " ")
