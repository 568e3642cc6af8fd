"""Records of arrays as rows of a table: what workers leave for a later step, or a later run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

Record = TypeVar("Record")

NUMBER = "number"
"""The column with the number of a record."""

_PREFIX = "of_"


def packed_schema(kind: type[Any]) -> pa.Schema:
    """Return the columns of a dataclass of arrays and whole numbers."""
    columns = [(_PREFIX + field.name, pa.binary()) for field in fields(kind)]
    return pa.schema([(NUMBER, pa.int32()), *columns])


def packed(number: int, record: Any) -> dict[str, int | bytes]:
    """Return a record as a row of its :func:`packed_schema`."""
    names = [field.name for field in fields(record)]
    return {NUMBER: number, **{_PREFIX + name: to_bytes(getattr(record, name)) for name in names}}


def unpacked(kind: type[Record], row: Mapping[str, Any]) -> tuple[int, Record]:
    """Return number and record of a row."""
    values = [from_bytes(row[_PREFIX + field.name]) for field in fields(kind)]  # type: ignore[arg-type]
    return row[NUMBER], kind(*(value[()] if value.ndim == 0 else value for value in values))


def to_bytes(values: Any) -> bytes:
    """Return an array or a number with its type and shape, in NumPy's own format."""
    sink = io.BytesIO()
    np.save(sink, np.asarray(values), allow_pickle=False)
    return sink.getvalue()


def from_bytes(data: bytes) -> Any:
    """Return what :func:`to_bytes` was given, as an array."""
    return np.load(io.BytesIO(data), allow_pickle=False)
