"""Freezing a pool: Spark copies it into Parquet once, which workers then scan by themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import UNREADABLE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.text_types import TextType
from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.spark.direct.plain_csv import PlainCsv, first_rows, write_typed
from spark_pseudolabel.spark.direct.survey import PlainTable, parquet_table
from spark_pseudolabel.spark.pool import changed_pool
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.spark.reading.names import columns
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.tables import Table, refuse_unsafe_commits, to_arrow
from spark_pseudolabel.spark.startup.session import set_to
from spark_pseudolabel.store.facts import Content
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import FileInfo, join, require_seen, unglobbed
from spark_pseudolabel.store.inputs import FrozenSnapshot
from spark_pseudolabel.store.snapshots import (
    Snapshot,
    SnapshotAttempt,
    SnapshotFile,
    Snapshots,
)

ROW_GROUP_BYTES = 32 * 2**20
"""Of a row group before compression: parts are put together from whole ones."""

# As pyarrow reads them to the same moments, whatever the session says.
_WRITTEN: Mapping[str, str] = {
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.writeLegacyFormat": "false",
}

# What a row costs Spark here is little more than reading it.
_CHEAP_NODES = frozenset({"Project", "Filter", "LogicalRelation", "Union", "SubqueryAlias"})

_WIDTHS: tuple[tuple[type[T.DataType], int], ...] = (
    (T.ByteType, 1),
    (T.BooleanType, 1),
    (T.ShortType, 2),
    (T.IntegerType, 4),
    (T.FloatType, 4),
    (T.DateType, 4),
    (T.StringType, 16),
    (T.DecimalType, 16),
)
_NUMBER_BYTES = 8

_SAMPLE = 200
"""Rows by which it is told that two readers of CSV agree, beside all that is asked of every row."""

_N, _A, _B = "spl_n", "spl_a", "spl_b"


@dataclass(frozen=True)
class Choice:
    """Whether a pool is frozen.

    Parameters
    ----------
    freezes
        Whether it is.
    why
        The reason, in words that continue a sentence.
    """

    freezes: bool
    why: str


@reading("unlabeled")
def choose(config: Config, table: Table, *, reached: bool = True) -> Choice:
    """Decide whether a pool that workers cannot read themselves is frozen.

    Freezing costs one pass by Spark and the space; each later pass is then one of the direct scan.

    Parameters
    ----------
    config, table
        Of the run.
    reached
        False where workers have tried to read the pool's files, or to see the output, in vain.
    """
    how = config.unlabeled.snapshot
    if how == "never":
        return Choice(False, "unlabeled.snapshot is never")
    if how == "keep":
        return Choice(True, "unlabeled.snapshot is keep")
    if config.unlabeled.scan == "spark":
        return Choice(False, "unlabeled.scan is spark")
    if config.rounds.max == 0:
        return Choice(False, "no round is asked for")
    plan: Any = table.rows._jdf.queryExecution().optimizedPlan()
    if not plan.deterministic():
        return Choice(True, "it may be other rows each time that it is read")
    if not all(map(_is_cheap, _nodes(plan))):
        return Choice(True, "each pass of Spark over it costs more than reading Parquet")
    if not reached:
        return Choice(False, "it is Parquet, and workers don't read that here")
    if config.one_round or config.rounds.max == 1:
        return Choice(False, "it is Parquet that Spark reads for one round only")
    return Choice(True, "several rounds read it")


def bytes_of(schema: T.StructType, rows: int) -> int:
    """Estimate what so many rows take as Parquet, before compression."""
    return rows * sum(_width(field.dataType) for field in schema)


def _width(kind: T.DataType) -> int:
    if isinstance(kind, T.ArrayType):
        # How many there are only a row tells.
        return 32 * _width(kind.elementType)
    return next((width for known, width in _WIDTHS if isinstance(kind, known)), _NUMBER_BYTES)


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    children = plan.children().iterator()
    while children.hasNext():
        yield from _nodes(children.next())


def _is_cheap(node: Any) -> bool:
    """Whether Spark has nothing to do but to read Parquet, pick columns and compare values."""
    if str(node.nodeName()) not in _CHEAP_NODES:
        return False
    if str(node.nodeName()) != "LogicalRelation":
        return "PythonUDF" not in str(node.expressions().mkString())
    relation = node.relation()
    kind = relation.getClass().getSimpleName()
    return kind == "HadoopFsRelation" and "parquet" in str(relation.fileFormat()).lower()


@dataclass(frozen=True)
class Typed:
    """Columns of plain CSV files in the types that a run has found for them.

    Parameters
    ----------
    source
        The files.
    key
        The column with the ids.
    types
        By column.
    """

    source: PlainCsv
    key: str
    types: Mapping[str, TextType]

    @classmethod
    def of(cls, table: Table, schema: T.StructType, key: str) -> Typed | None:
        """Return columns of a table; None where only Spark reads them in these types."""
        kinds = {field.name: field.dataType.simpleString() for field in schema}
        known = get_args(TextType)
        if table.csv is None or not set(kinds.values()) <= set(known):
            return None
        return cls(table.csv, key, {name: cast(TextType, kind) for name, kind in kinds.items()})

    def agrees_with(self, rows: DataFrame) -> bool:
        """Whether workers read the first rows as Spark does, value by value; an action."""
        theirs = to_arrow(rows.select(*columns(self.types)).limit(_SAMPLE))
        ours = first_rows(self.source, self.types)
        wanted = theirs.column(self.key).combine_chunks()
        ours = ours.filter(pc.is_in(ours.column(self.key), value_set=wanted))
        both = [table.sort_by(self.key).to_pylist() for table in (ours, theirs)]
        return str(both[0]) == str(both[1])


@dataclass(frozen=True)
class PoolSnapshot:
    """A pool as it was frozen.

    Parameters
    ----------
    stored
        Its files.
    table
        They as Spark reads them.
    plain
        They as workers read them.
    """

    stored: Snapshot
    table: Table
    plain: PlainTable

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.stored.frozen.content.rows

    def narrowed(self, like: Table) -> Table:
        """Return those of its columns that another table has, as Spark reads them."""
        reasons = [UNREADABLE] if UNREADABLE in self.table.schema.names else []
        names = [*like.schema.names, *reasons]
        return self.table.changed(like.schema, lambda rows: rows.select(*columns(names)))


@dataclass(frozen=True)
class Freezer:
    """Freezes the pool of a run in its output.

    Parameters
    ----------
    snapshots
        Where.
    begun
        Whether the run has begun, so that it is settled whether it reads a snapshot.
    named
        The snapshot that a run which has begun reads; None: it reads the pool itself.
    others
        Snapshots that runs of the output name, which stay.
    """

    snapshots: Snapshots
    begun: bool = False
    named: FrozenSnapshot | None = None
    others: frozenset[str] = frozenset()

    def wanted(self, choice: Choice) -> bool:
        """Whether a snapshot is read: what a run has begun with is what it goes on with."""
        return self.named is not None if self.begun else choice.freezes

    def found(self, spark: SparkSession) -> PoolSnapshot | None:
        """Open the snapshot that the run has begun with; None if there is none, or it is gone.

        Raises
        ------
        StoredStateError
            If it is damaged.
        """
        stored = None if self.named is None else self.snapshots.find(self.named)
        return None if stored is None else _opened(spark, self.snapshots, stored)

    @contextlib.contextmanager
    def freeze(
        self, spark: SparkSession, pool: Table, plain: Typed | None = None
    ) -> Iterator[PoolSnapshot]:
        """Write a pool, and make the snapshot real at the end of the block unless that fails.

        Parameters
        ----------
        spark, pool
            Session and pool.
        plain
            The same rows as workers read them from CSV; None: only Spark reads them.

        Raises
        ------
        InputError
            If an earlier snapshot of the run held other rows.
        """
        self.snapshots.delete(but=self.others)
        attempt = self.snapshots.new_attempt(self.named)
        again = self.named is not None
        try:
            with described(spark, "freeze the pool"):
                if plain is not None and plain.agrees_with(pool.rows):
                    files = _write_plain(spark, plain, self.snapshots, attempt)
                else:
                    files = _write(spark, pool, self.snapshots, attempt)
                nothing = Content(rows=0, xor64_a=0, xor64_b=0)
                frozen = FrozenSnapshot(id=attempt.id, content=nothing)
                written = _opened(
                    spark, self.snapshots, Snapshot(frozen, attempt.root, files, again)
                )
                content = _content(written.table.rows)
            if self.named is not None and content != self.named.content:
                raise changed_pool()
            stored = replace(written.stored, frozen=FrozenSnapshot(id=attempt.id, content=content))
            yield replace(written, stored=stored)
        except Exception:
            with contextlib.suppress(OSError):
                self.snapshots.discard(attempt)
            raise
        self.snapshots.commit(attempt, content, files, again=again)


def _write_plain(
    spark: SparkSession, plain: Typed, snapshots: Snapshots, attempt: SnapshotAttempt
) -> tuple[SnapshotFile, ...]:
    written = {file.name for file in write_typed(spark, plain.source, plain.types, attempt.root)}
    failpoint("snapshot.written")
    listed = snapshots.files.list(attempt.root)
    require_seen(attempt.root, written, (info.path for info in listed))
    return tuple(SnapshotFile(info.path, info.bytes) for info in listed if info.path in written)


@reading("unlabeled")
def _write(
    spark: SparkSession, pool: Table, snapshots: Snapshots, attempt: SnapshotAttempt
) -> tuple[SnapshotFile, ...]:
    refuse_unsafe_commits(spark)
    with set_to(spark, _WRITTEN):
        writer = pool.rows.write.mode("errorifexists").option("compression", "snappy")
        writer.option("parquet.block.size", str(ROW_GROUP_BYTES)).parquet(attempt.root)
    failpoint("snapshot.written")
    listed = snapshots.files.list(attempt.root)
    return tuple(SnapshotFile(info.path, info.bytes) for info in listed if not is_hidden(info.path))


def _opened(spark: SparkSession, snapshots: Snapshots, stored: Snapshot) -> PoolSnapshot:
    listed = [FileInfo(file.path, file.bytes) for file in stored.files]
    plain = parquet_table(spark, snapshots.files, stored.root, listed).plain
    assert plain is not None  # there is no directory in it
    schema = plain.spark_schema
    paths = [unglobbed(join(stored.root, file.path)) for file in stored.files]
    table = Table("unlabeled", schema, lambda: spark.read.schema(schema).parquet(*paths))
    return PoolSnapshot(stored, table, plain)


def _content(rows: DataFrame) -> Content:
    """Fold all rows into a fingerprint, as they read back; an action."""
    values = columns(rows.columns)
    # A null leaves Spark's hash as it is, so that which values are null is hashed, too.
    nulls = F.array(*[value.isNull() for value in values])
    folded = rows.select(F.xxhash64(*values).alias(_A), F.xxhash64(nulls, *values).alias(_B)).agg(
        F.count(F.lit(1)).alias(_N), F.bit_xor(_A).alias(_A), F.bit_xor(_B).alias(_B)
    )
    row = folded.collect()[0]
    return Content(rows=int(row[_N]), xor64_a=int(row[_A] or 0), xor64_b=int(row[_B] or 0))
