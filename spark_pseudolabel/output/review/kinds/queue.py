"""``--queue``: the rows without a label that are most worth a minute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import CONFIDENCE, LABEL, REASON
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.review_queue import best, shares, spread, uncertainty, without_copies
from spark_pseudolabel.output.review.features import Place, place_of_labeled, read_features
from spark_pseudolabel.output.review.finished import FinishedRun
from spark_pseudolabel.output.review.kind import Conclusion, Questions, ReviewKind, Wish
from spark_pseudolabel.output.review.vectors import fingerprints_of, vectors_of
from spark_pseudolabel.report.words import count
from spark_pseudolabel.store.answers import AnsweredSet, all_answers
from spark_pseudolabel.store.following import published_batches
from spark_pseudolabel.store.review import SKIPPED, Exported
from spark_pseudolabel.store.store import Attempt

MOST_COMPARED = 2_000
"""Rows up to which each is compared with all that are chosen; of more, copies come last."""
CANDIDATES = 8
"""Rows that are compared for each one that is wanted."""
KNOWN_ROWS = 500
"""Labeled rows that chosen ones are to be unlike: those with the lowest hash of their key."""
_SALT = 6_364_136_223_846_793_005
_KEPT_BEFORE_PRUNING = 400_000

STRANDS = ("low_margin", "disagreement", "far_from_labeled", "unstable", "abstained", "revoked")
"""Why a row is worth a look, as the queue says it."""
_STRAND_OF = {
    "below_cut": "low_margin",
    "not_used": "low_margin",
    "disagreement": "disagreement",
    "withheld": "far_from_labeled",
    "unstable": "unstable",
    "abstained": "abstained",
    "revoked": "revoked",
}


class Queue(ReviewKind):
    """Rows that models are unsure of, disagree on or know nothing like, of every class."""

    name = "queue"
    predicts = True

    def ask(self, run: FinishedRun, wish: Wish) -> Questions:
        """Choose rows of ``OUT/undecided`` that nobody has answered."""
        candidates = _candidates(run, wish.rows)
        chosen = _chosen(run, candidates, wish)
        rows = candidates.rows.take(pa.array(chosen))
        identity = {"wanted": wish.rows, "after": _last_change(run)}
        return Questions(rows=_told(run, rows, candidates.strand[chosen]), identity=identity)

    def conclude(
        self, run: FinishedRun, exported: Exported, answers: AnsweredSet, attempt: Attempt
    ) -> Conclusion:
        """Count how often people agree with what was suggested."""
        skipped = int(answers.rows.column(SKIPPED).to_numpy().sum())
        answered = answers.rows.num_rows - skipped
        return Conclusion(
            text=(
                f"{count(answered)} of {count(exported.rows)} rows are answered"
                + (f", {count(skipped)} skipped" if skipped else "")
                + ". They are labels of the next run that names them.",
            )
        )


def _last_change(run: FinishedRun) -> str | None:
    """Return the last commit after which other rows are worth asking."""
    changes = [each for each in run.store.reviews if each.answered or each.changes_labels]
    return changes[-1].commit_id if changes else None


# --- candidates


@dataclass(frozen=True)
class _Candidates:
    """Rows without a label.

    Parameters
    ----------
    rows
        As ``OUT/undecided`` has them.
    strand, code
        ndarrays of shape (n_rows,): index in `STRANDS`, and of the predicted class, -1 for none.
    worth
        ndarray of shape (n_rows,): how unsure the model is, in [0, 1].
    ties
        ndarray of shape (n_rows,): a hash of the key.
    """

    rows: pa.Table
    strand: NDArray[np.int64]
    code: NDArray[np.int64]
    worth: NDArray[np.float64]
    ties: NDArray[np.int64]

    @classmethod
    def of(cls, run: FinishedRun, rows: pa.Table) -> _Candidates:
        reasons = pa.array([_STRAND_OF.get(r, "low_margin") for r in _distinct(rows)], pa.string())
        place = pc.index_in(rows.column(REASON), value_set=pa.array(_distinct(rows), pa.string()))
        strand = pc.index_in(reasons, value_set=pa.array(STRANDS)).to_numpy(zero_copy_only=False)
        confidence = rows.column(CONFIDENCE).to_numpy().astype(np.float64)
        keys = [rows.column(key) for key in run.keys]
        return cls(
            rows,
            strand[np.asarray(place)].astype(np.int64) if rows.num_rows else np.zeros(0, np.int64),
            run.codes(rows.column(LABEL)),
            uncertainty(confidence, len(run.classes)),
            xxhash64([*keys, run.random_state, _SALT]),
        )

    def take(self, places: NDArray[np.int64]) -> _Candidates:
        return _Candidates(
            self.rows.take(pa.array(places)),
            self.strand[places],
            self.code[places],
            self.worth[places],
            self.ties[places],
        )

    @property
    def groups(self) -> NDArray[np.int64]:
        """A number for each strand and class."""
        n_classes = int(self.code.max(initial=0)) + 2
        numbers: NDArray[np.int64] = self.strand * n_classes + self.code + 1
        return numbers


def _distinct(rows: pa.Table) -> list[str]:
    return [str(value) for value in pc.unique(rows.column(REASON)).to_pylist()]


def _candidates(run: FinishedRun, n: int) -> _Candidates:
    """Return of each strand and class the rows worth most, in bounded memory."""
    answered = [each.rows.select(run.keys) for each in all_answers(run.store)]
    known = KeySet.of(
        pa.concat_tables(answered, promote_options="permissive").columns
        if answered
        else [pa.array([], pa.string()) for _ in run.keys]
    )
    per_group = n * (CANDIDATES if n <= MOST_COMPARED else 2)
    kept: list[pa.Table] = []
    waiting = 0
    for batch in _undecided(run):
        fresh = ~known.contains([batch.column(key) for key in run.keys])
        kept.append(pa.Table.from_batches([batch.filter(pa.array(fresh))]))
        waiting += kept[-1].num_rows
        if waiting > max(_KEPT_BEFORE_PRUNING, 4 * per_group):
            kept = [_pruned(run, pa.concat_tables(kept), per_group).rows]
            waiting = 0
    if not kept:
        kept = [_undecided_schema(run).empty_table()]
    return _pruned(run, pa.concat_tables(kept), per_group)


def _pruned(run: FinishedRun, rows: pa.Table, per_group: int) -> _Candidates:
    candidates = _Candidates.of(run, rows)
    groups = candidates.groups
    order = np.lexsort((candidates.ties, -candidates.worth, groups))
    rank = _rank_in(groups[order])
    return candidates.take(order[rank < per_group])


def _rank_in(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each place's rank in its run of equal numbers."""
    starts = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    lengths = np.diff(np.append(starts, len(groups)))
    rank: NDArray[np.int64] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return rank


