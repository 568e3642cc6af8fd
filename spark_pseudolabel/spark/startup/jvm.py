"""The JVM behind a session that is started here: early, quiet, and soon at work."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import string
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from py4j.java_gateway import JavaGateway
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway

from spark_pseudolabel.spark.startup import java

GONE = (Py4JError, PySparkException, OSError, AttributeError)
"""What a call into a JVM raises that is ending or has ended."""

_LOOPBACK = "127.0.0.1"
_LOG_BYTES = 64 * 1024

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

    Notes
    -----
    What Spark prints before its log level can be set, and what its workers print later, goes into
    a file without a name: a JVM that held our standard output would make its reader wait for
    the JVM's end, and a file with a name would stay behind.
    """

    def __init__(self, conf: Mapping[str, str]):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  the JVM's, for as long as it lives
        self._conf = SparkConf(loadDefaults=False).setAll(list(conf.items()))
        self._found: JavaGateway | BaseException | None = None
        self._thread = threading.Thread(target=self._launch, daemon=True)
        self._thread.start()

    def output(self) -> str:
        """Return the end of what it has printed."""
        size = os.fstat(self._log.fileno()).st_size
        # Read without a seek: the JVM writes at the same place of the same open file.
        end = os.pread(self._log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        return end.decode("utf-8", errors="replace")

    def gateway(self) -> JavaGateway:
        """Return the way to it once it is there; raise what went wrong."""
        self._thread.join()
        if not isinstance(self._found, JavaGateway):
            raise self._found or RuntimeError("The JVM was not started.")
        return self._found

    def _launch(self) -> None:
        try:
            with (
                _java_options(self._conf.get("spark.master")),
                _settings_in_a_file(dict(self._conf.getAll())),
            ):
                streams = {"stdout": self._log, "stderr": self._log}
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


def set_what_java_needs() -> None:
    """Make sure that there is a Java which Spark takes, as far as that shows without starting it.

    Where neither JAVA_HOME nor the PATH leads to one, JAVA_HOME is set to one that is installed.

    Raises
    ------
    InputError
        If there is none, or JAVA_HOME names another one.
    """
    found = java.find()
    if found.must_be_named:
        os.environ["JAVA_HOME"] = str(found.home)


def set_local_address() -> None:
    """Let Spark use the loopback address where it would fail to look this machine's name up."""
    if {"SPARK_LOCAL_IP", "SPARK_LOCAL_HOSTNAME"} & set(os.environ):
        return
    if not java.resolves(socket.gethostname()):
        os.environ["SPARK_LOCAL_IP"] = _LOOPBACK


_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"UnknownHostException: ([^\s:]+)",
        r"the host name \1 does not resolve. Add it to /etc/hosts, or set SPARK_LOCAL_IP to an "
        r"address of this machine.",
    ),
    (
        r"gaierror",
        r"the host name localhost does not resolve. Add '127.0.0.1 localhost' to /etc/hosts.",
    ),
    (
        r"(BindException: [^\n!]+)",
        r"\1. Set SPARK_LOCAL_IP to an address of this machine.",
    ),
    (
        r"UnsupportedClassVersionError",
        f"its Java is too old. Set JAVA_HOME to a Java {java.OLDEST} or newer.",
    ),
    (
        r"(\S*java): (?:No such file|cannot execute|Permission denied)|JAVA_HOME is not set",
        f"there is no Java to run. Set JAVA_HOME to a Java {java.OLDEST} or newer.",
    ),
)
_SAID = (
    re.compile(r"^Caused by: (.+)$", re.MULTILINE),
    re.compile(r"^: (.+)$", re.MULTILINE),
    re.compile(r"^Exception in thread \S+ (.+)$", re.MULTILINE),
    re.compile(r"^(?:Error|Unrecognized|Invalid)\b.*$", re.MULTILINE),
    re.compile(r"^\S+ \S+ ERROR (.+)$", re.MULTILINE),
)


def cause(*texts: str) -> str:
    """Say why a JVM or its Spark did not start, in a sentence with what to do where that is known.

    Parameters
    ----------
    texts
        What it raised and what it printed.
    """
    for pattern, sentence in _KNOWN:
        for text in texts:
            if match := re.search(pattern, text):
                return match.expand(sentence)
    for pattern_of_line in _SAID:
        for text in texts:
            if lines := [*pattern_of_line.finditer(text)]:
                return lines[-1][lines[-1].lastindex or 0].strip()
    lines_left = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return lines_left[0] if lines_left else "it gave no reason."


@contextlib.contextmanager
def _settings_in_a_file(conf: Mapping[str, str]) -> Iterator[None]:
    """Give settings to the JVM in a file that is the user's alone, for as long as it starts.

    As arguments, pyspark's own way, every user of the machine could read the keys of stores in a
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
    """Tune a JVM that shares its cores with the workers, where the user does not."""
    if not is_local(master) or _JAVA_OPTIONS in os.environ:
        yield
        return
    os.environ[_JAVA_OPTIONS] = _COMPILE_LATER
    try:
        yield
    finally:
        del os.environ[_JAVA_OPTIONS]
