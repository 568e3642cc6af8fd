"""The columns that travel with a scored row, declared once for every backend.

A new one is a line here, and is filled where scores are made (:mod:`.kernel`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import CLASS_SCORES, CODE, INVALID, RAW_SCORE, SCORE


@dataclass(frozen=True)
class Carried:
    """Which of the columns scored rows have.

    Parameters
    ----------
    raw
        Whether the model's own confidence stands beside an adjusted one.
    probabilities
        Whether those of all classes are kept.
    """

    raw: bool = False
    probabilities: bool = False


@dataclass(frozen=True)
class _Column:
    name: str
    type: pa.DataType
    is_carried: Callable[[Carried], bool] = lambda carried: True


_COLUMNS = (
    _Column(CODE, pa.int32()),
    _Column(SCORE, pa.float64()),
    _Column(INVALID, pa.string()),
    _Column(RAW_SCORE, pa.float64(), lambda carried: carried.raw),
    _Column(CLASS_SCORES, pa.list_(pa.float64()), lambda carried: carried.probabilities),
)


def scored_fields(carried: Carried) -> list[pa.Field]:
    """Return name and type of the columns beside the keys, in their order."""
    return [pa.field(column.name, column.type) for column in _COLUMNS if column.is_carried(carried)]


def is_invalid(rows: pa.Table) -> NDArray[np.bool_]:
    """Return which scored rows could not be scored: a reason in place of a class.

    A reason beside a class withholds the row; neither of them means that the model abstained.
    """
    no_class, reason = rows.column(CODE).is_null(), rows.column(INVALID).is_valid()
    invalid: NDArray[np.bool_] = pc.and_(no_class, reason).to_numpy()
    return invalid


def has_abstained(rows: pa.Table) -> NDArray[np.bool_]:
    """Return on which scored rows the model has abstained: neither a class nor a reason."""
    no_class, no_reason = rows.column(CODE).is_null(), rows.column(INVALID).is_null()
    abstained: NDArray[np.bool_] = pc.and_(no_class, no_reason).to_numpy()
    return abstained
