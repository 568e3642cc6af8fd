"""The set of published labels that an audit is about: frozen when it is first asked about.

A label that an answer contradicts leaves ``OUT/labels`` and stays in the set: it is one of those
that the audit counts. Whatever else changes the labels makes another set.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from spark_pseudolabel.columns import LABEL
from spark_pseudolabel.store.following import published_batches
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import canonical_json, sha256
from spark_pseudolabel.store.review import ReviewManifest
from spark_pseudolabel.store.store import RoundStore


def standing(store: RoundStore) -> str:
    """Return a name of the labels as they stand, the same after answers that contradict some."""
    assert store.final is not None
    changes = [each.commit_id for each in store.reviews if _makes_another_set(each)]
    generations = Generations.read(store.files, store.root)
    named = {
        "end": store.final.commit_id,
        "changed": changes[-1] if changes else None,
        "generations": 1 if generations is None else _latest_with_labels(generations),
    }
    return sha256(canonical_json(named))


def _latest_with_labels(generations: Generations) -> int:
    """Return the latest generation that has added labels, or may be about to."""
    numbers = range(generations.count, 1, -1)
    return next((number for number in numbers if _may_have_labels(generations, number)), 1)


def _may_have_labels(generations: Generations, number: int) -> bool:
    ended = generations.end(number)
    return ended is None or ended[0].facts.outcome == "labeled"


def _makes_another_set(review: ReviewManifest) -> bool:
    by_people = any(step.by != "answers" for step in review.revoked)
    return by_people or review.published is not None


def frozen(store: RoundStore, after: int) -> Iterator[pa.Table]:
    """Yield keys and label of the set as it was after so many reviews.

    Only for a set whose name is still :func:`standing`.
    """
    for batch in published_batches(store, [LABEL]):
        yield pa.Table.from_batches([batch])
    for review in store.reviews[after:]:
        for step in review.revoked:
            yield read_bytes(store.read_file(step.rows))
