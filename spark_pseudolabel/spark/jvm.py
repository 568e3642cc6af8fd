"""The JVM behind a session that is started here: early, quiet, and soon at work."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping

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
            with os.fdopen(handle, "wb") as log, _java_options(self._conf.get("spark.master")):
                streams = {"stdout": log, "stderr": log}
                self._found = launch_gateway(self._conf, streams)  # type: ignore[no-untyped-call]
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
