"""Outputs on HDFS and on S3, and two drivers that reach them; see scripts/hadoop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.driver import Driver, running_driver
from tests.cluster.standalone import environment, python_of_workers, spark_home
from tests.cluster.tables import write_tables
from tests.hadoop.services import Store, hdfs, s3

JARS = "SPL_HADOOP_JARS"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.hadoop)


@dataclass(frozen=True)
class Place:
    """A store and two drivers that reach it.

    Parameters
    ----------
    store
        Where outputs are made.
    environment
        Of processes that use it.
    drivers
        Each in a process of its own, with a JVM of its own.
    """

    store: Store
    environment: dict[str, str]
    drivers: tuple[Driver, Driver]


@pytest.fixture(scope="session")
def jars() -> Path:
    if JARS not in os.environ:
        pytest.skip(f"{JARS} must name the directory of Hadoop's jars: run scripts/hadoop")
    return Path(os.environ[JARS])


@pytest.fixture(scope="session", params=["local", "hdfs", "s3"])
def place(
    request: pytest.FixtureRequest, jars: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Each kind of store in turn; the local disk is what the others are held to."""
    directory = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "local":
            store = Store(str(directory / "outputs"), {})
        else:
            service = hdfs if request.param == "hdfs" else s3
            store = stack.enter_context(service(directory / "service", jars))
        home = spark_home(directory / "spark")
        machine = environment(home, python_of_workers(directory / "python")) | store.environment
        settings = {"spark.master": "local[1]", "spark.ui.enabled": "false", **store.settings}
        first, second = (
            stack.enter_context(running_driver(machine, settings, directory / name))
            for name in ("first", "second")
        )
        yield Place(store, machine, (first, second))


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tables") / "mixed"
    write_tables(directory)
    return directory
