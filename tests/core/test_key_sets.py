"""Sets of keys: the same key in any type that tables may have it in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from spark_pseudolabel.core.key_sets import KeySet


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.int64()])
def test_integers_of_any_width_are_the_same_key(kind: pa.DataType) -> None:
    keys = KeySet.of([pa.array([5, 7], pa.int64())])
    assert keys.find([pa.array([7, 6, 5], kind)]).tolist() == [1, -1, 0]


def test_keys_of_two_columns_are_found_in_pieces() -> None:
    files = pa.chunked_array([["a", "b"], ["a"]])
    keys = KeySet.of([files, pa.array([0, 0, 1])])
    assert keys.contains([pa.array(["a", "b"]), pa.array([1, 1])]).tolist() == [True, False]


def test_many_keys_are_each_found_once() -> None:
    texts = [f"id-{i}" for i in range(50_000)]
    keys = KeySet.of([pa.array(texts)])
    assert keys.find([pa.array(texts[::-1])]).tolist() == list(range(50_000))[::-1]
    assert not keys.contains([pa.array([f"ID-{i}" for i in range(50_000)])]).any()


def test_nothing_is_in_an_empty_set() -> None:
    keys = KeySet.of([pa.array([], pa.string())])
    assert not keys.contains([pa.array(["a"])]).any()
    assert len(keys) == 0
    assert np.array_equal(KeySet.ranks([pa.array(["a", "a"])]), [0, 0])
