"""One standalone cluster, one Python for workers, and one driver per master for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyspark
import pytest

from spark_pseudolabel.spark.startup import class_data
from tests.cluster.driver import Driver, running_driver
from tests.cluster.standalone import (
    APPLICATION,
    environment,
    python_of_workers,
    standalone_cluster,
)
from tests.cluster.tables import configuration, write_configuration, write_tables


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a cluster's machine."""
    python = python_of_workers(tmp_path_factory.mktemp("machine") / "python")
    machine = environment(Path(pyspark.__file__).parent, python)
    # Twenty JVMs are started here, each for seconds: all map the classes that one has parsed.
    mapped = class_data.java_options({}).get(class_data.OPTION, "")
    if "SharedArchiveFile" in mapped:
        machine["JDK_JAVA_OPTIONS"] = f"{machine['JDK_JAVA_OPTIONS']} {mapped}"
    return machine


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
    """Give the driver of a master; "standalone" is the cluster's."""
    with ExitStack() as running:
        drivers: dict[str, Driver] = {}

        def get(name: str) -> Driver:
            if name not in drivers:
                master = request.getfixturevalue("master") if name == "standalone" else name
                directory = tmp_path_factory.mktemp("driver") / "cwd"
                settings = APPLICATION | {"spark.master": master}
                drivers[name] = running.enter_context(running_driver(machine, settings, directory))
            return drivers[name]

        yield get


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