def _undecided_schema(run: FinishedRun) -> pa.Schema:
    fields = [pa.field(LABEL, pa.string()), pa.field(CONFIDENCE, pa.float64())]
    return pa.schema([*run.key_schema, *fields, pa.field(REASON, pa.string())])


def _undecided(run: FinishedRun) -> Iterator[pa.RecordBatch]:
    names = [LABEL, CONFIDENCE, REASON]
    yield from published_batches(run.store, names, "undecided")


# --- the choice


def _chosen(run: FinishedRun, candidates: _Candidates, wish: Wish) -> NDArray[np.int64]:
    """Return places of the chosen rows, in the order in which they are asked."""
    by_strand = [np.flatnonzero(candidates.strand == number) for number in range(len(STRANDS))]
    # Half of the places are for rows that the model is unsure of; the rest is shared evenly.
    unsure = min(len(by_strand[0]), max(wish.rows - sum(map(len, by_strand[1:])), wish.rows // 2))
    more = shares(wish.rows - unsure, [len(places) for places in by_strand[1:]])
    unsure = min(len(by_strand[0]), wish.rows - sum(more))
    groups = [
        group
        for places, n in zip(by_strand, [unsure, *more], strict=True)
        for group in _by_class(candidates, places, n)
    ]
    known = _known(run, wish.place) if wish.place is not None else None
    picked = [_picked(run, candidates, places, n, wish, known) for places, n in groups if n]
    if not picked:
        return np.zeros(0, dtype=np.int64)
    # In turns, so that whoever stops early has seen something of everything.
    turn = np.concatenate([np.arange(len(places)) for places in picked])
    group = np.concatenate([np.full(len(places), number) for number, places in enumerate(picked)])
    order: NDArray[np.int64] = np.concatenate(picked)[np.lexsort((group, turn))]
    return order


def _by_class(
    candidates: _Candidates, places: NDArray[np.int64], n: int
) -> list[tuple[NDArray[np.int64], int]]:
    """Share places of one strand out over the predicted classes."""
    codes = candidates.code[places]
    of_class = [places[codes == code] for code in np.unique(codes)]
    return list(zip(of_class, shares(n, [len(each) for each in of_class]), strict=True))


def _picked(
    run: FinishedRun,
    candidates: _Candidates,
    places: NDArray[np.int64],
    n: int,
    wish: Wish,
    known: pa.Table | None,
) -> NDArray[np.int64]:
    """Choose among rows of one strand and class."""
    worth, ties = candidates.worth[places], candidates.ties[places]
    order = best(worth, ties, len(places))
    if wish.place is None:
        return places[order[:n]]
    compared = wish.rows <= MOST_COMPARED
    order = order[: CANDIDATES * n if compared else 2 * n]
    rows = _features(run, candidates, places[order], wish.place)
    if rows is None:
        return places[order[:n]]
    if not compared:
        return places[without_copies(fingerprints_of(rows), order)[:n]]
    together = rows if known is None else _stacked(rows, known)
    X = vectors_of(together)
    # Not 0: the surest row, too, may be the only one of its sort.
    chosen = spread(X[: len(order)], worth[order] + 0.05, ties[order], n, X[len(order) :])
    return places[order[chosen]]


def _stacked(rows: pa.Table, known: pa.Table) -> pa.Table:
    names = [name for name in rows.column_names if name in known.column_names]
    try:
        return pa.concat_tables(
            [rows.select(names), known.select(names)], promote_options="permissive"
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return rows


def _features(
    run: FinishedRun, candidates: _Candidates, places: NDArray[np.int64], place: Place
) -> pa.Table | None:
    """Return the features of candidates, in their order; None where some can't be found."""
    keys = candidates.rows.select(run.keys).take(pa.array(places))
    found = [*read_features(run, place, KeySet.of(keys.columns))]
    if sum(len(each.places) for each in found) != len(places):
        return None
    rows = pa.concat_tables([each.rows for each in found], promote_options="permissive")
    return rows.take(pa.array(np.argsort(np.concatenate([each.places for each in found]))))


def _known(run: FinishedRun, place: Place) -> pa.Table | None:
    """Return some labeled rows with their features; None where they can't be read."""
    labeled = place_of_labeled(run, place)
    if labeled is None:
        return None
    keys = run.given_keys.select(run.keys)
    hashes = xxhash64([*keys.columns, run.random_state])
    some = keys.take(pa.array(np.argsort(hashes, kind="stable")[:KNOWN_ROWS]))
    found = [each.rows for each in read_features(run, labeled, KeySet.of(some.columns))]
    return pa.concat_tables(found, promote_options="permissive") if found else None


def _told(run: FinishedRun, rows: pa.Table, strand: NDArray[np.int64]) -> pa.Table:
    """Return keys and predictions, as people see them."""
    names = pa.array([*run.class_names], pa.string())
    codes = run.codes(rows.column(LABEL))
    labels = names.take(pa.array(codes, mask=codes < 0))
    told = rows.select(run.keys).append_column(LABEL, labels)
    told = told.append_column(CONFIDENCE, rows.column(CONFIDENCE))
    return told.append_column(REASON, pa.array(STRANDS, pa.string()).take(pa.array(strand)))
