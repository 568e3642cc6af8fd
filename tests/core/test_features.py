from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_pseudolabel.core.features import (
    Feature,
    FeatureKind,
    example_frame,
    kind_of_strings,
    to_frame,
    to_matrix,
)

NAN = float("nan")
DAY = dt.date(1970, 1, 11)
MOMENT = dt.datetime(1970, 1, 2, 0, 0, 1)
SECONDS = 86401.0
BERLIN = "Europe/Berlin"


def matrix(kind: FeatureKind, column: pa.Array, width: int = 1) -> list[list[float]]:
    """Convert one column both as a batch and as a chunked table; they must agree."""
    feature = Feature("x", kind, "", width)
    batch = pa.RecordBatch.from_pydict({"x": column})
    chunked = pa.table({"x": pa.chunked_array([column.slice(0, 1), column.slice(1)])})
    one, other = to_matrix(batch, [feature]), to_matrix(chunked, [feature])
    np.testing.assert_array_equal(one, other)
    assert one.dtype == np.float64
    return one.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "values", "type_", "expected"),
    [
        ("numeric", [1, 2], pa.int8(), [1.0, 2.0]),
        ("numeric", [1, 2**53 + 1], pa.int64(), [1.0, 2.0**53]),
        ("numeric", [1, 2], pa.uint32(), [1.0, 2.0]),
        ("numeric", [0.5, 1.5], pa.float32(), [0.5, 1.5]),
        ("numeric", [0.1, 1e300], pa.float64(), [0.1, 1e300]),
        ("numeric", [Decimal("1.25"), Decimal("-3.50")], pa.decimal128(10, 2), [1.25, -3.5]),
        ("boolean", [True, False], pa.bool_(), [1.0, 0.0]),
        ("date", [DAY, dt.date(1969, 12, 31)], pa.date32(), [10.0, -1.0]),
        ("date", [DAY, dt.date(1969, 12, 31)], pa.date64(), [10.0, -1.0]),
        *[
            ("timestamp", [MOMENT, MOMENT], pa.timestamp(unit), [SECONDS, SECONDS])
            for unit in ("s", "ms", "us", "ns")
        ],
        ("timestamp", [MOMENT, MOMENT], pa.timestamp("us", "UTC"), [SECONDS, SECONDS]),
        ("timestamp", [1_500_000, -500_000], pa.timestamp("us"), [1.5, -0.5]),
        ("timestamp", [1_500_000_999, 1], pa.timestamp("ns"), [1.5, 0.0]),
    ],
)
def test_values_become_float64(
    kind: FeatureKind, values: list[Any], type_: pa.DataType, expected: list[float]
) -> None:
    assert matrix(kind, pa.array(values, type_)) == [[value] for value in expected]


@pytest.mark.parametrize(
    ("kind", "value", "type_"),
    [
        ("numeric", 1, pa.int32()),
        ("numeric", 1.0, pa.float64()),
        ("numeric", Decimal(1), pa.decimal128(3, 0)),
        ("boolean", True, pa.bool_()),
        ("date", DAY, pa.date32()),
        ("timestamp", MOMENT, pa.timestamp("us")),
    ],
)
def test_null_becomes_nan(kind: FeatureKind, value: Any, type_: pa.DataType) -> None:
    found = matrix(kind, pa.array([None, value], type_))
    assert np.isnan(found[0][0])
    assert np.isfinite(found[1][0])


def test_seconds_do_not_depend_on_the_time_zone_of_a_type() -> None:
    utc = pa.array([1_000_000], pa.timestamp("us", "UTC"))
    assert matrix("timestamp", utc) == matrix("timestamp", utc.cast(pa.timestamp("us", BERLIN)))


@pytest.mark.parametrize(
    "type_",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.float32()),
        pa.list_(pa.int32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float64(), 2),
    ],
)
@pytest.mark.parametrize("hole", [None, [7, None]])
def test_vectors_become_columns(type_: pa.DataType, hole: list[Any] | None) -> None:
    found = matrix("vector", pa.array([[1, 2], hole, [3, 4]], type_), width=2)
    expected = [NAN, NAN] if hole is None else [7.0, NAN]
    np.testing.assert_array_equal(found, [[1.0, 2.0], expected, [3.0, 4.0]])


