"""Looking whether workers read the pool by themselves, or a copy of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from spark_pseudolabel.columns import UNREADABLE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.errors import InputError, text_of
from spark_pseudolabel.spark.direct.keys import require_reach, survey_keys
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.inputs.facts import GROUP, Groups
from spark_pseudolabel.spark.inputs.ids import Before, Ids, check_keys
from spark_pseudolabel.spark.inputs.pool import Seen, ids_left_out, needs_spark
from spark_pseudolabel.spark.reading.names import columns
from spark_pseudolabel.spark.reading.tables import Table
from spark_pseudolabel.spark.snapshot import Freezer, PoolSnapshot, Typed
from spark_pseudolabel.store.inputs import FrozenSnapshot

_SURE = ("damaged_file", "encrypted_file", "version_expired")
"""Codes of what workers find wrong with files, that Spark would find, too."""


@dataclass(frozen=True)
class Survey:
    """What the direct scan found out about the pool: nothing, where it can't be used.

    Tried, where workers could not read what seemed to be theirs to read.
    """

    scan: Scan | None = None
    no_scan: str = ""
    ids: Ids | None = None
    tried: bool = False


def survey_pool(
    spark: SparkSession,
    table: Table,
    config: Config,
    keys: tuple[str, ...],
    features: Sequence[Feature],
    known: pa.Table,
    probe: str | None,
    before: Before | None,
    seen: Seen | None,
    asked: pa.Array | None,
) -> Survey:
    """Try whether workers can read the pool by themselves, and look at its keys on the way."""
    one_table = config.unlabeled.from_ == "labeled"
    reason = needs_spark(table, config, keys, features)
    if reason:
        return Survey(no_scan=reason)
    assert table.plain is not None
    source = table.plain.source(
        keys,
        [feature.name for feature in features],
        only_null=config.label if one_table else None,
        excluded=ids_left_out(config, known, asked),
        seen=None if seen is None else seen.hashes,
    )
    scan = Scan(source, table.plain.parts)
    try:
        if before is not None and before.same_files:
            require_reach(spark, scan, probe)
            return Survey(scan, ids=before.ids)
        pool_keys = survey_keys(spark, scan, known.column(0), probe)
    except (OSError, PySparkException, Py4JError, InputError) as error:
        if isinstance(error, InputError) and error.code in _SURE:
            raise
        return Survey(no_scan=f"the workers can't read it ({_first_line(error)})", tried=True)
    if config.id is None:
        return Survey(scan, ids=Ids(pool_keys.rows))
    if pool_keys.nulls or pool_keys.known or not pool_keys.unique:
        return Survey(scan)  # Spark finds out which id it is
    return Survey(scan, ids=Ids(pool_keys.rows, pool_keys.xor64))


@dataclass(frozen=True)
class SparkPool:
    """A pool that Spark reads, and what is known of it.

    Parameters
    ----------
    wide
        Keys, features and ``spl_group``, which are frozen.
    narrow
        Keys and features.
    config, keys, known, before
        Of the run.
    plain
        The same rows as workers read them from CSV, where they do.
    """

    wide: Table
    narrow: Table
    config: Config
    keys: tuple[str, ...]
    known: pa.Table
    before: Before | None
    plain: Typed | None


@dataclass(frozen=True)
class FrozenCopy:
    """A pool that was frozen, in the place of the one that Spark reads.

    Parameters
    ----------
    snapshot
        The files.
    pool
        Keys and features.
    survey
        How workers read them.
    keys
        Key columns.
    """

    snapshot: PoolSnapshot
    pool: Table
    survey: Survey
    keys: tuple[str, ...]

    @property
    def frozen(self) -> FrozenSnapshot:
        return self.snapshot.stored.frozen

    @property
    def again(self) -> bool:
        return self.snapshot.stored.again

    def groups(self, groups: Groups | None) -> Groups | None:
        """Return the groups of rows, those of the pool as they were frozen."""
        if groups is None or groups.pool is None:
            return groups
        schema, table = groups.pool.schema, self.snapshot.table
        of_keys = T.StructType([*(schema[key] for key in self.keys), table.schema[GROUP]])
        names = of_keys.names
        return replace(
            groups, pool=table.changed(of_keys, lambda rows: rows.select(*columns(names)))
        )


def copy_pool(
    spark: SparkSession, freezer: Freezer, pool: SparkPool, probe: str | None
) -> FrozenCopy:
    """Open the snapshot of a run, or freeze its pool, whose ids are looked at before it is real."""
    found = freezer.found(spark)
    if found is not None:
        return _looked_at(spark, found, pool, probe, pool.before)
    with freezer.freeze(spark, pool.wide, pool.plain) as frozen:
        return _looked_at(spark, frozen, pool, probe, None)


def _looked_at(
    spark: SparkSession,
    snapshot: PoolSnapshot,
    pool: SparkPool,
    probe: str | None,
    before: Before | None,
) -> FrozenCopy:
    rows = snapshot.narrowed(pool.narrow)
    survey = _survey_copy(spark, snapshot, pool, probe, before)
    if survey.ids is None:
        ids = check_keys(spark, rows, pool.known, pool.keys, pool.config, before)
        survey = replace(survey, ids=ids)
    return FrozenCopy(snapshot, rows, survey, pool.keys)


def _survey_copy(
    spark: SparkSession,
    snapshot: PoolSnapshot,
    pool: SparkPool,
    probe: str | None,
    before: Before | None,
) -> Survey:
    """Try whether workers read a snapshot, and look at its keys where they are not known."""
    if pool.config.unlabeled.scan == "spark":
        return Survey(no_scan="unlabeled.scan is spark")
    reasons = [UNREADABLE] if UNREADABLE in snapshot.table.schema.names else []
    features = [name for name in pool.narrow.schema.names if name not in pool.keys]
    source = snapshot.plain.source(pool.keys, [*features, *reasons])
    scan = Scan(replace(source, stored_places=True), snapshot.plain.parts)
    try:
        if before is not None or pool.config.id is None:
            require_reach(spark, scan, probe)
            return Survey(scan, ids=Ids(snapshot.rows) if before is None else before.ids)
        found = survey_keys(spark, scan, pool.known.column(0), probe)
    except (OSError, PySparkException, Py4JError) as error:
        return Survey(no_scan=f"the workers can't read its snapshot ({_first_line(error)})")
    if found.nulls or found.known or not found.unique:
        return Survey(scan)  # Spark finds out which id it is
    return Survey(scan, ids=Ids(found.rows, found.xor64))


def _first_line(error: BaseException) -> str:
    lines = text_of(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
