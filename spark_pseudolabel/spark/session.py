"""The Spark session: found or started, quiet, and with this package on its executors."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from spark_pseudolabel.config import SECRET, SparkSettings
from spark_pseudolabel.errors import InputError

DEFAULTS: Mapping[str, str] = {
    "spark.app.name": "spark-pseudolabel",
    # Its console bar and its log would be drawn across ours.
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # A segfault in a worker otherwise shows as "exited unexpectedly" and nothing more.
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
    "spark.python.worker.faulthandler.enabled": "true",
    # Few, narrow shuffles only: 200 partitions would cost more than what is in them.
    "spark.sql.shuffle.partitions": "8",
    "spark.redaction.regex": SECRET.pattern,
}

# A JVM's second compiler otherwise takes 14 of the 33 seconds of CPU that a short run costs the
# JVM, for code that runs at its start only. Loops that are hot still reach these limits in no time.
_COMPILE_LATER = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)
_JAVA_OPTIONS = "JDK_JAVA_OPTIONS"

# Flipped bytes in a page would be read as other values: our own files have checksums.
_VERIFY_PAGES = "parquet.page.verify-checksum.enabled"

# What changes with the session and not with the labels: set on a session that we were given, too.
RUNTIME: Mapping[str, str] = {
    # Timestamps become seconds since 1970 in UTC wherever a run takes place.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}

# Spark takes a file name once per application; a user may fit many times in one.
_shipped_to: set[str] = set()


def get_session(settings: SparkSettings) -> SparkSession:
    """Return the active session, or start one.

    Parameters
    ----------
    settings
        ``master`` and ``conf``. Under spark-submit, its own master holds where none is set.

    Raises
    ------
    InputError
        Under Spark Connect, which has no broadcast variables, or when the session can't start.
    """
    os.environ.setdefault("PYSPARK_PYTHON", _worker_python(settings.master))
    builder = SparkSession.builder
    for key, value in {**DEFAULTS, **RUNTIME, **settings.conf}.items():
        builder = builder.config(key, value)
    if settings.master or not _submitted():
        builder = builder.master(settings.master or "local[*]")
    with _jvm_noise_in_a_file() as log, _java_options(settings.master):
        try:
            spark = builder.getOrCreate()
        except Exception as error:
            raise InputError(
                f"Spark did not start: {str(error).splitlines()[0]} Its log is {log}.",
                code="no_spark",
            ) from error
    return prepare(spark)


def prepare(spark: SparkSession) -> SparkSession:
    """Make a session fit for a run: quiet, in UTC, with this package on its executors."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        raise InputError(
            "This needs a classic Spark session: Spark Connect has no broadcast variables. On "
            "Databricks, switch the cluster to Dedicated access mode.",
            code="spark_connect",
        )
    for key, value in RUNTIME.items():
        spark.conf.set(key, value)
    spark.sparkContext._jsc.hadoopConfiguration().set(_VERIFY_PAGES, "true")
    spark.sparkContext.setLogLevel("ERROR")
    _ship_package(spark)
    return spark


@contextlib.contextmanager
def _java_options(master: str | None) -> Iterator[None]:
    """Tune the JVM that starts here, where it shares its cores with the workers."""
    local = (master or "local").startswith("local")
    if not local or _submitted() or _JAVA_OPTIONS in os.environ:
        yield
        return
    os.environ[_JAVA_OPTIONS] = _COMPILE_LATER
    try:
        yield
    finally:
        del os.environ[_JAVA_OPTIONS]


def _submitted() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _worker_python(master: str | None) -> str:
    # Local workers would take whatever "python3" is on the PATH, without our libraries; a
    # cluster's workers have no reason to know the driver's path.
    local = (master or "local").startswith("local")
    return sys.executable if local and not _submitted() else "python3"


def _ship_package(spark: SparkSession) -> None:
    """Send this package's source to the executors, so that nobody has to install it there.

    To local ones, too: a driver that was started from a checkout finds the package by its own
    ``sys.path``, of which its workers know nothing.
    """
    application = spark.sparkContext.applicationId
    source = Path(__file__).parents[1]
    # No directory: running from an archive that spark-submit has sent already.
    if application in _shipped_to or not source.is_dir():
        return
    folder = Path(tempfile.mkdtemp(prefix="spark-pseudolabel-"))
    # Executors fetch it from here whenever one starts, not now.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    stage = folder / "stage"
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(source, stage / source.name, ignore=ignore)
    archive = shutil.make_archive(str(folder / "spark_pseudolabel_source"), "zip", stage)
    spark.sparkContext.addPyFile(archive)
    _shipped_to.add(application)


@contextlib.contextmanager
def _jvm_noise_in_a_file() -> Iterator[str]:
    """Let a JVM that starts here inherit a file as standard error instead of the terminal.

    What Spark prints before its log level can be set (and what its workers print later) belongs
    into a log; the file stays in the temporary directory for whoever looks for a crash.
    """
    if _submitted() or SparkSession.getActiveSession() is not None:
        yield "Spark's own"
        return
    handle, name = tempfile.mkstemp(prefix="spark-pseudolabel-", suffix=".log")
    terminal = os.dup(2)
    try:
        sys.stderr.flush()
        os.dup2(handle, 2)
        yield name
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(handle)
