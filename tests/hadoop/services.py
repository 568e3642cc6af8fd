"""HDFS and an S3 endpoint on this machine, each a process that is ended by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

from tests.cluster.standalone import end_group

BUCKET = "outputs"
STARTED_S = 120.0
_KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


@dataclass(frozen=True)
class Store:
    """A place for outputs that is not a local disk.

    Parameters
    ----------
    root
        URI below which outputs are made.
    settings
        What a Spark session needs to reach it.
    environment
        What other clients need.
    """

    root: str
    settings: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def hdfs(directory: Path, jars: Path) -> Iterator[Store]:
    """Run Hadoop's own mini cluster: a name node and a data node in one process."""
    directory.mkdir()
    details = directory / "details.json"
    spark_jars = Path(pyspark.__file__).parent / "jars"
    cluster = "org.apache.hadoop.test.MiniDFSClusterManager"
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else "java"
    command = [
        *(str(java), "-Xmx512m", f"-Dtest.build.data={directory / 'data'}"),
        *("-cp", f"{jars}/*:{spark_jars}/*", cluster),
        *("-format", "-datanodes", "1", "-nnport", "0", "-httpport", "0"),
        *("-writeDetails", str(details)),
    ]
    with _running(command, directory) as process:
        port = _wait_for_port(details, process)
        yield Store(f"hdfs://127.0.0.1:{port}/outputs", _jars(jars))


@contextlib.contextmanager
def s3(directory: Path, jars: Path) -> Iterator[Store]:
    """Run moto's server, with the Python that scripts/hadoop has made for it."""
    directory.mkdir()
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    python = os.environ["SPL_S3_PYTHON"]
    command = [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, directory):
        _make_bucket(endpoint)
        settings = {
            "fs.s3a.endpoint": endpoint,
            "fs.s3a.endpoint.region": "us-east-1",
            "fs.s3a.path.style.access": "true",
            "fs.s3a.aws.credentials.provider": (
                "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
            ),
        }
        yield Store(
            f"s3a://{BUCKET}",
            _jars(jars) | {f"spark.hadoop.{name}": value for name, value in settings.items()},
            _KEYS | {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"},
        )


def _jars(jars: Path) -> dict[str, str]:
    # The mini cluster has classes of its own of what a client has, too.
    needed = [str(jar) for jar in sorted(jars.glob("*.jar")) if "minicluster" not in jar.name]
    return {"spark.driver.extraClassPath": ":".join(needed)}


@contextlib.contextmanager
def _running(command: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process)


def _wait_for_port(details: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + STARTED_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return int(json.loads(details.read_text())["namenode_port"])
        time.sleep(0.2)
    raise RuntimeError((details.parent / "log").read_text()[-3000:])


def _make_bucket(endpoint: str) -> None:
    request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
    deadline = time.monotonic() + STARTED_S
    while True:
        try:
            urllib.request.urlopen(request).close()
            return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
