"""The pool as parts of Parquet files: the driver's side of the direct scan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
from pyspark import RDD
from pyspark.sql import SparkSession

from spark_pseudolabel.columns import CLASS_SCORES, CODE, HASH, IN_ROUND, SCORE, VALUE
from spark_pseudolabel.core.kernel import Scorer, Seen
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.parts import Part, Piece, pieces_of
from spark_pseudolabel.core.sampling import HashLimits, sample_limit, within
from spark_pseudolabel.core.scored_rows import Carried, Withheld
from spark_pseudolabel.core.selection.counts import BINS, Bin, Counts, Key, Tie, Values
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.ties import Sample, Span, nth_keys
from spark_pseudolabel.spark.direct import tasks
from spark_pseudolabel.spark.direct.bringing import bring
from spark_pseudolabel.spark.direct.narrow import Written, part_number, piece_name
from spark_pseudolabel.spark.direct.publish import given_rows, publish_part, publish_tasks
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.frame.scoring import broadcast
from spark_pseudolabel.spark.pool import (
    Accepted,
    Overlap,
    Publication,
    RowsByFile,
    RowTransform,
    StoredKind,
    content_of,
    lowest,
)
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.spark.tasking import Refused, giving, merge_tasks, run_tasks
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import FileEntry, RoundManifest

_HIGHEST = 2**63 - 1
# Several, so that a core which is done early finds another one.
_TASKS_PER_CORE = 3

_NOTHING = tasks.ScoredPiece((), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), 0)


@dataclass
class DirectPool:
    """A pool of plain Parquet files that every worker opens by itself.

    Parameters
    ----------
    spark
        The session, whose scheduler is used and whose reader is not.
    source, parts
        What is read.
    n_rows
        How many rows there are.
    root
        Full path of the output, which the workers reach too.
    scratch
        A directory in it.
    n_classes, random_state, carried
        Of the run: number of classes, seed of the row hash, which columns scored rows have.
    """

    spark: SparkSession
    source: PartSource
    parts: Sequence[Part]
    n_rows: int
    root: str
    scratch: Scratch
    n_classes: int
    random_state: int
    carried: Carried
    _fetched: _Fetched = field(default_factory=lambda: _Fetched())

    def score(
        self, scorer: Scorer, number: int, rounds: Sequence[RoundManifest], target: str
    ) -> ScoredPieces:
        """Score the rows that are left; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        undecided = self._undecided(rounds)
        # With the function, which Spark sends once to each executor, and not with every task.
        plan = rounds[-1].plan if rounds else None
        with broadcast(self.spark.sparkContext, scorer) as shared:
            source = self.source

            def score(task: Piece | tasks.Earlier) -> tasks.ScoredPiece:
                return tasks.score_piece(task, source, shared.value, number, target, plan)

            scored = merge_tasks(self.spark, score, undecided, tasks.scored_together)
        return ScoredPieces(self, target, scored or _NOTHING)

    def sample(self, n: int) -> pa.Table:
        """Collect rows drawn by hash; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        draw = partial(
            tasks.sample_part,
            source=self.source,
            limit=sample_limit(n, self.n_rows),
            random_state=self.random_state,
        )
        drawn = bring(self.spark, draw, self.parts, self.scratch)
        return lowest(pa.concat_tables(drawn), n, self.source.keys)

    def gather(
        self,
        look: Callable[[Iterable[pa.RecordBatch]], Seen],
        together: Callable[[Sequence[Seen]], Seen],
        features: Sequence[str] | None = None,
    ) -> Seen | None:
        """Look at all rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        look_at = partial(tasks.look_at_piece, source=self.source, look=look, features=features)
        return merge_tasks(self.spark, look_at, self._pieces, together)

    def write_rows(self, transform: RowTransform, schema: pa.Schema, target: str) -> RowsByFile:
        """Write what is made of all rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        write = partial(
            tasks.write_piece,
            source=self.source,
            transform=transform,
            schema=schema,
            folder=target,
        )
        return files_of(run_tasks(self.spark, write, self._pieces))

    def fetch(
        self, rounds: Sequence[RoundManifest], limits: HashLimits, kind: StoredKind = "accepted"
    ) -> pa.Table | None:
        """Collect stored rows; see :class:`spark_pseudolabel.spark.pool.Pool`.

        What an earlier call has fetched stays on the driver, so that a round reads only the rows
        which are new in the training frame.
        """
        upto = self._full(limits)
        had = self._fetched.keep_within([earlier.number for earlier in rounds], upto)
        nothing = self._nothing
        more = [one for one in rounds if _has_more(had.get(one.number, nothing), upto)]
        source, columns = self.source, self._stored_columns

        def fetch(task: tuple[Part, list[tuple[str, int]]]) -> Iterator[pa.Table]:
            part, files = task
            of_part = [(path, had.get(number, nothing)) for path, number in files]
            return tasks.fetch_part(part, of_part, upto, source, columns)

        self._fetched.add(bring(self.spark, fetch, self._files_by_part(more, kind), self.scratch))
        return self._fetched.rows

    def deal(
        self,
        rounds: Sequence[RoundManifest],
        limits: HashLimits,
        deal: Callable[[Iterable[pa.Table]], Iterator[tuple[int, bytes]]],
        kind: StoredKind = "accepted",
    ) -> RDD[tuple[int, bytes | Refused]]:
        """Deal stored rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        upto, nothing = self._full(limits), self._nothing
        source, columns = self.source, self._stored_columns

        def give(task: tuple[Part, list[tuple[str, int]]]) -> Iterator[tuple[int, bytes]]:
            part, files = task
            of_part = [(path, nothing) for path, _ in files]
            return deal(tasks.fetch_part(part, of_part, upto, source, columns))

        work = self._files_by_part(rounds, kind)
        context = self.spark.sparkContext
        return context.parallelize(work, max(1, len(work))).flatMap(giving(give))

    @property
    def _nothing(self) -> list[int | None]:
        return [None] * self.n_classes

    @property
    def _stored_columns(self) -> list[str]:
        scores = [CLASS_SCORES] if self.carried.probabilities else []
        scores += [VALUE] if self.carried.numbers else []
        return [CODE, SCORE, HASH, IN_ROUND, *scores]

    def _files_by_part(
        self, rounds: Sequence[RoundManifest], kind: StoredKind
    ) -> list[tuple[Part, list[tuple[str, int]]]]:
        """Return the parts with stored rows, each with the files of these and their rounds."""
        stored: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for manifest in rounds:
            for entry in getattr(manifest, kind):
                path = join(self.root, entry.path)
                stored[part_number(path)].append((path, manifest.number))
        return [(self.parts[number], files) for number, files in sorted(stored.items())]

    def publish(self, table: Publication) -> RowsByFile | None:
        """Write a published table; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        entries: list[FileEntry] = [
            entry for manifest in table.rounds for entry in getattr(manifest, table.kind)
        ]
        publish = partial(
            publish_part,
            transform=table.transform,
            schema=table.schema,
            source=self.source if table.features else None,
            folder=table.target,
        )
        with self.scratch.cleared():
            further = given_rows(table.more, self.scratch)
            work = publish_tasks(entries, self.root, self.parts, further)
            return files_of(run_tasks(self.spark, publish, work))

    def check(
        self,
        rounds: Sequence[RoundManifest],
        truth: pa.Table,
        numbers: NumberTask | None = None,
    ) -> dict[str, int]:
        """Count right labels; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        paths = [join(self.root, entry.path) for manifest in rounds for entry in manifest.accepted]
        matches = run_tasks(
            self.spark,
            partial(tasks.matches, keys=self.source.keys, truth=truth, task=numbers),
            paths,
        )
        return {"n": sum(n for n, _ in matches), "correct": sum(right for _, right in matches)}

    def _full(self, limits: HashLimits) -> list[int | None]:
        return [_HIGHEST] * self.n_classes if limits is None else list(limits)

    def _undecided(self, rounds: Sequence[RoundManifest]) -> Sequence[Piece | tasks.Earlier]:
        """Return the pieces with rows that are left; later rounds keep to those of the first."""
        if not rounds:
            return self._pieces
        last = rounds[-1]
        accepted = {piece_name(entry.path): entry.rows for entry in last.accepted}
        return [
            tasks.Earlier(self.parts[part_number(entry.path)], join(self.root, entry.path))
            for entry in last.scored
            if entry.rows > accepted.get(piece_name(entry.path), 0)
        ]

    @property
    def _pieces(self) -> list[Piece]:
        cores = self.spark.sparkContext.defaultParallelism
        return pieces_of(self.parts, _TASKS_PER_CORE * cores)


