"""Spark's own standalone cluster on this machine: one master, two workers, stopped by their pids.

Also what a cluster's machines have and a developer's has not: a Python with the libraries but
without this package, and a Spark whose work directory is not inside site-packages.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import site
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pyspark

WORKERS = 2
# Executors of two applications fit at once, so that one test need not wait for another's end.
CORES, MEMORY = 4, "4g"
STARTED_S = 90.0

APPLICATION = {
    "spark.executor.memory": "1g",
    # One core on each worker: without these an application takes all there are.
    "spark.cores.max": str(WORKERS),
    "spark.executor.cores": "1",
    "spark.ui.enabled": "false",
}

_MASTER_URL = re.compile(r"spark://127\.0\.0\.1:\d+")


def spark_home(directory: Path) -> Path:
    """Make a Spark of links to the installed one, so that workers' directories lie beside them.

    A local-cluster writes below its home whatever SPARK_WORKER_DIR says.
    """
    directory.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        (directory / entry.name).symlink_to(entry)
    return directory


def python_of_workers(directory: Path) -> Path:
    """Make a Python that sees the installed libraries and not this package.

    A line in a .pth file adds a directory without reading the .pth files in there, which is how
    an editable install makes a package known.
    """
    venv.EnvBuilder(symlinks=True).create(directory)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = directory / "lib" / name / "site-packages" / "libraries.pth"
    libraries.write_text("\n".join(site.getsitepackages()) + "\n")
    python = directory / "bin" / "python"
    _require_library_and_no_package(python, directory)
    return python


def environment(home: Path, python: Path) -> dict[str, str]:
    """Return the environment of a cluster's machine: nothing in it leads to this checkout."""
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PWD")}
    return ours | {
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": str(python),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
    }


@contextlib.contextmanager
def standalone_cluster(directory: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start a master and its workers; yield the master's URL once all workers have registered."""
    directory.mkdir()
    with contextlib.ExitStack() as started:
        host = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
        master_log = started.enter_context(
            _running("master.Master", host, directory / "master", environment)
        )
        url = _wait_for(_MASTER_URL.pattern, master_log)[0]
        room = ["--cores", str(CORES), "--memory", MEMORY]
        for number in range(1, WORKERS + 1):
            work = directory / f"worker-{number}"
            arguments = [*host, *room, "--work-dir", str(work), url]
            started.enter_context(_running("worker.Worker", arguments, work, environment))
        _wait_for("Registering worker", master_log, times=WORKERS)
        yield url


@contextlib.contextmanager
def _running(
    name: str, arguments: list[str], directory: Path, environment: dict[str, str]
) -> Iterator[Path]:
    """Run a daemon in the directory; yield its log. Ended with what it started: its group."""
    directory.mkdir()
    log = directory / "log"
    command = [f"{environment['SPARK_HOME']}/bin/spark-class", f"org.apache.spark.deploy.{name}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=directory,
            env=environment | {"SPARK_DAEMON_MEMORY": "256m"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes], patience_s: float = 10.0) -> None:
    """End a process that leads a group, and the group with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)


def _wait_for(pattern: str, log: Path, times: int = 1) -> list[str]:
    deadline = time.monotonic() + STARTED_S
    while time.monotonic() < deadline:
        found = re.findall(pattern, log.read_text(errors="replace"))
        if len(found) >= times:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{pattern!r} must show {times} times in {log}: {log.read_text()[-2000:]}")


def _require_library_and_no_package(python: Path, directory: Path) -> None:
    code = (
        "from importlib.util import find_spec\n"
        "needed = 'numpy', 'pandas', 'pyarrow', 'pyspark', 'sklearn', 'threadpoolctl'\n"
        "assert all(find_spec(name) for name in needed), 'A library is missing.'\n"
        "assert not find_spec('spark_pseudolabel'), 'They have it.'"
    )
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code], cwd=directory, env=bare, capture_output=True, text=True
    )
    if done.returncode:
        raise AssertionError(
            "Workers must have the libraries and not this package, or nothing would show that it "
            f"is sent to them. Install it editable, or not at all. {done.stderr}"
        )
