"""The pool as a DataFrame: whatever Spark can read, scored through Arrow batches."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from py4j.protocol import Py4JError
from pyspark import RDD
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from spark_pseudolabel.columns import CODE, FINGERPRINT, HASH, IN_ROUND, INVALID
from spark_pseudolabel.core.kernel import Scorer, Seen
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.sampling import HashLimits, sample_limit
from spark_pseudolabel.errors import text_of
from spark_pseudolabel.spark.frame.scoring import batches_within, broadcast, gathered, score_rows
from spark_pseudolabel.spark.frame.selection import (
    ROWS_PER_FILE,
    SparkCandidates,
    accepted_by,
    within,
)
from spark_pseudolabel.spark.frame.stored_rows import StoredRows
from spark_pseudolabel.spark.pool import (
    Publication,
    RowsByFile,
    RowTransform,
    StoredKind,
    changed_pool,
    lowest,
)
from spark_pseudolabel.spark.reading.names import columns, map_in_arrow
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.tables import reasons_of, to_arrow, with_hash
from spark_pseudolabel.spark.tasking import Refused, giving
from spark_pseudolabel.store.files import unglobbed
from spark_pseudolabel.store.manifest import RoundManifest

BROADCAST_BYTES = 128 * 2**20
"""Of keys that are broadcast: the driver's JVM and each executor hold them in memory."""

_KEY_BYTES = {"bigint": 32}
_TEXT_BYTES = 96
"""What a key takes in the table by which rows are looked up; texts of some 36 characters."""

_HASHES = 2**64

_NOW = "spl_now"
_CHANGED = "spl: other rows than were scored"