@dataclass
class ScoredPieces:
    """The scored parts of a round, as :class:`spark_pseudolabel.core.selection.counts.Candidates`.

    Parameters
    ----------
    pool
        Whose rows they are.
    folder
        Where their files are.
    scored
        What the tasks answered.
    """

    pool: DirectPool
    folder: str
    scored: tasks.ScoredPiece

    @cached_property
    def _counts(self) -> Counts:
        n = np.zeros(self.pool.n_classes * BINS, dtype=np.int64)
        n[self.scored.cells] = self.scored.n
        return Counts(n.reshape(self.pool.n_classes, BINS))

    def counts(self) -> Counts:
        """Count valid candidates by class and bin."""
        return self._counts

    @property
    def invalid(self) -> int:
        """Rows without a score."""
        return self.scored.invalid

    @property
    def abstained(self) -> int:
        """Rows that the model gives no class."""
        return self.scored.abstained

    @property
    def withheld(self) -> Withheld:
        """Rows with a score that may not be accepted."""
        return self.scored.withheld

    def why_invalid(self) -> str:
        """Return the reason of one of them, the same on every cluster."""
        return str(self.scored.why_invalid)

    @property
    def files(self) -> RowsByFile:
        """What was written."""
        return files_of(self.scored.files)

    @property
    def xor64(self) -> None:
        """Unknown: a file is opened only if it has the length that was listed."""

    @property
    def paths(self) -> list[str]:
        """Full paths of the files."""
        return [f"{self.folder}/{name}" for name in self.files]

    def values(self, bins: Sequence[Bin]) -> list[Values]:
        """Return the distinct confidences inside bins and their counts; one job."""
        look = partial(tasks.values_in_bins, bins=bins)
        return merge_tasks(self.pool.spark, look, self.paths, tasks.values_together) or []

    def nth_keys(self, ties: Sequence[Tie]) -> list[Key]:
        """Return the n-th lowest key of every tie; a job, three or five where very many tie."""
        return nth_keys(ties, self)

    def samples(self, spans: Sequence[Span], most: int) -> list[Sample]:
        """Return keys of spans; see :class:`spark_pseudolabel.core.selection.ties.Questions`."""
        keys = self.pool.source.keys
        look = partial(tasks.sample_ties, spans=spans, most=most, keys=keys)
        together = partial(tasks.samples_together, most=most)
        return merge_tasks(self.pool.spark, look, self.paths, together) or []

    def counts_upto(
        self, spans: Sequence[Span], limits: Sequence[Sequence[Key]]
    ) -> list[list[int]]:
        """Count keys of spans; see :class:`spark_pseudolabel.core.selection.ties.Questions`."""
        look = partial(tasks.count_ties, spans=spans, limits=limits, keys=self.pool.source.keys)
        return merge_tasks(self.pool.spark, look, self.paths, tasks.counts_together) or []

    def accept(self, plan: Plan, target: str, before: RoundManifest | None = None) -> Accepted:
        """Write what a plan accepts; see :class:`spark_pseudolabel.spark.pool.Scored`."""
        pool = self.pool
        keys, n_classes, random_state = pool.source.keys, pool.n_classes, pool.random_state

        def accept(task: tuple[str, list[str]]) -> tasks.AcceptedPiece:
            return tasks.accept_piece(*task, plan, keys, n_classes, random_state, target)

        # By parts, not by pieces: a run that is continued with other cores cuts parts otherwise.
        earlier: dict[int, list[str]] = defaultdict(list)
        for entry in before.accepted if before is not None else ():
            earlier[part_number(entry.path)].append(join(pool.root, entry.path))
        work = [(path, earlier[part_number(path)]) for path in self.paths]
        accepted = merge_tasks(pool.spark, accept, work, tasks.accepted_together)
        if accepted is None:
            accepted = tasks.AcceptedPiece((), np.zeros(n_classes, dtype=np.int64), 0, 0, 0, 0)
        by_code = accepted.by_code.tolist()
        overlap = None if before is None else Overlap(accepted.again, accepted.changed)
        content = content_of(by_code, accepted.xor_a, accepted.xor_b)
        return Accepted(by_code, content, files_of(accepted.files), overlap)