def test_sliced_vectors_are_the_slice() -> None:
    column = pa.array([[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]]).slice(1, 2)
    np.testing.assert_array_equal(matrix("vector", column, 2), [[NAN, NAN], [3.0, 4.0]])


def test_vectors_stand_between_numbers_in_the_order_of_the_features() -> None:
    features = [
        Feature("a", "numeric", "int"),
        Feature("v", "vector", "array<double>", 2),
        Feature("b", "boolean", "boolean"),
    ]
    rows = pa.table({"v": [[2.0, 3.0]], "b": [True], "a": [1], "other": ["x"]})
    assert to_matrix(rows, features).tolist() == [[1.0, 2.0, 3.0, 1.0]]
    assert to_frame(rows, features).columns.tolist() == ["a", "v_0", "v_1", "b"]


@pytest.mark.parametrize("rows", [pa.table, pa.RecordBatch.from_pydict])
def test_no_rows_give_typed_columns(rows: Any) -> None:
    features = [
        Feature("v", "vector", "array<double>", 3),
        Feature("n", "numeric", "int"),
        Feature("c", "category", "string"),
    ]
    empty = {
        "v": pa.array([], pa.list_(pa.float64())),
        "n": pa.array([], pa.int32()),
        "c": pa.array([], pa.string()),
    }
    frame = to_frame(rows(empty), features)
    assert frame.shape == (0, 5)
    assert [str(dtype) for dtype in frame.dtypes] == ["float64"] * 4 + ["object"]
    assert to_matrix(rows(empty), features[:1]).shape == (0, 3)


def test_strings_follow_numbers_with_missing_ones_as_none_and_empty_text() -> None:
    features = [
        Feature("c", "category", "string"),
        Feature("t", "text", "string"),
        Feature("n", "numeric", "int"),
    ]
    frame = to_frame(pa.table({"c": ["a", None], "t": [None, "b c"], "n": [1, None]}), features)
    assert frame.columns.tolist() == ["n", "c", "t"]
    assert frame["c"].tolist() == ["a", None]
    assert frame["t"].tolist() == ["", "b c"]
    assert np.isnan(frame["n"][1])


def test_dictionary_and_large_strings_read_like_strings() -> None:
    feature = [Feature("c", "category", "string")]
    for type_ in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        column = pa.array(["a", None, "b"]).cast(type_)
        assert to_frame(pa.table({"c": column}), feature)["c"].tolist() == ["a", None, "b"]


def test_example_has_the_columns_of_real_rows() -> None:
    features = [
        Feature("d", "date", "date"),
        Feature("v", "vector", "array<double>", 2),
        Feature("one", "vector", "array<double>", 1),
        Feature("s", "timestamp", "timestamp"),
        Feature("b", "boolean", "boolean"),
        Feature("c", "category", "string"),
        Feature("t", "text", "string"),
    ]
    frame = example_frame(features)
    assert frame.columns.tolist() == ["d", "v_0", "v_1", "one_0", "s", "b", "c", "t"]
    assert frame.iloc[0].tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, None, ""]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["red", "blue", None], "category"),
        ([], "category"),
        ([None, ""], "category"),
        (["a room with a view", "the end of the affair", "of mice and men"], "text"),
        (["two words", "more words", "last words"], "category"),
        # Long, but the same few over and over: names of categories.
        (["does not apply here"] * 9 + ["applies here and there"], "category"),
        (["does not apply here", None, "applies here and there"], "text"),
    ],
)
def test_guess_between_categories_and_text(values: list[str | None], kind: FeatureKind) -> None:
    assert kind_of_strings(values) == kind


def test_a_vector_becomes_a_column_for_each_number() -> None:
    feature = Feature("v", "vector", "array<double>", 3)
    assert feature.columns == ["v_0", "v_1", "v_2"]
