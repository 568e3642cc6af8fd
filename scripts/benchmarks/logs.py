"""The same pool as plain Parquet, as a Delta and as an Iceberg table, read by the direct scan."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.memory import InMemoryCatalog
from pyspark.sql import SparkSession

from benchmarks.scoring import plain, score_parts, scorer_of
from benchmarks.tables import Tables
from spark_pseudolabel.config import UnlabeledTable
from spark_pseudolabel.spark.direct.survey import PlainTable
from spark_pseudolabel.spark.reading.logged import open_logged
from spark_pseudolabel.spark.tasking import run_tasks

FILES = 512 * 2**20
"""Bytes of a Delta file at most: few enough that files are as large as those of the pool."""


def ways(spark: SparkSession, tables: Tables, model: Any) -> dict[str, Callable[[], object]]:
    """Return by name what scores the whole pool once."""
    scorer = spark.sparkContext.broadcast(scorer_of(tables, model))
    by_name: dict[str, PlainTable] = {"Parquet": plain(spark, tables)}
    for name, section in (("Delta", _delta(tables)), ("Iceberg", _iceberg(tables))):
        opened = open_logged(spark, UnlabeledTable.model_validate(section), name).plain
        assert opened is not None
        by_name[name] = opened

    def scan(table: PlainTable) -> int:
        source = table.source(("id",), tables.columns)
        return sum(
            run_tasks(spark, lambda part: score_parts([part], source, scorer.value), table.parts)
        )

    return {name: partial(scan, table) for name, table in by_name.items()}


def opening(spark: SparkSession, tables: Tables) -> dict[str, Callable[[], object]]:
    """Return by name what opens the table, as a start does."""
    sections = {"Delta": _delta(tables), "Iceberg": _iceberg(tables)}
    opens: dict[str, Callable[[], object]] = {"Parquet": partial(plain, spark, tables)}
    for name, section in sections.items():
        settings = UnlabeledTable.model_validate(section)
        opens[name] = partial(open_logged, spark, settings, name)
    return opens


def _delta(tables: Tables) -> dict[str, Any]:
    """Write the pool as a Delta table, unless it is there."""
    root = tables.root / "delta"
    if not DeltaTable.is_deltatable(str(root)):
        for path in sorted(tables.pool.glob("*.parquet")):
            write_deltalake(root, pq.read_table(path), mode="append", target_file_size=FILES)
    return {"path": str(root), "format": "delta"}


def _iceberg(tables: Tables) -> dict[str, Any]:
    """Write the pool as an Iceberg table, unless it is there."""
    root, kept = tables.root / "iceberg", tables.root / "iceberg-metadata"
    if not kept.exists():
        shutil.rmtree(root, ignore_errors=True)
        catalog = InMemoryCatalog("bench", warehouse=f"file://{root}")
        catalog.create_namespace("db")
        table = None
        for path in sorted(tables.pool.glob("*.parquet")):
            rows = pq.read_table(path)
            if table is None:
                table = catalog.create_table("db.pool", schema=rows.schema)
            table.append(rows)
        assert table is not None
        kept.write_text(table.metadata_location.removeprefix("file://"), encoding="utf-8")
    return {"path": kept.read_text(encoding="utf-8"), "format": "iceberg"}
