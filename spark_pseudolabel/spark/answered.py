"""What people have answered about rows of other runs, as labeled rows of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.reading.tables import Note
from spark_pseudolabel.store.answers import all_answers, codes_of
from spark_pseudolabel.store.store import RoundStore

_SHOWN = 3


@dataclass(frozen=True)
class Answers:
    """Answers by id.

    Parameters
    ----------
    ids
        Of rows that people have named one class for, each once.
    labels
        Their classes, in the same order.
    notes
        What was not taken.
    """

    ids: pa.Array
    labels: tuple[Label, ...]
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, given: pa.Table, key: str, labels: Mapping[object, Label]) -> Answers:
        """Leave out rows that have a given label, which wins; say where an answer differs.

        Parameters
        ----------
        given
            Rows with given labels.
        key
            The id column.
        labels
            The given label by id.
        """
        known = KeySet.of([given.column(key)]).contains([self.ids])
        if not known.any():
            return self
        ids = self.ids.filter(pa.array(known)).to_pylist()
        said = [label for label, is_known in zip(self.labels, known, strict=True) if is_known]
        differ = [id_ for id_, label in zip(ids, said, strict=True) if labels.get(id_) != label]
        notes = self.notes
        if differ:
            notes += (
                Note(
                    "answers_differ",
                    f"Answered rows with another given label: {len(differ):,}, such as "
                    f"{', '.join(map(str, differ[:_SHOWN]))}. The given label counts.",
                ),
            )
        return self.take(~known, notes)

    def take(
        self, which: np.ndarray[tuple[int], np.dtype[np.bool_]], notes: tuple[Note, ...]
    ) -> Answers:
        """Return some of the answers."""
        labels = [label for label, kept in zip(self.labels, which, strict=True) if kept]
        return Answers(self.ids.filter(pa.array(which)), tuple(labels), notes)


def read_answers(spark: SparkSession, outputs: Sequence[str], key: str) -> Answers:
    """Read what people have answered about the rows of other runs.

    Parameters
    ----------
    spark
        The session, whose file systems are used.
    outputs
        The outputs of these runs.
    key
        The id column, the same in all of them.

    Raises
    ------
    InputError
        If there is no run, its rows have another id, or nothing was answered.
    """
    said: dict[object, set[Label]] = {}
    for out in outputs:
        for id_, label in _of_output(spark, out, key):
            said.setdefault(id_, set()).add(label)
    agreed = {id_: next(iter(each)) for id_, each in said.items() if len(each) == 1}
    notes: tuple[Note, ...] = ()
    if len(agreed) < len(said):
        differ = [id_ for id_ in said if id_ not in agreed]
        notes = (
            Note(
                "answers_conflict",
                f"Rows with several answers that differ: {len(differ):,}, such as "
                f"{', '.join(map(str, differ[:_SHOWN]))}. None of these answers is used.",
            ),
        )
    return Answers(pa.array([*agreed]), tuple(agreed.values()), notes)


def _of_output(spark: SparkSession, out: str, key: str) -> list[tuple[object, Label]]:
    store = RoundStore.open(*files_for(spark, out))
    if store.settings.id != key:
        raise InputError(
            f"labeled.reviews {out!r} must have the ids of this run, {key!r}. Its rows are "
            f"identified by {store.settings.id or 'their place in files'}.",
            code="other_id",
            where=out,
        )
    answered: list[tuple[object, Label]] = []
    for each in all_answers(store):
        codes = codes_of(each.rows)
        rows = each.rows.column(key).filter(pa.array(codes >= 0)).to_pylist()
        classes = store.models[0].classes
        answered += zip(rows, [classes[code] for code in codes[codes >= 0]], strict=True)
    if not answered:
        raise InputError(
            f"labeled.reviews {out!r} must have answers. None were imported: `review export` "
            "writes rows to ask about, `review import` reads the answers.",
            code="no_answers",
            where=out,
        )
    return answered
