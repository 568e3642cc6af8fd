"""Ids: unique, not null, and those of labeled rows not among those of the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.config import Config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.frame import keys as frame_keys
from spark_pseudolabel.spark.inputs.fingerprints import stored_table
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.tables import Table
from spark_pseudolabel.store.inputs import (
    FrozenInputs,
    FrozenPool,
    FrozenRows,
    FrozenSnapshot,
    FrozenTable,
)

_ID = "spl_id"
_SHOWN = 3


def bad_key(name: str, key: str, problem: str) -> InputError:
    """Say what is wrong with the ids of a table."""
    return InputError(
        f"{name}: ids in {key!r} must be unique and not null. {problem[0].upper()}{problem[1:]}. "
        "Set `id` to a column that identifies a row, or correct these rows.",
        code="bad_id",
        where=key,
    )


def repeated(n: int) -> str:
    """Say how many ids are there more than once."""
    return f"{n:,} id occurs more than once" if n == 1 else f"{n:,} ids occur more than once"


def frame_like(spark: SparkSession, rows: pa.Table, like: T.StructType) -> DataFrame:
    """Return rows as a DataFrame whose columns have the types they have in another table."""
    schema = T.StructType([like[name] for name in rows.column_names])
    return spark.createDataFrame(rows.to_pandas(), schema=schema)


@dataclass(frozen=True)
class Ids:
    """How many rows the pool has, and a hash over their ids; None where there is no id column."""

    rows: int
    xor64: int | None = None

    def of(self, table: FrozenTable, snapshot: FrozenSnapshot | None) -> FrozenPool:
        """Freeze the pool."""
        pool = FrozenPool(schema=table.columns, rows=self.rows)
        changes: dict[str, object] = {}
        if snapshot is not None:
            changes["snapshot"] = snapshot
        if table.files is not None:
            changes["files"] = table.files
        if self.xor64 is not None:
            changes["ids_xor64"] = self.xor64
        return pool.model_copy(update=changes)


@reading("unlabeled")
def check_keys(
    spark: SparkSession,
    pool: Table,
    known: pa.Table,
    keys: Sequence[str],
    config: Config,
    before: Before | None,
) -> Ids:
    """Check in one narrow pass that ids are unique, not null and not those of labeled rows."""
    if before is not None and before.same_files:
        return before.ids
    if config.id is None:
        row = pool.rows.select(*columns(keys)).agg(F.count(F.lit(1)).alias("rows")).collect()[0]
        return Ids(int(row["rows"]))
    if before is not None:
        counted = Ids(*frame_keys.count_keys(pool.rows, keys[0]))
        if before.ids == counted:
            return counted  # the same ids as were looked at when the run began
    keys_found = frame_keys.survey_keys(pool.rows, keys[0], known.column(0).combine_chunks())
    if keys_found.nulls or keys_found.known or not keys_found.unique:
        _refuse_keys(_key_facts(pool.rows, frame_like(spark, known, pool.schema), keys[0]), keys[0])
    return Ids(keys_found.rows, keys_found.xor64)


@dataclass(frozen=True)
class Before:
    """What the pool's ids were when the run began, and whether its files are still the same."""

    ids: Ids
    same_files: bool


def known_before(
    labeled: FrozenRows, validation: FrozenRows, pool: FrozenTable, proved: FrozenInputs | None
) -> Before | None:
    """Return what an earlier start found out about the ids; None if other rows are labeled now."""
    if proved is None or (proved.labeled, proved.validation) != (labeled, validation):
        return None
    before = proved.unlabeled
    same_files = before.files is not None and before.files == stored_table(pool).files
    same_files = same_files and before.columns == stored_table(pool).columns
    return Before(Ids(before.rows, before.ids_xor64), same_files)


def _refuse_keys(facts: _KeyFacts, key: str) -> None:
    if facts.nulls:
        raise bad_key("unlabeled", key, f"{facts.nulls} rows have null")
    if facts.twice:
        examples = facts.first_twice
        raise bad_key("unlabeled", key, f"{repeated(facts.twice)}, such as {examples}")
    if facts.known:
        raise InputError(
            f"unlabeled holds {facts.known} rows whose ids are also labeled or validation "
            f"rows, such as {facts.first_known}. Take them out, or set "
            "unlabeled.drop_labeled: true.",
            code="labeled_in_pool",
            where=key,
        )


@dataclass(frozen=True)
class _KeyFacts:
    """Ids of the pool that are null, occur twice, or are those of labeled rows; an example each."""

    nulls: int
    twice: int
    first_twice: str
    known: int
    first_known: str


def _key_facts(pool: DataFrame, known: DataFrame, key: str) -> _KeyFacts:
    # Renamed first: no name of a user's column may be one of those below.
    ids = pool.select(column(key).alias(_ID))
    marked = known.select(column(key).alias(_ID), F.lit(1).alias("known"))
    per_id = ids.groupBy(_ID).agg(F.count(F.lit(1)).alias("n"))
    twice = F.col("n") > 1
    row = (
        per_id.join(F.broadcast(marked), on=_ID, how="left")
        .agg(
            F.sum(F.when(F.col(_ID).isNull(), F.col("n"))).alias("nulls"),
            F.count(F.when(twice & F.col(_ID).isNotNull(), 1)).alias("twice"),
            F.min(F.when(twice, F.col(_ID))).alias("first_twice"),
            F.count("known").alias("known"),
            F.min(F.when(F.col("known") == 1, F.col(_ID))).alias("first_known"),
        )
        .collect()[0]
    )
    return _KeyFacts(
        nulls=int(row["nulls"] or 0),
        twice=int(row["twice"]),
        first_twice=repr(row["first_twice"]),
        known=int(row["known"]),
        first_known=repr(row["first_known"]),
    )


def refuse_overlap(
    shared: pa.Table, name: str, other: str, keys: Sequence[str], reason: str
) -> None:
    """Refuse rows of a table that are rows of another one."""
    if shared.num_rows:
        examples = shared.column(keys[0]).slice(0, _SHOWN).to_pylist()
        raise InputError(
            f"{name} holds {shared.num_rows} rows whose ids are also {other} rows, such as "
            f"{examples}; {reason}. Take them out of one of the two.",
            code="overlap",
            where=name,
        )
