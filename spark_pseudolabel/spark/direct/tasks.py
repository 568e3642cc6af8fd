"""What the tasks of a round do: plain functions of a part, tried without Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, HASH, IN_ROUND, INVALID, POSITION, SCORE
from spark_pseudolabel.core.counts import Bin, Counts, Key, Tie, Values, bin_of
from spark_pseudolabel.core.decide import accepted_mask, candidate_codes
from spark_pseudolabel.core.hashing import xor_all, xxhash64
from spark_pseudolabel.core.kernel import Scorer, score_any, score_batch
from spark_pseudolabel.core.metrics import confusion, p_of_true
from spark_pseudolabel.core.rules import Plan
from spark_pseudolabel.core.sampling import within
from spark_pseudolabel.core.splits import Part, Piece
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.spark.direct.narrow import (
    Written,
    name_of,
    piece_name,
    read_narrow,
    write_narrow,
)
from spark_pseudolabel.spark.direct.source import Mask, Source, read_part

if TYPE_CHECKING:
    from spark_pseudolabel.core.training import Label

Limits = Sequence[int | None] | None
"""Per class the highest hash that is used, None for no row of it; None for all rows."""


@dataclass(frozen=True)
class Earlier:
    """What the round before made of a piece.

    Parameters
    ----------
    part
        Of which it is a piece.
    path
        Its scored rows.
    plan
        Its decision.
    """

    part: Part
    path: str
    plan: Plan


@dataclass(frozen=True)
class ScoredPiece:
    """A piece of a part after scoring.

    Parameters
    ----------
    file
        Its scored rows; None if there were none.
    cells, n
        How many valid rows (`n`) each cell class * BINS + bin (`cells`) holds.
    invalid
        Rows without a score.
    why_invalid
        The reason of the first of them.
    withheld
        Rows with a score that may not be accepted.
    """

    file: Written | None
    cells: NDArray[np.int32]
    n: NDArray[np.int32]
    invalid: int
    why_invalid: str | None = None
    withheld: int = 0


@dataclass(frozen=True)
class AcceptedPiece:
    """A piece after the decision.

    Parameters
    ----------
    file
        Its accepted rows; None if there are none.
    by_code
        Rows per class.
    xor_a, xor_b
        Two hashes over all of them.
    again, changed
        Rows that were accepted in the round before, too, and those with another label then.
    """

    file: Written | None
    by_code: NDArray[np.int64]
    xor_a: int
    xor_b: int
    again: int
    changed: int


def score_piece(
    task: Piece | Earlier, source: Source, scorer: Scorer, number: int, folder: str
) -> ScoredPiece:
    """Score the rows of a piece, all of them or those that are left, and write what came out."""
    if isinstance(task, Earlier):
        part, name, source = task.part, piece_name(task.path), source.unconditional
        keep = rows_left(task, source.keys)
    else:
        part, name = task.part, name_of(task)
        keep = np.zeros(part.rows, dtype=bool)
        keep[task.start : task.stop] = True
    with hold_threads(task_cores()):
        scored = [
            _with_place(score_batch(rows.batch, scorer), number, rows.positions)
            for rows in read_part(source, part, keep=keep)
        ]
    if not scored:
        nothing = np.zeros(0, dtype=np.int32)
        return ScoredPiece(None, nothing, nothing, 0)
    rows = pa.Table.from_batches(scored)
    codes, valid = candidate_codes(rows), rows.column(CODE).is_valid()
    confidence = rows.column(SCORE).fill_null(np.nan).to_numpy()
    n = Counts.of(len(scorer.model.classes_), codes, confidence).n.ravel()
    cells = np.flatnonzero(n)
    return ScoredPiece(
        write_narrow(folder, name, rows),
        cells.astype(np.int32),
        n[cells].astype(np.int32),
        rows.column(CODE).null_count,
        next(iter(rows.column(INVALID).filter(pc.invert(valid)).slice(0, 1).to_pylist()), None),
        int((valid.to_numpy() & (codes < 0)).sum()),
    )


def rows_left(earlier: Earlier, keys: Sequence[str]) -> Mask:
    """Return which rows of a part were scored in a piece of it and rejected."""
    scored = read_narrow(earlier.path, [*keys, CODE, SCORE, INVALID, POSITION])
    rejected = scored.column(CODE).is_valid().to_numpy() & ~accepted_mask(
        earlier.plan, scored, keys
    )
    keep = np.zeros(earlier.part.rows, dtype=bool)
    keep[scored.column(POSITION).to_numpy()[rejected]] = True
    return keep


def accept_piece(
    path: str,
    before: Sequence[str],
    plan: Plan,
    keys: Sequence[str],
    n_classes: int,
    random_state: int,
    folder: str,
) -> AcceptedPiece:
    """Take the accepted rows out of a file of scored ones.

    Parameters
    ----------
    path
        The scored rows.
    before
        Files of the rows that an earlier round accepted in this part of the pool.
    plan
        The decision.
    keys
        Key columns.
    n_classes, random_state
        Number of classes, seed of the row hash.
    folder
        Where the accepted rows go.
    """
    scored = read_narrow(path)
    accepted = scored.filter(pa.array(accepted_mask(plan, scored, keys))).drop_columns([INVALID])
    codes = accepted.column(CODE)
    row = xxhash64([accepted.column(key) for key in keys])
    labeled = xxhash64([codes], start=row)
    file = None
    if accepted.num_rows:
        rows = accepted.append_column(HASH, pa.array(xxhash64([random_state], start=row)))
        file = write_narrow(folder, piece_name(path), rows)
    return AcceptedPiece(
        file,
        np.bincount(codes.to_numpy(), minlength=n_classes),
        xor_all(labeled),
        xor_all(xxhash64([pa.array(labeled)])),
        *_compared(accepted, before),
    )


def _compared(accepted: pa.Table, before: Sequence[str]) -> tuple[int, int]:
    """Count rows that earlier files of the same part hold, and those with another label there."""
    if not before:
        return 0, 0
    earlier = pa.concat_tables([read_narrow(path, [POSITION, CODE]) for path in before])
    (place, codes), (old_place, old_codes) = (
        [rows.column(name).to_numpy() for name in (POSITION, CODE)] for rows in (accepted, earlier)
    )
    found = np.full(max(place.max(initial=0), old_place.max(initial=0)) + 1, -1, dtype=np.int32)
    found[old_place] = old_codes
    again = found[place] >= 0
    return int(again.sum()), int((again & (found[place] != codes)).sum())


def values_in_bins(path: str, bins: Sequence[Bin]) -> list[Values]:
    """Return the distinct confidences inside each of some bins, and their counts."""
    rows = read_narrow(path, [CODE, SCORE, INVALID])
    codes, confidence = _scores(rows)
    in_bin = bin_of(confidence)
    return [
        np.unique(confidence[np.isin(codes, one.codes) & (in_bin == one.bin)], return_counts=True)
        for one in bins
    ]


def lowest_keys(path: str, ties: Sequence[Tie], keys: Sequence[str]) -> list[list[Key]]:
    """Return up to `n` of the lowest keys of each tie, ascending."""
    rows = read_narrow(path, [*keys, CODE, SCORE, INVALID])
    codes, confidence = _scores(rows)
    found = []
    for tie in ties:
        tied = np.isin(codes, tie.codes) & (confidence == tie.confidence)
        there = rows.filter(pa.array(tied)).select(list(keys))
        lowest = there.sort_by([(key, "ascending") for key in keys]).slice(0, tie.n)
        found.append([tuple(row.values()) for row in lowest.to_pylist()])
    return found


def sample_part(part: Part, source: Source, limit: int | None, random_state: int) -> bytes:
    """Read the rows of a part whose hash is at most the limit, with the hash.

    Parameters
    ----------
    part, source
        The part.
    limit
        The highest hash of a row's key that is taken; None for all rows.
    random_state
        Seed of the hash.

    Returns
    -------
    bytes
        An Arrow stream; empty if there are no such rows.
    """

    def hashes(rows: pa.RecordBatch) -> NDArray[np.int64]:
        return xxhash64([*[rows.column(key) for key in source.keys], random_state])

    keep = np.zeros(part.rows, dtype=bool)
    for rows in read_part(source, part, features=()):
        drawn = slice(None) if limit is None else hashes(rows.batch) <= limit
        keep[rows.positions[drawn]] = True
    found = [
        rows.batch.append_column(HASH, pa.array(hashes(rows.batch)))
        for rows in read_part(source.unconditional, part, keep=keep)
    ]
    return to_stream(pa.Table.from_batches(found)) if found else b""


def fetch_part(
    part: Part,
    accepted: Sequence[tuple[str, Limits, Limits]],
    source: Source,
    columns: Sequence[str],
) -> bytes:
    """Read accepted rows of a part together with their features.

    Parameters
    ----------
    part
        The part.
    accepted
        Files of its accepted rows, each with the hash limits up to which its rows are had already
        and up to which they are wanted.
    source
        The pool.
    columns
        Columns of the accepted rows to return, beside keys and features.

    Returns
    -------
    bytes
        An Arrow stream; empty if there are no such rows.
    """
    wanted = pa.concat_tables([_between(path, had, upto) for path, had, upto in accepted])
    if not wanted.num_rows:
        return b""
    rows = with_features(part, wanted.select([*columns, POSITION]), source)
    return to_stream(rows.drop_columns([POSITION]))


def confusion_of_part(
    part: Part, source: Source, scorer: Scorer, label: str, classes: Sequence[Label]
) -> tuple[NDArray[np.int64], float]:
    """Score a part of rows with true labels; return confusion table and total log loss."""
    unknown = len(classes)
    table, loss = np.zeros((unknown + 1, unknown + 1), dtype=np.int64), 0.0
    with hold_threads(task_cores()):
        for rows in read_part(source, part):
            scores = score_any(rows.batch, scorer)
            codes = true_codes(rows.batch.column(label), classes)
            p_true = p_of_true(codes, scores.probabilities)
            more, further = confusion(codes, scores.code, p_true, unknown)
            table, loss = table + more, loss + further
    return table, loss


def true_codes(labels: pa.Array | pa.ChunkedArray, classes: Sequence[Label]) -> NDArray[np.int32]:
    """Map a column of labels to class indices; -1 for a label that is not among the classes."""
    if pa.types.is_integer(labels.type):  # another table's may be too short for all classes
        labels = labels.cast(pa.int64())
    known = pa.array(list(classes)).cast(labels.type)
    codes: NDArray[np.int32] = pc.index_in(labels, value_set=known).fill_null(-1).to_numpy()
    return codes


def matches(path: str, keys: Sequence[str], truth: pa.Table) -> tuple[int, int]:
    """Count accepted rows whose true label is known, and those with that label."""
    (key,) = keys  # rows without an id have no truth beside them
    accepted = read_narrow(path, [key, CODE])
    place = pc.index_in(accepted.column(key), value_set=truth.column(key).combine_chunks())
    known = place.is_valid()
    true = truth.column(CODE).take(place.filter(known))
    right = pc.equal(true, accepted.column(CODE).filter(known))
    return len(true), int(pc.sum(right).as_py() or 0)


def with_features(part: Part, narrow: pa.Table, source: Source) -> pa.Table:
    """Join narrow rows of a part, at least one, with the pool's columns, in the order of place."""
    narrow = narrow.sort_by(POSITION)
    keep = np.zeros(part.rows, dtype=bool)
    keep[narrow.column(POSITION).to_numpy()] = True
    pieces = read_part(source.unconditional, part, keep=keep)
    wide = pa.Table.from_batches([rows.batch for rows in pieces])
    for name in narrow.column_names:
        if name not in wide.column_names:
            wide = wide.append_column(name, narrow.column(name))
    return wide


def to_stream(rows: pa.Table) -> bytes:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def from_stream(stream: bytes) -> pa.Table:
    """Read what :func:`to_stream` returned."""
    return pa.ipc.open_stream(stream).read_all()


def task_cores() -> int:
    """Return the cores that Spark gives a task; 1 outside of a task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.cpus() if context is not None else 1


def _between(path: str, had: Limits, upto: Limits) -> pa.Table:
    rows = read_narrow(path)
    codes, hashes = rows.column(CODE).to_numpy(), rows.column(HASH).to_numpy()
    return rows.filter(pa.array(within(codes, hashes, upto) & ~within(codes, hashes, had)))


def _with_place(
    scored: pa.RecordBatch, number: int, positions: NDArray[np.int32]
) -> pa.RecordBatch:
    rounds = pa.array(np.full(scored.num_rows, number, dtype=np.int32))
    return scored.append_column(IN_ROUND, rounds).append_column(POSITION, pa.array(positions))


def _scores(rows: pa.Table) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return class indices, -1 for a row that may not be accepted, and confidences."""
    return candidate_codes(rows), rows.column(SCORE).fill_null(-1).to_numpy()
