"""Rows of the pool that people have answered, which are labeled rows then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_pseudolabel.columns import CODE, HASH
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.teachers.training import Label, class_codes
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.answered import Answers
from spark_pseudolabel.spark.inputs.facts import GROUP
from spark_pseudolabel.spark.inputs.ids import frame_like
from spark_pseudolabel.spark.reading.collecting import collect
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.tables import Note, Table, reasons_of
from spark_pseudolabel.wording import agreeing, counted


@dataclass(frozen=True)
class LabeledRows:
    """Rows with true labels, and the labels."""

    labeled: pa.Table
    validation: pa.Table
    classes: tuple[Label, ...]


@dataclass(frozen=True)
class AnsweredRows:
    """Labeled rows of which some were rows of the pool that people have answered.

    Parameters
    ----------
    labeled
        Labeled and validation rows, and all labels.
    ids
        Of the answered rows.
    notes
        What was not taken.
    """

    labeled: tuple[pa.Table, pa.Table, tuple[Label, ...]]
    ids: pa.Array
    notes: tuple[Note, ...]

    def among(self, labeled: pa.Table, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Return which labeled rows are answered ones."""
        return KeySet.of([self.ids]).contains([labeled.column(keys[0])])


@reading("unlabeled")
def add_answers(
    spark: SparkSession,
    pool: Table,
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    given: LabeledRows,
    answers: Answers,
) -> AnsweredRows:
    """Fetch answered rows from the pool and add them to the labeled ones, sorted by id again."""
    key = keys[0]
    with_labels = pa.concat_tables(
        [rows.select([key, CODE]) for rows in (given.labeled, given.validation)]
    )
    of_given = dict(
        zip(
            with_labels.column(key).to_pylist(),
            [
                given.classes[code] if code >= 0 else None
                for code in with_labels.column(CODE).to_pylist()
            ],
            strict=True,
        )
    )
    answers = answers.without(with_labels, key, of_given)
    _require_same_kind(answers.labels, given.classes)
    wanted = pa.table({key: answers.ids.cast(with_labels.schema.field(key).type)})
    found = _rows_with(spark, pool, config, keys, features, wanted)
    place = KeySet.of([wanted.column(key)]).find([found.column(key)])
    labels = [answers.labels[i] for i in place.tolist()]
    classes = tuple(np.unique(np.asarray([*given.classes, *labels])).tolist())
    recoded = pa.array([classes.index(label) for label in given.classes], pa.int32())
    parts = [_recoded(rows, recoded) for rows in (given.labeled, given.validation)]
    coded = found.append_column(CODE, pa.array(class_codes(labels, classes)))
    hashes = xxhash64([*[coded.column(k) for k in keys], config.random_state])
    coded = coded.append_column(HASH, pa.array(hashes))
    both = pa.concat_tables(
        [parts[0], coded.select(parts[0].column_names)], promote_options="permissive"
    )
    order = pa.compute.sort_indices(both, sort_keys=[(k, "ascending") for k in keys])
    notes = answers.notes + _not_in_pool(len(answers) - found.num_rows)
    return AnsweredRows(
        (both.take(order), parts[1], classes), found.column(key).combine_chunks(), notes
    )


def _require_same_kind(labels: Sequence[Label], classes: Sequence[Label]) -> None:
    kinds = {type(label).__name__ for label in labels} - {type(classes[0]).__name__}
    if kinds:
        raise InputError(
            f"labeled.reviews must have labels of the same type as labeled: {classes[0]!r} is one "
            f"of these, and {labels[0]!r} was answered.",
            code="type_differs",
            where="labeled.reviews",
        )


def _recoded(rows: pa.Table, codes: pa.Array) -> pa.Table:
    """Number labels anew, where answers name labels that no labeled row has."""
    before = rows.column(CODE)
    known = pa.compute.if_else(pa.compute.less(before, 0), None, before)
    place = rows.column_names.index(CODE)
    return rows.set_column(place, CODE, codes.take(known).fill_null(-1))


def _rows_with(
    spark: SparkSession,
    pool: Table,
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    wanted: pa.Table,
) -> pa.Table:
    """Collect the rows of the pool with some ids: keys, features and the group."""
    rows = pool.rows
    for reason in reasons_of(rows):
        rows = rows.filter(reason.isNull())
    ids = F.broadcast(frame_like(spark, wanted, pool.schema))
    chosen = Table.of_rows(pool.name, rows.join(ids, on=list(keys), how="left_semi"))
    group = config.group
    renamed = {GROUP: group} if group is not None and group in pool.schema.names else {}
    found = collect(chosen, keys, features, renamed)
    if group is not None and not renamed:
        found = found.append_column(GROUP, pa.nulls(found.num_rows, pa.string()))
    return found


def _not_in_pool(n: int) -> tuple[Note, ...]:
    if n <= 0:
        return ()
    return (
        Note(
            "answers_not_in_pool",
            f"{counted(n, 'answered row')} {agreeing(n, 'is', 'are')} not in unlabeled: the "
            "features are not known here, and nothing is learned from the answers.",
        ),
    )
