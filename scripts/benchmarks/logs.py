"""A pool as a Delta and as an Iceberg table, and their files as plain Parquet, scanned."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from deltalake import DeltaTable, WriterProperties, write_deltalake
from pyiceberg.catalog.memory import InMemoryCatalog
from pyspark.sql import SparkSession

from benchmarks.scoring import score_parts, scorer_of
from benchmarks.tables import ROWS_PER_GROUP, Tables
from spark_pseudolabel.config import UnlabeledTable
from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.spark.direct.survey import PlainTable, parquet_table
from spark_pseudolabel.spark.reading.logged import open_logged
from spark_pseudolabel.spark.tasking import run_tasks
from spark_pseudolabel.store.file_systems import open_files

_GROUPS = {"write.parquet.row-group-limit": str(ROWS_PER_GROUP)}


def ways(spark: SparkSession, tables: Tables, model: Any) -> dict[str, Callable[[], object]]:
    """Return by name what scores the whole pool once: a table, and its files as plain Parquet."""
    scorer = spark.sparkContext.broadcast(scorer_of(tables, model))
    by_name: dict[str, PlainTable] = {}
    for name, section in (("Delta", _delta(tables)), ("Iceberg", _iceberg(tables))):
        opened = open_logged(spark, UnlabeledTable.model_validate(section), name).plain
        assert opened is not None
        by_name |= {name: opened, files_of(name): _as_files(spark, opened)}

    def scan(table: PlainTable) -> int:
        source = table.source(("id",), tables.columns)
        return sum(
            run_tasks(spark, lambda part: score_parts([part], source, scorer.value), table.parts)
        )

    return {name: partial(scan, table) for name, table in by_name.items()}


def files_of(name: str) -> str:
    """Name the files of a table."""
    return f"{name}'s files"


def _as_files(spark: SparkSession, table: PlainTable) -> PlainTable:
    """Open the files of a table as a directory of Parquet, which these tables are."""
    folder = Path(table.root, table.footers[0].file.path).parent
    files, root = open_files(str(folder))
    listed = [info for info in files.list(root) if not is_hidden(info.path)]
    plain = parquet_table(spark, files, root, listed).plain
    assert plain is not None
    return plain


def opening(spark: SparkSession, tables: Tables) -> dict[str, Callable[[], object]]:
    """Return by name what opens a table or its files, as a start does."""
    opens: dict[str, Callable[[], object]] = {}
    for name, section in (("Delta", _delta(tables)), ("Iceberg", _iceberg(tables))):
        settings = UnlabeledTable.model_validate(section)
        opened = open_logged(spark, settings, name).plain
        assert opened is not None
        opens[name] = partial(open_logged, spark, settings, name)
        opens[files_of(name)] = partial(_as_files, spark, opened)
    return opens


def _delta(tables: Tables) -> dict[str, Any]:
    """Write the pool as a Delta table, unless it is there."""
    root = tables.root / "delta"
    if not DeltaTable.is_deltatable(str(root)):
        for path in sorted(tables.pool.glob("*.parquet")):
            rows = WriterProperties(max_row_group_size=ROWS_PER_GROUP)
            write_deltalake(root, pq.read_table(path), mode="append", writer_properties=rows)
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
                table = catalog.create_table("db.pool", schema=rows.schema, properties=_GROUPS)
            table.append(rows)
        assert table is not None
        kept.write_text(table.metadata_location.removeprefix("file://"), encoding="utf-8")
    return {"path": kept.read_text(encoding="utf-8"), "format": "iceberg"}
