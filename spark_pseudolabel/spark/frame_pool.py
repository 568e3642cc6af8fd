"""The pool as a DataFrame: whatever Spark can read, scored through Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from spark_pseudolabel.columns import CODE, HASH, IN_ROUND
from spark_pseudolabel.core.kernel import Scorer
from spark_pseudolabel.core.rules import Plan
from spark_pseudolabel.core.sampling import sample_limit
from spark_pseudolabel.spark.pool import Files, Kind, Limits, Transform, lowest
from spark_pseudolabel.spark.scoring import broadcast, score_rows
from spark_pseudolabel.spark.selection import ROWS_PER_FILE, SparkCandidates, accepted_by, within
from spark_pseudolabel.spark.stored_rows import StoredRows
from spark_pseudolabel.spark.tables import to_arrow, with_hash
from spark_pseudolabel.store.files import unglobbed
from spark_pseudolabel.store.manifest import RoundManifest

BROADCAST_ROWS = 5_000_000
"""Keys up to this number are broadcast; each executor holds them in memory."""


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
    n_classes, random_state
        Of the run: number of classes, seed of the row hash.
    """

    spark: SparkSession
    rows: DataFrame
    n_rows: int
    keys: tuple[str, ...]
    stored: StoredRows
    n_classes: int
    random_state: int

    def score(
        self, scorer: Scorer, number: int, rounds: Sequence[RoundManifest], target: str
    ) -> SparkCandidates:
        """Score the rows that are left; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        with broadcast(self.spark.sparkContext, scorer) as shared:
            pool, after = self._left(rounds)
            scored = score_rows(pool, shared)
            if after is not None:
                scored = scored.join(after, on=list(self.keys), how="left_semi")
            scored = scored.withColumn(IN_ROUND, F.lit(number))
            scored.write.mode("errorifexists").parquet(target)
        written = self.spark.read.schema(scored.schema).parquet(unglobbed(target))
        return SparkCandidates(written, self.keys, self.n_classes, self.random_state, self.stored)

    def sample(self, n: int) -> pa.Table:
        """Collect rows drawn by hash; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        hashed = with_hash(self.rows, self.keys, self.random_state)
        if (limit := sample_limit(n, self.n_rows)) is not None:
            hashed = hashed.filter(F.col(HASH) <= F.lit(limit))
        return lowest(to_arrow(hashed), n, self.keys)

    def fetch(
        self, rounds: Sequence[RoundManifest], limits: Limits, kind: Kind = "accepted"
    ) -> pa.Table | None:
        """Collect stored rows; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        n_rows = sum(sum(one.counts[f"{kind}_by_code"]) for one in rounds)
        if not n_rows:
            return None
        wanted = getattr(self.stored, kind)(rounds).filter(within(limits))
        if limits is not None or n_rows <= BROADCAST_ROWS:
            wanted = F.broadcast(wanted)
        return to_arrow(self.rows.join(wanted, on=list(self.keys), how="inner"))

    def publish(
        self,
        kind: str,
        rounds: Sequence[RoundManifest],
        transform: Transform,
        schema: pa.Schema,
        target: str,
        *,
        features: bool = False,
        more: pa.Table | None = None,
    ) -> Files | None:
        """Write a published table; see :class:`spark_pseudolabel.spark.pool.Pool`."""
        stored = getattr(self.stored, kind)(rounds)
        if features:
            stored = stored.join(self.rows, on=list(self.keys), how="inner")

        def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                yield from transform(pa.Table.from_batches([batch])).to_batches()

        made = stored.mapInArrow(make, schema=from_arrow_schema(schema))
        if more is not None:
            made = made.unionByName(self.spark.createDataFrame(more))
        files = max(1, -(-self.n_rows // ROWS_PER_FILE))
        made.coalesce(files).write.mode("errorifexists").parquet(target)
        return None

    def _left(self, rounds: Sequence[RoundManifest]) -> tuple[DataFrame, DataFrame | None]:
        """Return the rows to score, and the keys to which the scores are cut down afterwards.

        The smaller of two key sets, left or decided, is broadcast and picks the rows before they
        are scored. Where both are too large for that, all rows are scored and the narrow scores
        are joined: the other way would shuffle features.
        """
        if not rounds:
            return self.rows, None
        keys, before = list(self.keys), rounds[-1]
        is_rejected = F.col(CODE).isNotNull() & ~accepted_by(Plan.from_dict(before.plan), keys)
        left = self.stored.scored([before]).filter(is_rejected).select(*keys)
        n_left = int(before.counts["rejected"])
        n_done = self.n_rows - n_left
        if min(n_left, n_done) > BROADCAST_ROWS:
            return self.rows, left
        if n_left <= n_done:
            return self.rows.join(F.broadcast(left), on=keys, how="left_semi"), None
        done = self.stored.accepted(rounds).select(*keys)
        done = done.unionByName(self.stored.invalid(rounds).select(*keys))
        return self.rows.join(F.broadcast(done), on=keys, how="left_anti"), None
