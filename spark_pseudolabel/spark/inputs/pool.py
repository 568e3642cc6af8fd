"""The rows of the pool that a run labels, and which of them earlier generations have seen."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.uniqueness import Hashes
from spark_pseudolabel.spark.direct.keys import key_hashes
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.inputs.facts import GROUP, NewRows
from spark_pseudolabel.spark.inputs.ids import frame_like
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.schema import select_features, selected_schema
from spark_pseudolabel.spark.reading.tables import Table, reasons_of, to_arrow

_SEEN = "spl_seen"


@dataclass(frozen=True)
class Seen:
    """Hashes of the pool's ids, ascending: those that were seen before, and those that are new."""

    hashes: Hashes
    new: Hashes

    def left(self, spark: SparkSession, pool: DataFrame, key: str) -> DataFrame:
        """Return the rows that are new; the fewer hashes are broadcast."""
        few, how = min((self.hashes, "left_anti"), (self.new, "left_semi"), key=lambda h: len(h[0]))
        table = pd.DataFrame({_SEEN: few.view(np.int64)})
        schema = T.StructType([T.StructField(_SEEN, T.LongType())])
        hashes = F.broadcast(spark.createDataFrame(table, schema=schema))
        return pool.join(hashes, on=F.xxhash64(column(key)) == F.col(_SEEN), how=how)


@reading("unlabeled")
def seen_before(
    spark: SparkSession,
    table: Table,
    config: Config,
    keys: tuple[str, ...],
    features: Sequence[Feature],
    new_rows: NewRows,
) -> Seen | None:
    """Look which ids of the pool an earlier generation has seen; None where none was."""
    if new_rows.seen is None or config.id is None:
        return None
    hashes = _key_hashes(spark, table, config, keys, features)
    of_seen = new_rows.seen(hashes)
    return Seen(hashes[of_seen], hashes[~of_seen]) if of_seen.any() else None


def _key_hashes(
    spark: SparkSession,
    table: Table,
    config: Config,
    keys: tuple[str, ...],
    features: Sequence[Feature],
) -> Hashes:
    if not needs_spark(table, config, keys, features):
        assert table.plain is not None
        # What workers can't read the survey finds out, and says.
        with contextlib.suppress(OSError, PySparkException, Py4JError):
            return key_hashes(spark, Scan(table.plain.source(keys), table.plain.parts))
    hashed = to_arrow(table.rows.select(F.xxhash64(column(keys[0])).alias(HASH)))
    return np.sort(hashed.column(HASH).to_numpy().view(np.uint64))


def ids_left_out(config: Config, known: pa.Table, asked: pa.Array | None) -> pa.Array | None:
    """Return ids of the pool's rows that are labeled, where these are left out; None: none is."""
    if config.unlabeled.drop_labeled:
        return known.column(0).combine_chunks()
    return asked


def pool_of(
    spark: SparkSession,
    table: Table,
    keys: Sequence[str],
    features: Sequence[Feature],
    known: pa.Table,
    config: Config,
    seen: Seen | None,
    asked: pa.Array | None,
    of_group: Sequence[str] = (),
) -> Table:
    """Return keys and features of the unlabeled rows, without the labeled ones if so asked for.

    With ``spl_group`` where the column that says which rows belong together is named.
    """
    groups = [column(name).alias(GROUP) for name in of_group]

    def change(rows: DataFrame) -> DataFrame:
        pool = rows.select(
            *columns(keys), *select_features(rows, features), *groups, *reasons_of(rows)
        )
        if seen is not None:
            pool = seen.left(spark, pool, keys[0])
        left_out = ids_left_out(config, known, asked)
        if left_out is None:
            return pool
        ids = pa.table({keys[0]: left_out})
        taken = F.broadcast(frame_like(spark, ids, table.schema))
        return pool.join(taken, on=list(keys), how="left_anti")

    return table.changed(selected_schema(table.schema, keys, features), change)


def needs_spark(
    table: Table, config: Config, keys: Sequence[str], features: Sequence[Feature]
) -> str:
    """Say why Spark has to read the pool; nothing where it need not."""
    if config.rules is not None:
        return "rules are SQL"
    if config.unlabeled.scan == "spark":
        return "unlabeled.scan is spark"
    if table.files is None:
        return "it is no directory of files"
    if table.plain is None:
        return "it is not a plain directory of Parquet files"
    if config.unlabeled.drop_labeled and config.id is None:
        return "unlabeled.drop_labeled needs an id"
    ids = keys if config.id is not None else ()
    if not table.plain.readable([*ids, *(feature.name for feature in features)]):
        return "it has columns of types that are left to Spark"
    return ""
