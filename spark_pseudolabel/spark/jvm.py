"""The JVM behind a session that is started here: early, quiet, and soon at work."""

from __future__ import annotations

import contextlib
import os
import shlex
import string
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from py4j.java_gateway import JavaGateway
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway

# A JVM's second compiler otherwise takes 14 of the 33 seconds of CPU that a short run costs the
# JVM, for code that runs at its start only. Loops that are hot still reach these limits in no time.
_COMPILE_LATER = (
    "-XX:Tier4InvocationThreshold=200000 -XX:Tier4MinInvocationThreshold=24000 "
    "-XX:Tier4CompileThreshold=600000 -XX:Tier4BackEdgeThreshold=1600000"
)
_JAVA_OPTIONS = "JDK_JAVA_OPTIONS"
_SUBMIT_ARGUMENTS = "PYSPARK_SUBMIT_ARGS"


class JvmStart:
    """A JVM that is being started, in a thread of its own.

    Parameters
    ----------
    conf
        Spark's settings. Some count only when the JVM is started, such as its memory.

    Attributes
    ----------
    log
        What Spark prints before its log level can be set, and what its workers print later. The
        file stays in the temporary directory for whoever looks for a crash. A JVM that held our
        standard output would let whoever reads it wait for the JVM's end.
    """

    def __init__(self, conf: Mapping[str, str]):
        handle, self.log = tempfile.mkstemp(prefix="spark-pseudolabel-", suffix=".log")
        self._conf = SparkConf(loadDefaults=False).setAll(list(conf.items()))
        self._found: JavaGateway | BaseException | None = None
        self._thread = threading.Thread(target=self._launch, args=(handle,), daemon=True)
        self._thread.start()

    def gateway(self) -> JavaGateway:
        """Return the way to it once it is there; raise what went wrong."""
        self._thread.join()
        if not isinstance(self._found, JavaGateway):
            raise self._found or RuntimeError("The JVM was not started.")
        return self._found

    def _launch(self, handle: int) -> None:
        try:
            with (
                os.fdopen(handle, "wb") as log,
                _java_options(self._conf.get("spark.master")),
                _settings_in_a_file(dict(self._conf.getAll())),
            ):
                streams = {"stdout": log, "stderr": log}
                self._found = launch_gateway(None, streams)  # type: ignore[no-untyped-call]
        except BaseException as error:  # noqa: BLE001  raised where the gateway is asked for
            self._found = error


def submitted() -> bool:
    """Whether spark-submit has started this process, and has its JVM."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def is_there() -> bool:
    """Whether this process has a JVM already."""
    return submitted() or SparkContext._gateway is not None


def is_local(master: str | None) -> bool:
    """Whether executors are threads of the driver's JVM."""
    return master is not None and master.startswith("local") and "cluster" not in master


@contextlib.contextmanager
def _settings_in_a_file(conf: Mapping[str, str]) -> Iterator[None]:
    """Give settings to the JVM in a file that is the user's alone, for as long as it starts.

    As arguments, pyspark's own way, everybody on the machine would read the keys of stores in a
    list of processes.
    """
    before = os.environ.get(_SUBMIT_ARGUMENTS)
    handle, path = tempfile.mkstemp(prefix="spark-pseudolabel-", suffix=".properties")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(map(_property, conf, conf.values()))
        arguments = f"--properties-file {shlex.quote(path)} --load-spark-defaults"
        os.environ[_SUBMIT_ARGUMENTS] = f"{arguments} {before or 'pyspark-shell'}"
        yield
    finally:
        Path(path).unlink(missing_ok=True)
        if before is None:
            os.environ.pop(_SUBMIT_ARGUMENTS, None)
        else:
            os.environ[_SUBMIT_ARGUMENTS] = before


def _property(key: str, value: str) -> str:
    r"""Return a line of Java's properties, every character that could end a part of it escaped.

    Examples
    --------
    >>> _property("spark.app.name", "é = 1")
    'spark.app.name=\\u00e9\\u0020\\u003d\\u00201\n'
    """
    return f"{_escaped(key)}={_escaped(value)}\n"


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    plain = frozenset(map(ord, string.ascii_letters + string.digits + "._-/*+,"))
    return "".join(chr(code) if code in plain else f"\\u{code:04x}" for code in codes)


@contextlib.contextmanager
def _java_options(master: str | None) -> Iterator[None]:
    """Tune a JVM that shares its cores with the workers, where nobody else does."""
    if not is_local(master) or _JAVA_OPTIONS in os.environ:
        yield
        return
    os.environ[_JAVA_OPTIONS] = _COMPILE_LATER
    try:
        yield
    finally:
        del os.environ[_JAVA_OPTIONS]
