"""The published tables of a run, made from its narrow rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    CONFIDENCE,
    HASH,
    HIGHEST,
    IN_ROUND,
    INVALID,
    LABEL,
    LABELED,
    LOWER,
    LOWEST,
    MODEL,
    PROBABILITIES,
    PSEUDO,
    RAW_CONFIDENCE,
    RAW_SCORE,
    REASON,
    ROUND,
    SCORE,
    SOURCE,
    UPPER,
    VALUE,
    WEIGHT,
)
from spark_pseudolabel.core.sampling import HashLimits, within
from spark_pseudolabel.core.scored_rows import (
    DISAGREEMENT,
    UNSTABLE,
    has_abstained,
    is_invalid,
)
from spark_pseudolabel.core.selection.apply import accepted_mask
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.teachers.weights import RowWeights

if TYPE_CHECKING:
    from spark_pseudolabel.core.teachers.training import Label


@dataclass(frozen=True)
class Published:
    """How accepted rows become published ones.

    Parameters
    ----------
    schema
        Of the published table; its columns are filled by their names.
    classes
        Labels by class index.
    keys
        Key columns.
    weights
        Of the rows that the final model was trained on.
    hash_limits
        Which rows that were, see :func:`spark_pseudolabel.core.sampling.within`.
    taught
        By round, the plan that they had to pass besides, where it is not the round's own.
    model
        What models are called, by their number.
    """

    schema: pa.Schema
    classes: tuple[Label, ...]
    keys: tuple[str, ...]
    weights: RowWeights
    hash_limits: HashLimits
    taught: Mapping[int, Plan] = field(default_factory=dict)
    model: str = "model-{:04d}"

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Turn accepted rows into rows of the schema."""
        rounds = rows.column(IN_ROUND).to_numpy()
        columns = {
            LABEL: labels_of(rows, self.classes, self.schema.field(LABEL).type),
            CONFIDENCE: rows.column(SCORE),
            ROUND: rows.column(IN_ROUND),
            MODEL: self._models(rounds),
            WEIGHT: pa.array(self._weights(rows, rounds)),
            SOURCE: pa.repeat(PSEUDO, rows.num_rows),
        }
        if RAW_SCORE in rows.column_names:
            columns[RAW_CONFIDENCE] = rows.column(RAW_SCORE)
        for name, column in (
            (PROBABILITIES, CLASS_SCORES),
            (LOWER, LOWEST),
            (UPPER, HIGHEST),
        ):
            if column in rows.column_names:
                columns[name] = rows.column(column)
        return _filled(self.schema, columns, rows)

    def given(self, labeled: pa.Table) -> pa.Table:
        """Turn labeled rows into rows of the schema."""
        n_rows = labeled.num_rows
        columns = {
            LABEL: labels_of(labeled, self.classes, self.schema.field(LABEL).type),
            WEIGHT: pa.repeat(1.0, n_rows),
            SOURCE: pa.repeat(LABELED, n_rows),
            ROUND: pa.repeat(0, n_rows),
        }
        return _filled(self.schema, columns, labeled)

    def _weights(
        self, rows: pa.Table, rounds: np.ndarray[tuple[int], np.dtype[np.int32]]
    ) -> NDArray[np.float64]:
        trained = within(
            rows.column(CODE).to_numpy(), rows.column(HASH).to_numpy(), self.hash_limits
        )
        for number, plan in self.taught.items():
            trained &= (rounds != number) | accepted_mask(plan, rows, self.keys)
        weights = np.zeros(rows.num_rows)
        confidence = rows.column(SCORE).to_numpy()
        weights[trained] = self.weights.of(confidence[trained], rounds[trained])
        return weights

    def _models(self, rounds: np.ndarray[tuple[int], np.dtype[np.int32]]) -> pa.Array:
        numbers, place = np.unique(rounds, return_inverse=True)
        names = pa.array([self.model.format(number) for number in numbers], pa.string())
        return names.take(pa.array(place))


@dataclass(frozen=True)
class Unscored:
    """Take the rows that could not be scored out of scored ones."""

    schema: pa.Schema

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Turn scored rows into rows of the schema."""
        invalid = rows.filter(pa.array(is_invalid(rows)))
        columns = {REASON: invalid.column(INVALID), ROUND: invalid.column(IN_ROUND)}
        return _filled(self.schema, columns, invalid)


BELOW_CUT, WITHHELD, NOT_USED = "below_cut", "withheld", "not_used"
_WITHHELD_AS = {UNSTABLE: "unstable", DISAGREEMENT: "disagreement"}
ABSTAINED = "abstained"
"""Why a row that was scored has no label; not used: the guard has discarded every round."""


@dataclass(frozen=True)
class Undecided:
    """Take the rows that are not invalid and got no label out of scored ones.

    Parameters
    ----------
    schema
        Of the published table.
    classes
        Labels by class index.
    keys
        Key columns.
    plan
        The decision of the last round that is used; None where none is, and nothing was accepted.
    """

    schema: pa.Schema
    classes: tuple[Label, ...]
    keys: tuple[str, ...]
    plan: Plan | None

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Turn scored rows into rows of the schema."""
        undecided = rows.filter(pa.array(~is_invalid(rows)))
        if self.plan is not None:
            undecided = undecided.filter(pa.array(~accepted_mask(self.plan, undecided, self.keys)))
        # A reason beside a score: the row was withheld, whatever the plan says.
        told = undecided.column(INVALID)
        why = NOT_USED if self.plan is None else BELOW_CUT
        reason = np.where(told.is_valid().to_numpy(), WITHHELD, why)
        for text, name in _WITHHELD_AS.items():
            reason = np.where(pc.equal(told, text).fill_null(False).to_numpy(), name, reason)
        reason = np.where(has_abstained(undecided), ABSTAINED, reason)
        columns = {
            # None where the model abstained.
            LABEL: labels_of(undecided, self.classes, self.schema.field(LABEL).type),
            CONFIDENCE: undecided.column(SCORE),
            REASON: pa.array(reason, pa.string()),
        }
        return _filled(self.schema, columns, undecided)


def labels_of(rows: pa.Table, classes: Sequence[Label], kind: pa.DataType) -> pa.ChunkedArray:
    """Return the labels of scored or labeled rows: numbers, or what class indices stand for."""
    if VALUE in rows.column_names:
        return rows.column(VALUE)
    return pa.array(classes, kind).take(rows.column(CODE))


def _filled(
    schema: pa.Schema, made: dict[str, pa.Array | pa.ChunkedArray], rows: pa.Table
) -> pa.Table:
    """Build a table of the schema; what is not `made` comes from `rows`."""
    columns = [made[name] if name in made else rows.column(name) for name in schema.names]
    return pa.table(
        [
            # A moment may lose its nanoseconds; a number that does not fit is an error of ours.
            column.cast(field.type, safe=not pa.types.is_temporal(field.type))
            for column, field in zip(columns, schema, strict=True)
        ],
        schema=schema,
    )