@dataclass(frozen=True)
class FramePool:
    """A pool that only Spark can read: tables, queries, CSV, what lies out of the workers' reach.

    Parameters
    ----------
    spark
        The session.
    rows
        Keys and features.
    n_rows
        How many rows there are.
    keys
        Key columns.
    stored
        Committed rows.
    cells
        Numbers and texts in a row's features.
    n_classes, random_state
        Of the run: number of classes, seed of the row hash.
    """

    spark: SparkSession
    rows: DataFrame
    n_rows: int
    keys: tuple[str, ...]
    stored: StoredRows
    cells: int
    n_classes: int
    random_state: int

    @reading("unlabeled")
    def score(
        self, scorer: Scorer, number: int, rounds: Sequence[RoundManifest], target: str
    ) -> SparkCandidates:
        """Score the rows that are left; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        scorer = replace(scorer, keys=(*self.keys, FINGERPRINT))
        with self._batches(), broadcast(self.spark.sparkContext, scorer) as shared:
            pool, after = self._undecided(rounds)
            scored = score_rows(pool, shared)
            if after is not None:
                scored = scored.join(after, on=list(self.keys), how="left_semi")
            scored = scored.withColumn(IN_ROUND, F.lit(number))
            scored.write.mode("errorifexists").parquet(target)
        written = self.spark.read.schema(scored.schema).parquet(unglobbed(target))
        return SparkCandidates(written, self.keys, self.n_classes, self.random_state, self.stored)

    @reading("unlabeled")
    def sample(self, n: int) -> pa.Table:
        """Collect rows drawn by hash; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        rows = self.rows
        for reason in reasons_of(rows):
            rows = rows.filter(reason.isNull()).drop(reason)
        hashed = with_hash(rows, self.keys, self.random_state)
        if (limit := sample_limit(n, self.n_rows)) is not None:
            hashed = hashed.filter(F.col(HASH) <= F.lit(limit))
        with self._batches():
            return lowest(to_arrow(hashed), n, self.keys)

    @reading("unlabeled")
    def gather(
        self,
        look: Callable[[Iterable[pa.RecordBatch]], Seen],
        together: Callable[[Sequence[Seen]], Seen],
        features: Sequence[str] | None = None,
    ) -> Seen | None:
        """Look at all rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        rows = self.rows
        if features is not None:
            rows = rows.select(*columns([*self.keys, *features]), *reasons_of(rows))
        with self._batches():
            return gathered(rows, look, together)

    @reading("unlabeled")
    def write_rows(self, transform: RowTransform, schema: pa.Schema, target: str) -> None:
        """Write what is made of all rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        with self._batches():
            made = map_in_arrow(self.rows, transform, from_arrow_schema(schema))
            made.write.mode("errorifexists").parquet(target)

    @reading("unlabeled")
    def fetch(
        self, rounds: Sequence[RoundManifest], limits: HashLimits, kind: StoredKind = "accepted"
    ) -> pa.Table | None:
        """Collect stored rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        by_code = np.sum([manifest.counts.by_code(kind) for manifest in rounds], axis=0)
        if not np.any(by_code):
            return None
        with self._batches():
            fetched = to_arrow(self._joined(rounds, limits, kind))
        lost = limits is None and fetched.num_rows != int(by_code.sum())
        if lost or pc.any(pc.not_equal(fetched[_NOW], fetched[FINGERPRINT])).as_py():
            raise changed_pool()
        return fetched.drop_columns([_NOW, FINGERPRINT])

    @reading("unlabeled")
    def deal(
        self,
        rounds: Sequence[RoundManifest],
        limits: HashLimits,
        deal: Callable[[Iterable[pa.Table]], Iterator[tuple[int, bytes]]],
        kind: StoredKind = "accepted",
    ) -> RDD[tuple[int, bytes | Refused]]:
        """Deal stored rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""

        def unchanged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
            for batch in batches:
                if pc.any(pc.not_equal(batch[_NOW], batch[FINGERPRINT])).as_py():
                    raise changed_pool()
                yield pa.Table.from_batches([batch]).drop_columns([_NOW, FINGERPRINT])

        def dealt(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, bytes]]:
            return deal(unchanged(batches))

        give = giving(dealt)

        def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for number, lines in give(batches):
                refused = isinstance(lines, Refused)
                columns = [[number], [pickle.dumps(lines) if refused else lines], [refused]]
                types = [pa.int64(), pa.binary(), pa.bool_()]
                yield pa.RecordBatch.from_arrays(
                    [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)],
                    ["number", "lines", "refused"],
                )

        def unpacked(row: Row) -> tuple[int, bytes | Refused]:
            # Of this query's own tasks, by the way that their results take: never from storage.
            return row[0], pickle.loads(row[1]) if row[2] else bytes(row[1])  # noqa: S301

        with self._batches():
            rows = self._joined(rounds, limits, kind)
            return map_in_arrow(
                rows, packed, "number bigint, lines binary, refused boolean"
            ).rdd.map(unpacked)

    def _joined(
        self, rounds: Sequence[RoundManifest], limits: HashLimits, kind: StoredKind
    ) -> DataFrame:
        """Return stored rows within hash limits, with the features that the pool gives now."""
        by_code = np.sum([manifest.counts.by_code(kind) for manifest in rounds], axis=0)
        wanted = getattr(self.stored, kind)(rounds).filter(within(limits))
        if self._may_broadcast(float(np.sum(by_code * shares_within(limits)))):
            wanted = F.broadcast(wanted)
        return self._marked.join(wanted, on=list(self.keys), how="inner")

    @reading("unlabeled")
    def publish(self, table: Publication) -> RowsByFile | None:
        """Write a published table; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        stored = getattr(self.stored, table.kind)(table.rounds)
        features, transform = table.features, table.transform
        if features:
            stored = stored.join(self._marked, on=list(self.keys), how="inner")

        def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                if features and pc.any(pc.not_equal(batch[_NOW], batch[FINGERPRINT])).as_py():
                    raise RuntimeError(_CHANGED)
                yield from transform(pa.Table.from_batches([batch])).to_batches()

        published = map_in_arrow(stored, make, from_arrow_schema(table.schema))
        if table.more is not None:
            published = published.unionByName(self.spark.createDataFrame(table.more))
        files = max(1, -(-self.n_rows // ROWS_PER_FILE))
        try:
            with self._batches():
                published.coalesce(files).write.mode("errorifexists").parquet(table.target)
        except (PySparkException, Py4JError) as error:
            if _CHANGED in text_of(error):
                raise changed_pool() from error
            raise
        return None

    def check(
        self,
        rounds: Sequence[RoundManifest],
        truth: pa.Table,
        numbers: NumberTask | None = None,
    ) -> None:
        """Leave it to a join; see :class:`spark_pseudolabel.spark.pool.Pool`."""

    def _may_broadcast(self, n_keys: float) -> bool:
        kinds = (field.dataType.simpleString() for field in self.stored.keys)
        key_bytes = sum(_KEY_BYTES.get(kind, _TEXT_BYTES) for kind in kinds)
        return n_keys * key_bytes <= BROADCAST_BYTES

    def _batches(self) -> AbstractContextManager[None]:
        return batches_within(self.spark, self.cells)

    @property
    def _marked(self) -> DataFrame:
        """The rows with a hash of what they hold now."""
        return self.rows.withColumn(_NOW, F.xxhash64(*columns(self.rows.columns)))

    @property
    def _to_score(self) -> DataFrame:
        return self._marked.withColumnRenamed(_NOW, FINGERPRINT)

    def _undecided(self, rounds: Sequence[RoundManifest]) -> tuple[DataFrame, DataFrame | None]:
        """Return the rows to score, and the keys to which the scores are cut down afterwards.

        The smaller of two key sets, left or decided, is broadcast and picks the rows before they
        are scored. Where both are too large for that, all rows are scored and the narrow scores
        are joined: the other way would shuffle features.
        """
        if not rounds:
            return self._to_score, None
        keys, before = list(self.keys), rounds[-1]
        is_invalid = F.col(CODE).isNull() & F.col(INVALID).isNotNull()
        is_rejected = ~is_invalid & ~accepted_by(before.plan, keys)
        undecided = self.stored.scored([before]).filter(is_rejected).select(*columns(keys))
        n_undecided = before.counts.left
        n_decided = self.n_rows - n_undecided
        if not self._may_broadcast(min(n_undecided, n_decided)):
            return self._to_score, undecided
        if n_undecided <= n_decided:
            return self._to_score.join(F.broadcast(undecided), on=keys, how="left_semi"), None
        decided = self.stored.accepted(rounds).select(*columns(keys))
        decided = decided.unionByName(self.stored.invalid(rounds).select(*columns(keys)))
        return self._to_score.join(F.broadcast(decided), on=keys, how="left_anti"), None


def shares_within(limits: HashLimits) -> NDArray[np.float64] | float:
    """Return by class which share of evenly spread hashes lies within the limits."""
    if limits is None:
        return 1.0
    upto = [0 if limit is None else limit + _HASHES // 2 + 1 for limit in limits]
    return np.array(upto, dtype=np.float64) / _HASHES
