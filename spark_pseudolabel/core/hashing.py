"""Spark's ``xxhash64``, without Spark: all chance in a run comes from it.

Both backends have to draw the same rows, so that rows which Spark hashed and rows which a worker
read by itself get the same number.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SEED = 42
"""What Spark's ``xxhash64`` starts with."""

# Collet, xxHash fast digest algorithm, XXH64: the five primes.
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        11400714785074694791,
        14029467366897019727,
        1609587929392839161,
        9650029242287828579,
        2870177450012600261,
    )
)
_STRIPE = 32
_CACHED_ROWS = 16_384

Hashes = NDArray[np.uint64]


def xxhash64(
    columns: Sequence[pa.Array | pa.ChunkedArray | int], start: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Hash rows as Spark's ``xxhash64(*columns)`` does.

    Parameters
    ----------
    columns
        Strings, int32 (Spark's int), int64 (bigint) or float64 (double) columns of one length, at
        least one of them; a bare number stands for a bigint literal. A null leaves a row's hash as
        it is.
    start
        ndarray of shape (n_rows,): hashes of the columns before these, which it continues from.

    Returns
    -------
    ndarray of shape (n_rows,)

    Examples
    --------
    >>> xxhash64([pa.array(["a", None]), pa.array([1, 2])]).tolist()
    [-1010403264180844141, -3341702809300393011]
    """
    if start is None:
        n_rows = next(len(column) for column in columns if not isinstance(column, int))
        start = np.full(n_rows, SEED, dtype=np.int64)
    whole = [
        column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        for column in columns
    ]
    hashes = np.empty(len(start), dtype=np.uint64)
    # A few rows at a time stay in the processor's cache from one step to the next.
    for first in range(0, len(start), _CACHED_ROWS):
        part = slice(first, first + _CACHED_ROWS)
        hashes_of_part = start[part].view(np.uint64)
        for column in whole:
            rows = column if isinstance(column, int) else column.slice(first, _CACHED_ROWS)
            hashes_of_part = _hash_column(rows, hashes_of_part)
        hashes[part] = hashes_of_part
    return hashes.view(np.int64)


def xor_all(hashes: Iterable[int] | NDArray[np.int64]) -> int:
    """Fold hashes into one, the same in any order; 0 if there are none."""
    if isinstance(hashes, np.ndarray):
        return int(np.bitwise_xor.reduce(hashes, initial=0))
    return reduce(operator.xor, hashes, 0)


def _hash_column(array: pa.Array | int, seeds: Hashes) -> Hashes:
    if isinstance(array, int):
        return _hash_longs(np.array([array], dtype=np.int64), seeds)
    if pa.types.is_integer(array.type):
        numbers = array.fill_null(0).to_numpy(zero_copy_only=False)
        hashed = _hash_ints if array.type == pa.int32() else _hash_longs
        hashes = hashed(numbers, seeds)
    elif array.type == pa.float64():
        # Without the sign of a negative zero, as in Spark.
        numbers = array.fill_null(0.0).to_numpy(zero_copy_only=False) + 0.0
        hashes = _hash_longs(numbers.view(np.int64), seeds)
    else:
        hashes = _hash_strings(array.cast(pa.large_string()), seeds)
    if array.null_count == 0:
        return hashes
    return np.where(array.is_valid().to_numpy(zero_copy_only=False), hashes, seeds)


def _hash_longs(numbers: NDArray[np.int64], seeds: Hashes) -> Hashes:
    hashes = seeds + _P5 + np.uint64(8)
    return _avalanche(_mix_word(hashes, numbers.astype(np.int64).view(np.uint64)))


def _hash_ints(numbers: NDArray[np.int32], seeds: Hashes) -> Hashes:
    hashes = seeds + _P5 + np.uint64(4)
    return _avalanche(_mix_half(hashes, numbers.view(np.uint32).astype(np.uint64)))


def _hash_strings(strings: pa.LargeStringArray, seeds: Hashes) -> Hashes:
    """Hash texts of one length at a time: ids have few lengths, and each step is then one array."""
    offsets = np.frombuffer(strings.buffers()[1], dtype=np.int64)
    offsets = offsets[strings.offset : strings.offset + len(strings) + 1]
    data = np.frombuffer(strings.buffers()[2] or b"", dtype=np.uint8)
    lengths = np.diff(offsets)
    hashes = np.empty(len(strings), dtype=np.uint64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        texts = data[offsets[rows][:, np.newaxis] + np.arange(length)]
        hashes[rows] = _hash_bytes(texts.reshape(len(rows), int(length)), seeds[rows])
    return hashes


def _hash_bytes(texts: NDArray[np.uint8], seeds: Hashes) -> Hashes:
    """Hash texts of shape (n, length), all of the same length."""
    length = texts.shape[1]
    whole, position = length // _STRIPE * _STRIPE, 0
    hashes = _hash_stripes(_words(texts[:, :whole], 8), seeds) if whole else seeds + _P5
    hashes = hashes + np.uint64(length)
    for width, mix in ((8, _mix_word), (4, _mix_half), (1, _mix_byte)):
        start = whole + position
        count = (length - start) // width
        for word in _words(texts[:, start : start + count * width], width).T:
            hashes = mix(hashes, word)
        position += count * width
    return _avalanche(hashes)


def _words(texts: NDArray[np.uint8], width: int) -> Hashes:
    kind = {8: "<u8", 4: "<u4", 1: "u1"}[width]
    return np.ascontiguousarray(texts).view(kind).astype(np.uint64)


def _hash_stripes(texts_as_words: Hashes, seeds: Hashes) -> Hashes:
    lanes = [seeds + _P1 + _P2, seeds + _P2, seeds, seeds - _P1]
    for start in range(0, texts_as_words.shape[1], 4):
        lanes = [_round(lane, texts_as_words[:, start + i]) for i, lane in enumerate(lanes)]
    hashes = sum(
        (_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)),
        np.zeros(len(seeds), dtype=np.uint64),
    )
    for lane in lanes:
        hashes = (hashes ^ _round(np.zeros_like(lane), lane)) * _P1 + _P4
    return hashes


def _round(lane: Hashes, word: Hashes) -> Hashes:
    return _rotate(lane + word * _P2, 31) * _P1


def _mix_word(hashes: Hashes, word: Hashes) -> Hashes:
    return _rotate(hashes ^ _round(np.zeros_like(word), word), 27) * _P1 + _P4


def _mix_half(hashes: Hashes, word: Hashes) -> Hashes:
    return _rotate(hashes ^ (word * _P1), 23) * _P2 + _P3


def _mix_byte(hashes: Hashes, byte: Hashes) -> Hashes:
    return _rotate(hashes ^ (byte * _P5), 11) * _P1


def _avalanche(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint64(33))) * _P2
    hashes = (hashes ^ (hashes >> np.uint64(29))) * _P3
    return hashes ^ (hashes >> np.uint64(32))


def _rotate(hashes: Hashes, bits: int) -> Hashes:
    return (hashes << np.uint64(bits)) | (hashes >> np.uint64(64 - bits))
