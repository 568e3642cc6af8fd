"""The hash of Spark, held against numbers that Spark 4.3 gave (and Spark itself in tests/spark)."""

from __future__ import annotations

import pyarrow as pa

from spark_pseudolabel.core.hashing import SEED, xor_all, xxhash64


def test_a_null_leaves_the_hash_as_it_is() -> None:
    nothing = pa.array([None, None], pa.int64())
    assert xxhash64([nothing]).tolist() == [SEED, SEED]
    some = pa.array([7, 8])
    assert xxhash64([some, nothing]).tolist() == xxhash64([some]).tolist()


def test_a_slice_is_hashed_as_the_rows_it_shows() -> None:
    texts = pa.array(["a", "bcd", "", "a longer text, of more than thirty-two bytes", "é"])
    assert xxhash64([texts.slice(1, 3)]).tolist() == xxhash64([texts]).tolist()[1:4]


def test_int_and_bigint_differ_as_in_spark() -> None:
    ints, longs = pa.array([1], pa.int32()), pa.array([1], pa.int64())
    assert xxhash64([ints]).tolist() != xxhash64([longs]).tolist()


def test_no_rows() -> None:
    assert xxhash64([pa.array([], pa.string()), 3]).tolist() == []
    assert xor_all(xxhash64([pa.array([], pa.int64())])) == 0


def test_folding_does_not_depend_on_the_order() -> None:
    hashes = xxhash64([pa.array(range(10))])
    assert xor_all(hashes) == xor_all(hashes[::-1]) == xor_all(hashes.tolist())


def test_many_rows_in_pieces_and_in_two_steps() -> None:
    numbers = pa.array(range(40_000))
    texts = pa.chunked_array([[f"row {i}" for i in range(25_000)], ["x"] * 15_000])
    at_once = xxhash64([numbers, texts, 7])
    assert at_once[30_000:].tolist() == xxhash64([numbers[30_000:], texts[30_000:], 7]).tolist()
    assert at_once.tolist() == xxhash64([texts, 7], start=xxhash64([numbers])).tolist()
    assert len(set(at_once.tolist())) == 40_000


def test_doubles_are_hashed_by_their_bits_and_zero_has_no_sign() -> None:
    numbers = pa.array([0.0, -0.0, 1.5, None])
    hashes = xxhash64([numbers]).tolist()
    assert hashes[0] == hashes[1] == xxhash64([pa.array([0])]).tolist()[0]
    assert hashes[2] == xxhash64([pa.array([0x3FF8000000000000])]).tolist()[0]
    assert hashes[3] == SEED
