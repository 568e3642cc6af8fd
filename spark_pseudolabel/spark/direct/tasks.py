"""What the tasks of a round do: plain functions of a part, tried without Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, HASH, IN_ROUND, INVALID, POSITION, SCORE, VALUE
from spark_pseudolabel.core.hashing import xor_all, xxhash64
from spark_pseudolabel.core.kernel import Scorer, Seen, score_any, score_batch
from spark_pseudolabel.core.number_scores import SAID
from spark_pseudolabel.core.parts import Part, Piece
from spark_pseudolabel.core.sampling import HashLimits, within
from spark_pseudolabel.core.scored_rows import (
    Withheld,
    has_abstained,
    is_invalid,
    label_columns,
    withheld_among,
)
from spark_pseudolabel.core.selection.apply import accepted_mask, candidate_codes, not_after
from spark_pseudolabel.core.selection.counts import Bin, Counts, Key, Values, bin_of
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.ties import Sample, Span, merged
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.core.trust.metrics import confusion, p_of_true
from spark_pseudolabel.core.trust.number_metrics import NumberSums
from spark_pseudolabel.spark.direct.narrow import (
    Written,
    name_of,
    piece_name,
    read_narrow,
    write_narrow,
    write_tables,
)
from spark_pseudolabel.spark.direct.source import Mask, PartSource, read_part

if TYPE_CHECKING:
    from spark_pseudolabel.core.numbers import NumberTask
    from spark_pseudolabel.core.teachers.training import Label
    from spark_pseudolabel.spark.pool import RowTransform


@dataclass(frozen=True)
class Earlier:
    """What the round before made of a piece.

    Parameters
    ----------
    part
        Of which it is a piece.
    path
        Its scored rows.
    """

    part: Part
    path: str


@dataclass(frozen=True)
class ScoredPiece:
    """A piece of a part after scoring, or several of them together.

    Parameters
    ----------
    files
        Scored rows; a piece without rows has none.
    cells, n
        How many valid rows (`n`) each cell class * BINS + bin (`cells`) holds; ascending cells.
    invalid
        Rows without a score.
    why_invalid
        The reason of the first of them.
    withheld
        Rows with a score that may not be accepted.
    abstained
        Rows that the model gives no class.
    """

    files: tuple[Written, ...]
    cells: NDArray[np.int32]
    n: NDArray[np.int64]
    invalid: int
    why_invalid: str | None = None
    withheld: Withheld = field(default_factory=Withheld)
    abstained: int = 0


@dataclass(frozen=True)
class AcceptedPiece:
    """A piece after the decision, or several of them together.

    Parameters
    ----------
    files
        Accepted rows; a piece without any has none.
    by_code
        Rows per class.
    xor_a, xor_b
        Two hashes over all of them.
    again, changed
        Rows that were accepted in the round before, too, and those with another label then.
    """

    files: tuple[Written, ...]
    by_code: NDArray[np.int64]
    xor_a: int
    xor_b: int
    again: int
    changed: int


def scored_together(pieces: Sequence[ScoredPiece]) -> ScoredPiece:
    """Put scored pieces together, in their order."""
    cells, place = np.unique(np.concatenate([piece.cells for piece in pieces]), return_inverse=True)
    n = np.zeros(len(cells), dtype=np.int64)
    np.add.at(n, place, np.concatenate([piece.n for piece in pieces]))
    return ScoredPiece(
        tuple(file for piece in pieces for file in piece.files),
        cells,
        n,
        sum(piece.invalid for piece in pieces),
        next((piece.why_invalid for piece in pieces if piece.why_invalid is not None), None),
        sum((piece.withheld for piece in pieces), Withheld()),
        sum(piece.abstained for piece in pieces),
    )


def accepted_together(pieces: Sequence[AcceptedPiece]) -> AcceptedPiece:
    """Put pieces after the decision together, in their order."""
    return AcceptedPiece(
        tuple(file for piece in pieces for file in piece.files),
        np.sum([piece.by_code for piece in pieces], axis=0),
        xor_all(piece.xor_a for piece in pieces),
        xor_all(piece.xor_b for piece in pieces),
        sum(piece.again for piece in pieces),
        sum(piece.changed for piece in pieces),
    )


def score_piece(
    task: Piece | Earlier,
    source: PartSource,
    scorer: Scorer,
    number: int,
    folder: str,
    before: Plan | None = None,
) -> ScoredPiece:
    """Score the rows of a piece and write what came out.

    All rows, or those that `before`, the decision of the round before, has left.
    """
    if isinstance(task, Earlier):
        assert before is not None
        part, name, source = task.part, piece_name(task.path), source.unconditional
        keep = rows_left(task, before, source.keys)
    else:
        part, name, keep = task.part, name_of(task), _rows_of(task)
    with hold_threads(task_cores()):
        scored = [
            _with_place(score_batch(rows.batch, scorer), number, rows.positions)
            for rows in read_part(source, part, keep=keep)
        ]
    if not scored:
        return ScoredPiece((), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), 0)
    rows = pa.Table.from_batches(scored)
    codes, invalid = candidate_codes(rows), is_invalid(rows)
    confidence = rows.column(SCORE).fill_null(np.nan).to_numpy()
    n = Counts.of(len(scorer.model.classes_), codes, confidence).n.ravel()
    cells = np.flatnonzero(n)
    return ScoredPiece(
        (write_narrow(folder, name, rows),),
        cells.astype(np.int32),
        n[cells],
        int(invalid.sum()),
        next(iter(rows.column(INVALID).filter(pa.array(invalid)).slice(0, 1).to_pylist()), None),
        withheld_among(rows),
        int(has_abstained(rows).sum()),
    )


def _rows_of(piece: Piece) -> Mask:
    keep = np.zeros(piece.part.rows, dtype=bool)
    keep[piece.start : piece.stop] = True
    return keep


def rows_left(earlier: Earlier, plan: Plan, keys: Sequence[str]) -> Mask:
    """Return which rows of a part were scored in a piece of it and rejected."""
    scored = read_narrow(earlier.path, [*keys, CODE, SCORE, INVALID, POSITION])
    rejected = ~is_invalid(scored) & ~accepted_mask(plan, scored, keys)
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
    label = [accepted.column(name) for name in label_columns(accepted.column_names)]
    labeled = xxhash64(label, start=row)
    files: tuple[Written, ...] = ()
    if accepted.num_rows:
        rows = accepted.append_column(HASH, pa.array(xxhash64([random_state], start=row)))
        files = (write_narrow(folder, piece_name(path), rows),)
    return AcceptedPiece(
        files,
        np.bincount(codes.to_numpy(), minlength=n_classes),
        xor_all(labeled),
        xor_all(xxhash64([pa.array(labeled)])),
        *_compared(accepted, before),
    )


def _compared(accepted: pa.Table, before: Sequence[str]) -> tuple[int, int]:
    """Count rows that earlier files of the same part hold, and those with another label there."""
    if not before:
        return 0, 0
    label = label_columns(accepted.column_names)[-1]  # a number, where there is one
    earlier = pa.concat_tables([read_narrow(path, [POSITION, label]) for path in before])
    (place, labels), (old_place, old_labels) = (
        [rows.column(name).to_numpy() for name in (POSITION, label)] for rows in (accepted, earlier)
    )
    n_places = max(place.max(initial=0), old_place.max(initial=0)) + 1
    was_accepted = np.zeros(n_places, dtype=bool)
    was_accepted[old_place] = True
    earlier_label = np.zeros(n_places, dtype=old_labels.dtype)
    earlier_label[old_place] = old_labels
    again = was_accepted[place]
    return int(again.sum()), int((again & (earlier_label[place] != labels)).sum())


def has_rows_at(part: Part, paths: Sequence[str], source: PartSource) -> bool:
    """Whether rows of a part are where scored rows say that they were when these were written."""
    scored = [read_narrow(path, [*source.keys, POSITION]) for path in paths]
    earlier = pa.concat_tables(scored).sort_by(POSITION)
    if earlier.num_rows != part.rows:
        return False
    now = pa.Table.from_batches([rows.batch for rows in read_part(source, part, features=())])
    return all(now.column(key).equals(earlier.column(key)) for key in source.keys)


def values_in_bins(path: str, bins: Sequence[Bin]) -> list[Values]:
    """Return the distinct confidences inside each of some bins, and their counts."""
    rows = read_narrow(path, [CODE, SCORE, INVALID])
    codes, confidence = _scores(rows)
    in_bin = bin_of(confidence)
    return [
        np.unique(
            confidence[np.isin(codes, of_bin.codes) & (in_bin == of_bin.bin)], return_counts=True
        )
        for of_bin in bins
    ]


def values_together(answers: Sequence[list[Values]]) -> list[Values]:
    """Put distinct confidences and their counts together, bin by bin."""
    return [_values_together(of_bin) for of_bin in zip(*answers, strict=True)]


def sample_ties(path: str, spans: Sequence[Span], most: int, keys: Sequence[str]) -> list[Sample]:
    """Return at most `most` of the keys in each span."""
    samples = []
    for tied in _in_spans(path, spans, keys):
        ordered = tied.sort_by([(key, "ascending") for key in keys])
        step = max(1, -(-ordered.num_rows // most))
        # From the last one, the greatest, downwards.
        places = np.arange(ordered.num_rows - 1, -1, -step)[::-1]
        weights = np.diff(places, prepend=-1)
        chosen = tuple(tuple(row.values()) for row in ordered.take(places).to_pylist())
        samples.append(Sample(chosen, tuple(weights.tolist())))
    return samples


def samples_together(answers: Sequence[list[Sample]], most: int) -> list[Sample]:
    """Put samples together, span by span."""
    return [merged(of_span, most) for of_span in zip(*answers, strict=True)]


def count_ties(
    path: str, spans: Sequence[Span], limits: Sequence[Sequence[Key]], keys: Sequence[str]
) -> list[list[int]]:
    """Return how many keys of each span are at most each of some keys."""
    return [
        [int(not_after(tied, limit).sum()) for limit in of_span]
        for tied, of_span in zip(_in_spans(path, spans, keys), limits, strict=True)
    ]


def counts_together(answers: Sequence[list[list[int]]]) -> list[list[int]]:
    """Add counts, span by span and key by key."""
    return [
        [sum(of_key) for of_key in zip(*of_span, strict=True)]
        for of_span in zip(*answers, strict=True)
    ]


def sample_part(
    part: Part, source: PartSource, limit: int | None, random_state: int
) -> Iterator[pa.Table]:
    """Yield the rows of a part whose hash is at most the limit, with the hash.

    Parameters
    ----------
    part, source
        The part; of its rows those that can be read.
    limit
        The highest hash of a row's key that is taken; None for all rows.
    random_state
        Seed of the hash.
    """

    def hashes(rows: pa.RecordBatch) -> NDArray[np.int64]:
        return xxhash64([*[rows.column(key) for key in source.keys], random_state])

    keep = np.zeros(part.rows, dtype=bool)
    for rows in read_part(source, part, features=source.reasons):
        drawn = np.ones(rows.batch.num_rows, bool) if limit is None else hashes(rows.batch) <= limit
        for reason in source.reasons:
            drawn = drawn & rows.batch.column(reason).is_null().to_numpy(zero_copy_only=False)
        keep[rows.positions[drawn]] = True
    features = [name for name in source.features if name not in source.reasons]
    for rows in read_part(source.unconditional, part, features=features, keep=keep):
        hashed = rows.batch.append_column(HASH, pa.array(hashes(rows.batch)))
        yield pa.Table.from_batches([hashed])


def look_at_piece(
    piece: Piece,
    source: PartSource,
    look: Callable[[Iterable[pa.RecordBatch]], Seen],
    features: Sequence[str] | None = None,
) -> Seen:
    """Return what `look` finds out about keys and features of a piece's rows; None: all of them."""
    if features is not None:
        features = [*features, *source.reasons]
    rows_of = read_part(source, piece.part, features=features, keep=_rows_of(piece))
    with hold_threads(task_cores()):
        return look(rows.batch for rows in rows_of)


