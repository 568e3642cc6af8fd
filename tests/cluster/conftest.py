"""One standalone cluster, one Python for workers, and one driver per master for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.driver import Driver, running_driver
from tests.cluster.standalone import (
    APPLICATION,
    environment,
    python_of_workers,
    spark_home,
    standalone_cluster,
)
from tests.cluster.tables import configuration, write_configuration, write_tables

LOCAL_CLUSTER = "local-cluster[2,1,1024]"
MUCH_USED = {"local[2]", "standalone"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a cluster's machine."""
    directory = tmp_path_factory.mktemp("machine")
    return environment(spark_home(directory / "spark"), python_of_workers(directory / "python"))


@pytest.fixture(scope="session")
def master(machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a standalone cluster's master."""
    with standalone_cluster(tmp_path_factory.mktemp("standalone") / "cluster", machine) as url:
        yield url


@pytest.fixture(scope="session")
def driver_of(
    machine: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Driver]]:
    """Give the driver of a master; "standalone" is the cluster's.

    All but the much used ones are stopped as soon as another is asked for: they take memory.
    """
    running: dict[str, tuple[Driver, ExitStack]] = {}

    def get(name: str) -> Driver:
        if name not in running:
            for idle in running.keys() - MUCH_USED:
                running.pop(idle)[1].close()
            master = request.getfixturevalue("master") if name == "standalone" else name
            directory = tmp_path_factory.mktemp("driver") / "cwd"
            stack = ExitStack()
            settings = APPLICATION | {"spark.master": master}
            driver = stack.enter_context(running_driver(machine, settings, directory))
            running[name] = driver, stack
        return running[name][0]

    yield get
    for _, stack in running.values():
        stack.close()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of `tests.cluster.tables`."""
    directory = tmp_path_factory.mktemp("tables") / "mixed"
    write_tables(directory)
    return directory


@pytest.fixture(scope="session")
def undisturbed(
    driver_of: Callable[[str], Driver], tables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output of a run of `configuration` on local[2] that nothing disturbed."""
    directory = tmp_path_factory.mktemp("undisturbed")
    conf = write_configuration(directory / "conf.yaml", configuration(tables, directory / "out"))
    outcome = driver_of("local[2]").command("run", conf, result=directory / "result.json")
    assert outcome.exit_code == 0, outcome.document
    return directory / "out"