@dataclass
class _Fetched:
    """Rows of the training frame that the driver has: per round, up to some hash of each class."""

    rows: pa.Table | None = None
    limits: dict[int, list[int | None]] = field(default_factory=dict)

    def keep_within(
        self, rounds: Sequence[int], wanted: list[int | None]
    ) -> dict[int, list[int | None]]:
        """Forget what is not wanted any more; return what there was of each round."""
        had = {number: self.limits[number] for number in rounds if number in self.limits}
        if self.rows is not None:
            codes, hashes = (self.rows.column(name).to_numpy() for name in (CODE, HASH))
            used = np.isin(self.rows.column(IN_ROUND).to_numpy(), list(had))
            self.rows = self.rows.filter(pa.array(used & within(codes, hashes, wanted)))
        self.limits = dict.fromkeys(rounds, wanted)
        return had

    def add(self, tables: list[pa.Table]) -> None:
        """Take in what tasks have read."""
        if self.rows is not None:
            tables = [*tables, self.rows]
        self.rows = pa.concat_tables(tables) if tables else None


def files_of(written: Iterable[Written]) -> RowsByFile:
    """Return the rows of files that tasks wrote, by name."""
    return {file.name: file.rows for file in written}


def _has_more(had: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    return any(
        upto is not None and (before is None or upto > before)
        for before, upto in zip(had, wanted, strict=True)
    )
