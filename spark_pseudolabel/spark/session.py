"""The Spark session: found or started, quiet, and with this package on its executors."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from spark_pseudolabel.config import SECRET, SparkSettings
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark import class_data, daemon, jvm
from spark_pseudolabel.spark.warm_up import warm_up

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

_PYTHON = "PYSPARK_PYTHON"

_early: list[jvm.JvmStart] = []
"""The JVM that was started before the session was asked for."""


def start_early(settings: SparkSettings) -> None:
    """Start the JVM of the session that :func:`get_session` will be asked for, and go on.

    It takes seconds, in which the driver can import what it needs.
    """
    if jvm.is_there() or _early:
        return
    if (settings.master or "local").startswith("local"):
        # Local workers would take whatever "python3" is on the PATH, without our libraries; a
        # cluster's workers have no reason to know the driver's path.
        os.environ.setdefault(_PYTHON, sys.executable)
    _early.append(jvm.JvmStart(_conf(settings)))


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
    if jvm.is_there():
        return prepare(_found(settings))
    start_early(settings)
    start = _early.pop()
    try:
        conf = SparkConf(loadDefaults=False).setAll(list(_conf(settings).items()))
        context = SparkContext(conf=conf, gateway=start.gateway())
        if _has_our_daemon(context):
            warm_up(context, 1, ())
    except Exception as error:
        raise _not_started(error, start.log) from error
    return _fit(cast(SparkSession, _SessionOnDemand(context)))


class _SessionOnDemand:
    """A session that is made when something asks for more than its context.

    A run on plain Parquet never does, and spares the JVM the loading of SQL: seconds.
    """

    def __init__(self, context: SparkContext):
        self.sparkContext = context
        self.version = context.version
        self._jvm = context._jvm
        self._made: SparkSession | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = SparkSession.builder.getOrCreate()
        return getattr(self._made, name)

    @property
    def conf(self) -> Any:
        """Settings; a session begins with its context's."""
        return self.sparkContext.getConf() if self._made is None else self._made.conf

    def stop(self) -> None:
        """Stop the context, and the session if there is one."""
        (self._made or self.sparkContext).stop()


def prepare(spark: SparkSession) -> SparkSession:
    """Make a session that was given fit for a run: quiet, in UTC, executors with this package."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        raise InputError(
            "This needs a classic Spark session: Spark Connect has no broadcast variables. On "
            "Databricks, switch the cluster to Dedicated access mode.",
            code="spark_connect",
        )
    for key, value in RUNTIME.items():
        spark.conf.set(key, value)
    return _fit(spark)


def _found(settings: SparkSettings) -> SparkSession:
    builder = SparkSession.builder
    for key, value in _conf(settings).items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        raise _not_started(error, "Spark's own") from error


def _not_started(error: Exception, log: str) -> InputError:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(f"Spark did not start: {first} Its log is {log}.", code="no_spark")


def _conf(settings: SparkSettings) -> dict[str, str]:
    """Return all that is set on a session which is started here; `settings` win."""
    master = settings.master or (None if jvm.submitted() else "local[*]")
    ours = {**DEFAULTS, **RUNTIME}
    if not jvm.is_there():
        ours |= class_data.java_options(settings.conf)
        own_python = os.environ.get(_PYTHON, sys.executable) == sys.executable
        if jvm.is_local(master) and own_python and daemon.PATH not in settings.conf:
            ours |= daemon.settings()
    return {**ours, **settings.conf, **({"spark.master": master} if master else {})}


def _has_our_daemon(context: SparkContext) -> bool:
    return context.getConf().get(daemon.KEY) == daemon.MODULE


def _fit(spark: SparkSession) -> SparkSession:
    context = spark.sparkContext
    context._jsc.hadoopConfiguration().set(_VERIFY_PAGES, "true")
    context.setLogLevel("ERROR")
    if not _has_our_daemon(context):
        _ship_package(spark)
    return spark


def _ship_package(spark: SparkSession) -> None:
    """Send this package's source to the executors, so that nobody has to install it there.

    To local ones, too, of a session that was given: a driver that was started from a checkout finds
    the package by its own ``sys.path``, of which its workers know nothing.
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