def write_piece(
    piece: Piece, source: PartSource, transform: RowTransform, schema: pa.Schema, folder: str
) -> Written:
    """Write what is made of keys and features of a piece's rows into one file."""
    with hold_threads(task_cores()):
        rows = (rows.batch for rows in read_part(source, piece.part, keep=_rows_of(piece)))
        made = (pa.Table.from_batches([batch], schema) for batch in transform(rows))
        return write_tables(folder, name_of(piece), schema, made, compression="lz4")


def fetch_part(
    part: Part,
    accepted: Sequence[tuple[str, HashLimits]],
    upto: HashLimits,
    source: PartSource,
    columns: Sequence[str],
) -> Iterator[pa.Table]:
    """Yield accepted rows of a part together with their features.

    Parameters
    ----------
    part
        The part.
    accepted
        Files of its accepted rows, each with the hash limits up to which its rows are had already.
    upto
        Hash limits up to which rows are wanted.
    source
        The pool.
    columns
        Columns of the accepted rows to return, beside keys and features.
    """
    wanted = pa.concat_tables([_between(path, had, upto) for path, had in accepted])
    if wanted.num_rows:
        for rows in with_features(part, wanted.select([*columns, POSITION]), source):
            yield rows.drop_columns([POSITION])


def confusion_of_part(
    part: Part, source: PartSource, scorer: Scorer, label: str, classes: Sequence[Label]
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


def sums_of_part(
    part: Part, source: PartSource, scorer: Scorer, label: str, task: NumberTask
) -> NumberSums:
    """Score a part of rows with true numbers; return sums over their errors."""
    sums = [NumberSums.of(np.zeros(0), np.zeros((0, SAID)), task)]
    with hold_threads(task_cores()):
        for rows in read_part(source, part):
            y = true_numbers(rows.batch.column(label))
            sums.append(NumberSums.of(y, score_any(rows.batch, scorer).said, task))
    return NumberSums.together(sums)


def true_numbers(labels: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of labels as numbers; NaN where one is null."""
    numbers: NDArray[np.float64] = (
        labels.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
        if isinstance(labels, pa.Array)
        else labels.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    )
    return numbers


def true_codes(labels: pa.Array | pa.ChunkedArray, classes: Sequence[Label]) -> NDArray[np.int32]:
    """Map a column of labels to class indices; -1 for a label that is not among the classes."""
    if pa.types.is_integer(labels.type):  # another table's may be too short for all classes
        labels = labels.cast(pa.int64())
    known = pa.array(list(classes)).cast(labels.type)
    codes: NDArray[np.int32] = pc.index_in(labels, value_set=known).fill_null(-1).to_numpy()
    return codes


def confusion_together(
    answers: Sequence[tuple[NDArray[np.int64], float]],
) -> tuple[NDArray[np.int64], float]:
    """Add confusion tables and log losses."""
    tables, losses = zip(*answers, strict=True)
    return np.sum(tables, axis=0), sum(losses)


def matches(
    path: str, keys: Sequence[str], truth: pa.Table, task: NumberTask | None = None
) -> tuple[int, int]:
    """Count accepted rows whose true label is known, and those with that label.

    Of numbers, those within the tolerance of a task.
    """
    (key,) = keys  # rows without an id have no truth beside them
    label = CODE if task is None else VALUE
    accepted = read_narrow(path, [key, label])
    place = pc.index_in(accepted.column(key), value_set=truth.column(key).combine_chunks())
    known = place.is_valid()
    true = truth.column(label).take(place.filter(known))
    said = accepted.column(label).filter(known)
    if task is not None:
        return len(true), int(task.is_right(true.to_numpy(), said.to_numpy()).sum())
    return len(true), int(pc.sum(pc.equal(true, said)).as_py() or 0)


def with_features(part: Part, narrow: pa.Table, source: PartSource) -> Iterator[pa.Table]:
    """Join narrow rows of a part, at least one, with the pool's columns, in the order of place."""
    narrow = narrow.sort_by(POSITION)
    keep = np.zeros(part.rows, dtype=bool)
    keep[narrow.column(POSITION).to_numpy()] = True
    start = 0
    for rows in read_part(source.unconditional, part, keep=keep):
        wide = pa.Table.from_batches([rows.batch])
        beside = narrow.slice(start, wide.num_rows)
        for name in beside.column_names:
            if name not in wide.column_names:
                wide = wide.append_column(name, beside.column(name))
        start += wide.num_rows
        yield wide


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


def _values_together(parts: Sequence[Values]) -> Values:
    values, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    distinct, place = np.unique(values, return_inverse=True)
    return distinct, np.bincount(place, weights=counts).astype(np.int64)


def _in_spans(path: str, spans: Sequence[Span], keys: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the keys of a file that are in each of some spans."""
    rows = read_narrow(path, [*keys, CODE, SCORE, INVALID])
    codes, confidence = _scores(rows)
    for span in spans:
        is_tied = np.isin(codes, span.tie.codes) & (confidence == span.tie.confidence)
        tied = rows.filter(pa.array(is_tied)).select(list(keys))
        if span.upto is not None:
            tied = tied.filter(pa.array(not_after(tied, span.upto)))
        if span.after is not None:
            tied = tied.filter(pa.array(~not_after(tied, span.after)))
        yield tied


def _between(path: str, had: HashLimits, upto: HashLimits) -> pa.Table:
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
