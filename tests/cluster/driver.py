"""A driver in a process of its own, with a Spark of its own, which works on one call at a time.

A Spark session takes seconds to start and a process holds one: tests that need the same master
share a driver.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.runs import sklearn_cases
from tests.runs.sklearn_cases import Case

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Parameters
    ----------
    exit_code
        What the process would have ended with.
    document
        What ``--result`` holds.
    """

    exit_code: int
    document: dict[str, Any]


class Driver:
    """A process with a Spark session.

    Parameters
    ----------
    environment
        Of the process, and of the workers that a local cluster starts.
    settings
        Of the session; ``spark.master`` among them.
    directory
        Where it and its workers run.
    """

    def __init__(
        self, environment: Mapping[str, str], settings: Mapping[str, str], directory: Path
    ):
        directory.mkdir()
        self._process = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(dict(environment), dict(settings), str(directory)),
        )

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function of a module there, beside the session."""
        return self._process.submit(function, *arguments).result()

    def command(self, *arguments: str, result: Path) -> Outcome:
        """Run one of our commands there."""
        exit_code = self.call(_command, [*arguments, "--quiet", "--result", str(result)])
        return Outcome(exit_code, json.loads(result.read_text()))

    def sklearn_case(self, case: Case, directory: Path) -> sklearn_cases.Outcome:
        """Run one of the comparisons with scikit-learn there."""
        return self.call(_sklearn_case, case, directory)

    def stop(self) -> None:
        """Stop Spark and end the process."""
        with contextlib.suppress(Exception):
            self.call(_stop)
        self._process.shutdown()


@contextlib.contextmanager
def running_driver(
    environment: Mapping[str, str], settings: Mapping[str, str], directory: Path
) -> Iterator[Driver]:
    """Start a driver and stop it."""
    driver = Driver(environment, settings, directory)
    try:
        yield driver
    finally:
        driver.stop()


def _start(environment: dict[str, str], settings: dict[str, str], directory: str) -> None:
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from spark_pseudolabel.config import SparkSettings
    from spark_pseudolabel.spark.startup.session import get_session

    get_session(SparkSettings(master=settings["spark.master"], conf=settings))


def _end_with_parent() -> None:
    """Leave no Spark behind where the tests were killed: its JVM ends with this process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _command(arguments: list[str]) -> int:
    from spark_pseudolabel.cli import main

    # Standard output is that of the tests; what is asked for stands in the result.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return main(arguments)


def _sklearn_case(case: Case, directory: Path) -> sklearn_cases.Outcome:
    from pyspark.sql import SparkSession

    return sklearn_cases.run_case(SparkSession.builder.getOrCreate(), case, directory)


def _stop() -> None:
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is not None:
        context.stop()
