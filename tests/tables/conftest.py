"""A Spark with the jars of Delta and Iceberg; see scripts/tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.conftest import SPARK_SETTINGS

JARS = "SPL_TABLE_JARS"
LAKE = "lake"
"""A catalog of Iceberg's, whose tables say themselves which metadata are the latest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.tables)
            # This Spark leaves it to the collector to close what rows came through.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@dataclass(frozen=True)
class Lake:
    """Where tables are made, and what makes them.

    Parameters
    ----------
    spark
        A session with the jars.
    root
        Directory of the tables.
    """

    spark: SparkSession
    root: Path

    def sql(self, *statements: str) -> None:
        for statement in statements:
            self.spark.sql(statement)


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Give one session to all tests."""
    if JARS not in os.environ:
        pytest.skip(f"{JARS} must name the directory of the formats' jars: run scripts/tables")
    root = tmp_path_factory.mktemp("lake")
    jars = ",".join(str(jar) for jar in sorted(Path(os.environ[JARS]).glob("*.jar")))
    settings = {
        "spark.jars": jars,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension,"
        "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        f"spark.sql.catalog.{LAKE}": "org.apache.iceberg.spark.SparkCatalog",
        f"spark.sql.catalog.{LAKE}.type": "hadoop",
        f"spark.sql.catalog.{LAKE}.warehouse": str(root / "iceberg"),
        "spark.sql.warehouse.dir": str(root / "warehouse"),
        "spark.local.dir": str(root / "local"),
        # Fifty tasks for the state of a table of one file.
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
    }
    builder = SparkSession.builder.appName("tables")
    for key, value in (SPARK_SETTINGS | settings).items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield Lake(session, root)
    session.stop()
