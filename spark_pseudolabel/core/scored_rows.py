"""The columns that travel with a scored row, declared once for every backend.

A new one is a line here, and is filled where scores are made (:mod:`.kernel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    HIGHEST,
    INVALID,
    LOWEST,
    RAW_SCORE,
    SCORE,
    VALUE,
    VOTED,
)


@dataclass(frozen=True)
class Carried:
    """Which of the columns scored rows have.

    Parameters
    ----------
    raw
        Whether the model's own confidence stands beside an adjusted one.
    probabilities
        Whether those of all classes are kept.
    votes
        Whether it is kept which rules have voted.
    numbers
        Whether labels are numbers, which stand beside the one class, with their bounds.
    """

    raw: bool = False
    probabilities: bool = False
    votes: bool = False
    numbers: bool = False


OUTSIDE = "withheld: no labeled row is near it"
UNSTABLE = "unstable: corrupted copies of it get another label"
DISAGREEMENT = "disagreement: members of the model name other labels"
"""Reasons of a row with a score that may not be accepted."""


@dataclass(frozen=True)
class Withheld:
    """Rows with a score that may not be accepted, by reason.

    Parameters
    ----------
    outside
        No labeled row is near.
    unstable
        Corrupted copies get another label.
    disagreement
        Members of the model name other labels.
    """

    outside: int = 0
    unstable: int = 0
    disagreement: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.outside + self.unstable + self.disagreement

    def __add__(self, other: Withheld) -> Withheld:
        return Withheld(
            self.outside + other.outside,
            self.unstable + other.unstable,
            self.disagreement + other.disagreement,
        )

    @classmethod
    def of(cls, reasons: Iterable[tuple[str, int]]) -> Withheld:
        """Count by reason, each with its rows."""
        n = {UNSTABLE: 0, DISAGREEMENT: 0, OUTSIDE: 0}
        for reason, rows in reasons:
            n[reason if reason in n else OUTSIDE] += rows
        return cls(n[OUTSIDE], n[UNSTABLE], n[DISAGREEMENT])


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
    _Column(VOTED, pa.list_(pa.int16()), lambda carried: carried.votes),
    _Column(VALUE, pa.float64(), lambda carried: carried.numbers),
    _Column(LOWEST, pa.float64(), lambda carried: carried.numbers),
    _Column(HIGHEST, pa.float64(), lambda carried: carried.numbers),
)


def label_columns(names: Sequence[str]) -> list[str]:
    """Return which columns of scored rows say what the label is."""
    return [name for name in (CODE, VALUE) if name in names]


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


def withheld_among(rows: pa.Table) -> Withheld:
    """Count the scored rows that have both a class and a reason, by reason."""
    reasons = rows.column(INVALID).filter(rows.column(CODE).is_valid()).drop_null()
    pairs = pc.value_counts(reasons).to_pylist()
    return Withheld.of((pair["values"], pair["counts"]) for pair in pairs)
