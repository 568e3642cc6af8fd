"""Whether the executors run the Python and the libraries that the driver runs."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata

import pyspark
from pyspark.sql import SparkSession

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.tasking import run_tasks

NEEDED = ("numpy", "pandas", "pyarrow", "pyspark", "scikit-learn", "threadpoolctl")
"""Distributions that scoring needs, and Spark's own, whose older releases run code of a table."""

_MOST_TASKS = 1_000
_MISSING = "missing"
_TELLING = ("PYTHON_VERSION_MISMATCH", "ModuleNotFoundError", "ImportError", "Cannot run program")

Versions = Mapping[str, str]


def require_same_libraries(spark: SparkSession, others: Sequence[str] = ()) -> None:
    """Compare the executors' Python and libraries with the driver's, before hours are spent.

    A model that was fitted with another version may give other numbers, or none.

    Parameters
    ----------
    spark
        The session. One task for each of its cores looks; executors that join later are not seen.
    others
        Further libraries that the estimators need; each is imported, since one that is installed
        may still lack what it is linked to.

    Raises
    ------
    InputError
        Naming the host and the differences, or what kept its Python from starting. A job that fails
        for another reason, such as lost executors, raises what it raises.
    """
    if _same_interpreter(spark):
        return
    n_tasks = min(spark.sparkContext.defaultParallelism, _MOST_TASKS)
    try:
        of_hosts = run_tasks(spark, _worker_versions, [others] * n_tasks)
    except Exception as error:
        if (why := _telling_line(error)) is None:
            raise
        raise InputError(
            "Executors must run Python with this package's libraries. The first one that was "
            f"asked failed: {why}. Install them there, or name the interpreter with "
            "PYSPARK_PYTHON.",
            code="executor_python",
        ) from error
    own_versions = versions(NEEDED) | loaded(others)
    compared = {host: differences(own_versions, versions) for host, versions in of_hosts}
    wrong = {host: different for host, different in compared.items() if different}
    if wrong:
        host, first = next(iter(sorted(wrong.items())))
        more = f" {len(wrong) - 1} more hosts differ." if len(wrong) > 1 else ""
        raise InputError(
            f"Executors must have the driver's versions. On {host} {'; '.join(first)}.{more} "
            "Install the same versions there, or ship an environment (--archives) and name its "
            "interpreter with PYSPARK_PYTHON.",
            code="executor_libraries",
            where=host,
        )


def versions(names: Sequence[str]) -> dict[str, str]:
    """Return the version of Python (without its patch level) and of distributions."""
    return {"Python": f"{sys.version_info[0]}.{sys.version_info[1]}"} | {
        name: _version(name) for name in names
    }


def differences(driver: Versions, executor: Versions) -> list[str]:
    """Say where an executor's versions differ from the driver's; what both lack is no matter."""
    return [
        f"{name} is {executor[name]}, on the driver {version}"
        for name, version in driver.items()
        if executor[name] != version
    ]


def loaded(modules: Sequence[str]) -> dict[str, str]:
    """Return the versions of libraries that can be imported, and why others cannot."""
    return {name: _loaded(name) for name in modules}


def _loaded(name: str) -> str:
    try:
        return str(importlib.import_module(name).__version__)
    except ModuleNotFoundError:
        return _MISSING
    except Exception as error:  # noqa: BLE001 - whatever keeps a library from loading
        message = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return f"not usable ({type(error).__name__}: {message})"


def _worker_versions(others: Sequence[str]) -> tuple[str, dict[str, str]]:
    return socket.gethostname(), versions(NEEDED) | loaded(others)


def _version(name: str) -> str:
    if name == "pyspark":  # an executor's comes with Spark, and is no installed distribution
        return pyspark.__version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return _MISSING


def _same_interpreter(spark: SparkSession) -> bool:
    context = spark.sparkContext
    master = str(context.master)
    local = master.startswith("local") and not master.startswith("local-cluster")
    return local and context.pythonExec == sys.executable


def _telling_line(error: Exception) -> str | None:
    """Return the line of a failed job that blames the executors' Python; None if none does."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if any(word in line for word in _TELLING)), None)
