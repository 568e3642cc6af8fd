"""What people have answered so far: all imports of a run, the later ones before the earlier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.store.following import key_columns
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.review import Exported
from spark_pseudolabel.store.store import RoundStore


@dataclass(frozen=True)
class AnsweredSet:
    """The answers to one exported set, each row once, or to none.

    Parameters
    ----------
    kind, set
        Of the rows; None for answers to no exported set.
    rows
        Keys, `ORDER` (null where no set was exported), the class as an index (null where skipped)
        and `SKIPPED`; in no particular order.
    """

    kind: str | None
    set: str | None
    rows: pa.Table


def answers_of(store: RoundStore, of_set: str | None) -> AnsweredSet | None:
    """Return the answers to a set; None where there are none yet."""
    return next((each for each in all_answers(store) if each.set == of_set), None)


def all_answers(store: RoundStore) -> list[AnsweredSet]:
    """Return all answers by set, in the order of their first import."""
    tables: dict[str | None, list[pa.Table]] = {}
    kinds: dict[str | None, str | None] = {}
    for review in store.reviews:
        for step in review.answered:
            kinds.setdefault(step.set, step.kind)
            tables.setdefault(step.set, []).append(read_bytes(store.read_file(step.answers)))
    keys = key_columns(store)
    return [AnsweredSet(kinds[name], name, latest(tables[name], keys)) for name in tables]


def latest(tables: Sequence[pa.Table], keys: Sequence[str]) -> pa.Table:
    """Return each row once, as the last table that has it says."""
    together = pa.concat_tables(list(reversed(tables)), promote_options="permissive")
    _, first = np.unique(KeySet.ranks([together.column(key) for key in keys]), return_index=True)
    return together.take(pa.array(np.sort(first)))


def asked_rows(store: RoundStore, exported: Exported) -> pa.Table:
    """Return the keys of an exported set, and `ORDER`, in that order."""
    return read_bytes(store.read_file(exported.asked))


def exported_sets(store: RoundStore) -> list[Exported]:
    """Return the sets that people were asked about, each as it was exported last."""
    sets: dict[str, Exported] = {}
    for review in store.reviews:
        if review.exported is not None:
            sets[review.exported.set] = review.exported
    return list(sets.values())


def codes_of(rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the answered classes as indices, -1 where none is named."""
    codes: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        rows.column(CODE).cast(pa.int64()).fill_null(-1).to_numpy()
    )
    return codes
