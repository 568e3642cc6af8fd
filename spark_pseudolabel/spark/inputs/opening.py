"""Opening the tables of a configuration, each by its section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import UNREADABLE
from spark_pseudolabel.config import Config
from spark_pseudolabel.config.sections import Table as TableSection
from spark_pseudolabel.spark.inputs.facts import Frames
from spark_pseudolabel.spark.reading.names import column
from spark_pseudolabel.spark.reading.tables import Table, open_table
from spark_pseudolabel.store.inputs import PinnedTable


def open_tables(
    spark: SparkSession,
    config: Config,
    frames: Frames,
    only: frozenset[str] | None,
    pinned: Mapping[str, PinnedTable],
) -> dict[str, Table]:
    """Open the tables that sections name.

    Parameters
    ----------
    spark, config
        Session and configuration.
    frames
        The DataFrames of sections that say ``from: dataframe``.
    only
        Files of the pool's directory that are read; None: all.
    pinned
        Versions of tables that are read, by section name; of others, the latest.
    """
    positions = config.id is None
    sections: dict[str, TableSection | None] = {
        "labeled": config.labeled,
        "unlabeled": None if config.unlabeled.from_ == "labeled" else config.unlabeled,
        "test": config.test,
    }
    if config.validation.is_table:
        sections["validation"] = config.validation
    tables: dict[str, Table] = {}
    for name, section in sections.items():
        if section is None:
            continue
        if section.from_ == "dataframe":
            tables[name] = Table.of_rows(name, frames[name])
        else:
            of_pool = only if name == "unlabeled" else None
            tables[name] = open_table(
                spark,
                section,
                name,
                positions=positions,
                only=of_pool,
                pinned=pinned.get(name),
            )
    return tables


def split_off_pool(tables: dict[str, Table], config: Config) -> dict[str, Table]:
    """Let rows with a null label be the pool where one table holds both."""
    if config.unlabeled.from_ != "labeled":
        return tables
    both, label = tables["labeled"], column(config.label)
    others = T.StructType([field for field in both.schema if field.name != config.label])

    def pool(rows: DataFrame) -> DataFrame:
        # The label of a row that can't be read may be another column's.
        known = reduce(Column.__and__, _readable(rows), label.isNotNull())
        return rows.filter(~known).drop(label)

    return tables | {
        "labeled": both.changed(
            both.schema,
            lambda rows: rows.filter(reduce(Column.__and__, _readable(rows), label.isNotNull())),
        ),
        "unlabeled": replace(both.changed(others, pool), name="unlabeled"),
    }


def with_labeled(tables: dict[str, Table], config: Config) -> dict[str, Table]:
    """Let labeled rows be none of the pool's where there is no table of them."""
    if config.labeled is not None:
        return tables
    pool, label = tables["unlabeled"], T.StructField(config.label, T.StringType())
    fields = [field for field in pool.schema if field.name != label.name]
    nothing = Table(
        "labeled",
        T.StructType([*fields, label]),
        lambda: pool.rows.limit(0).withColumn(label.name, F.lit(None).cast(label.dataType)),
    )
    return tables | {"labeled": nothing}


def _readable(rows: DataFrame) -> list[Column]:
    """Return the condition that a row could be read, where some could not."""
    return [column(UNREADABLE).isNull()] if UNREADABLE in rows.columns else []
