"""Fixtures for all tests. Nothing here imports pyspark before a test asks for ``spark``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Workers run whatever `python3` is first on the PATH unless told otherwise. Set here and not in
# the fixture, so that sessions which a test starts by itself or in a subprocess have it too.
os.environ["PYSPARK_PYTHON"] = sys.executable
# Every JVM that a test starts lives for seconds: the second compiler would not pay for itself.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that: tests
# that interrupt a run would wait forever when CI runs them so.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The name of a container often does not resolve; Spark would look it up and fail.
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")

SPARK_SETTINGS = {
    # Two tasks at once: code that is right only in one partition fails.
    "spark.master": "local[2]",
    # More than one, so that partition bugs show; not 200, which would take most of a test's time.
    "spark.sql.shuffle.partitions": "2",
    # Adaptive execution would merge two tiny partitions into one and hide the same bugs.
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
    # Compiling a query takes longer than it runs on a hundred rows; clusters compile theirs.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    # A web server per session costs a second, and a port that may be taken.
    "spark.ui.enabled": "false",
    # No progress bar in the captured standard error of a failing test.
    "spark.ui.showConsoleProgress": "false",
    # What matters reaches Python as an exception.
    "spark.log.level": "ERROR",
    # The driver listens where the tests run, not on an address that a VPN may take away.
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # toPandas and createDataFrame as in production, and without a silent way around Arrow.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
    # A worker that yields other columns than it declared is an error, not a shifted column.
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    # A worker that dies in native code says where. The first is for UDFs, the second for the rest.
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
    "spark.python.worker.faulthandler.enabled": "true",
    # Timestamps read the same on every machine.
    "spark.sql.session.timeZone": "UTC",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long form unless it is asked for by its mark."""
    if "long" in config.getoption("markexpr"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep together what shares a fixture, where two processes share the tests.

    The tests on clusters share one cluster and its drivers, those of a file what it makes.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "clusters" if file.startswith("tests/cluster/") else file

    return ByFixtures(config, log)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Give one session to all tests: starting a JVM takes seconds."""
    from pyspark.sql import SparkSession

    from spark_pseudolabel.spark.startup import class_data, daemon

    # A quick start and warm workers, as a run on one machine has them.
    started = daemon.settings() | class_data.java_options({})
    scratch = _scratch(tmp_path_factory.mktemp("spark"))
    builder = SparkSession.builder.appName("tests")
    for key, value in (SPARK_SETTINGS | started | scratch).items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def _scratch(directory: Path) -> dict[str, str]:
    """Keep tables and shuffle files out of the working directory and away from other runs."""
    return {
        "spark.sql.warehouse.dir": str(directory / "warehouse"),
        "spark.local.dir": str(directory / "local"),
    }
