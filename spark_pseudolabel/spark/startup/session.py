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
from typing import Any, cast

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from spark_pseudolabel.config import SparkSettings
from spark_pseudolabel.errors import InputError, text_of
from spark_pseudolabel.redaction import SECRET
from spark_pseudolabel.spark.ending import quiet_end
from spark_pseudolabel.spark.startup import class_data, daemon, java, jvm
from spark_pseudolabel.spark.startup.warm_up import warm_up

# Flipped bytes in a page would be read as other values: our own files have checksums.
_VERIFY_PAGES = "parquet.page.verify-checksum.enabled"

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
    f"spark.hadoop.{_VERIFY_PAGES}": "true",
}

# What changes with the session and not with the labels: set on a session that is lent, too.
RUNTIME: Mapping[str, str] = {
    # Timestamps become seconds since 1970 in UTC wherever a run takes place.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # As the workers write moments themselves; Spark's own way holds none after 2262 for pandas.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}

# Spark takes a file name once per application; a user may fit many times in one.
_shipped_to: set[str] = set()

_PYTHON = "PYSPARK_PYTHON"
_MASTER = "spark.master"

_early: list[jvm.JvmStart] = []
"""The JVM that was started before the session was asked for."""


def start_early(settings: SparkSettings) -> None:
    """Start the JVM of the session that :func:`get_session` will be asked for, and go on.

    It takes seconds, in which the driver can import what it needs.
    """
    if jvm.is_there() or _early:
        return
    jvm.set_what_java_needs()
    if (settings.master or "local").startswith("local"):
        jvm.set_local_address()
        # Local workers would take whatever "python3" is on the PATH, without our libraries; a
        # cluster's workers have no reason to know the driver's path.
        os.environ.setdefault(_PYTHON, sys.executable)
    _early.append(jvm.JvmStart(_conf(settings)))


def get_session(settings: SparkSettings) -> SparkSession:
    """Return the active session as it is, or start one.

    One that was there already belongs to somebody else: work on it within :func:`borrowed`.

    Parameters
    ----------
    settings
        ``master`` and ``conf``. Under spark-submit, its own master holds where none is set, and
        what it sets itself stays.

    Raises
    ------
    InputError
        Under Spark Connect, which has no broadcast variables, or when the session can't start.
    """
    if is_active():
        return _classic(SparkSession.builder.getOrCreate())
    if jvm.is_there():
        return _shipped(_submitted(settings))
    start_early(settings)
    start = _early.pop()
    try:
        conf = SparkConf(loadDefaults=False).setAll(list(_conf(settings).items()))
        context = SparkContext(conf=conf, gateway=start.gateway())
        quiet_end(context)
        if _has_our_daemon(context):
            warm_up(context, 1, ())
    except Exception as error:
        raise _not_started(error, start.output()) from error
    return _shipped(cast(SparkSession, SessionOnDemand(context)))


def is_active() -> bool:
    """Whether this process has a Spark context, which somebody else has started."""
    return SparkContext._active_spark_context is not None


@contextlib.contextmanager
def borrowed(spark: SparkSession, conf: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    """Make a session that was lent fit for a run, and give it back as it was, whatever happens.

    Parameters
    ----------
    spark
        A classic session.
    conf
        Further settings, as far as a session that runs can take them.
    """
    _classic(spark)
    wanted = {**RUNTIME, **{k: v for k, v in (conf or {}).items() if spark.conf.isModifiable(k)}}
    hadoop: Any = cast(Any, spark.sparkContext)._jsc.hadoopConfiguration()
    checks_pages = hadoop.get(_VERIFY_PAGES) is not None
    try:
        with set_to(spark, wanted):
            if not checks_pages:
                hadoop.set(_VERIFY_PAGES, "true")
            yield _shipped(spark)
    finally:
        with contextlib.suppress(*jvm.GONE):
            if not checks_pages:
                hadoop.unset(_VERIFY_PAGES)


@contextlib.contextmanager
def set_to(spark: SparkSession, wanted: Mapping[str, str]) -> Iterator[None]:
    """Set a session's settings for as long as the block lasts."""
    before = {key: spark.conf.get(key, None) for key in wanted}
    try:
        for key, value in wanted.items():
            spark.conf.set(key, value)
        yield
    finally:
        # The JVM may be what failed; the error that says so must not be lost behind another one.
        with contextlib.suppress(*jvm.GONE):
            for key, old in before.items():
                if old is None:
                    spark.conf.unset(key)
                else:
                    spark.conf.set(key, old)


class SessionOnDemand:
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


def _classic(spark: SparkSession) -> SparkSession:
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        raise InputError(
            "This needs a classic Spark session: Spark Connect has no broadcast variables. On "
            "Databricks, switch the cluster to Dedicated access mode.",
            code="spark_connect",
        )
    return spark


def _submitted(settings: SparkSettings) -> SparkSession:
    """Start the session in the JVM of spark-submit, whose own settings are left alone."""
    builder = SparkSession.builder
    chosen = {**settings.conf, **({_MASTER: settings.master} if settings.master else {})}
    for key, value in unset(_conf(settings), dict(SparkConf().getAll()), chosen).items():
        builder = builder.config(key, value)
    try:
        return _classic(builder.getOrCreate())
    except Exception as error:
        raise _not_started(error) from error


def unset(
    wanted: Mapping[str, str], present: Mapping[str, str], chosen: Mapping[str, str]
) -> dict[str, str]:
    """Return the wanted settings that are not given yet, and those that the user has chosen."""
    return {key: value for key, value in wanted.items() if key in chosen or key not in present}


def _not_started(error: Exception, log: str = "") -> InputError:
    if isinstance(error, InputError):
        return error
    refused = InputError(f"Spark did not start: {jvm.cause(text_of(error), log)}", code="no_spark")
    if log:
        refused.add_note(f"What it printed:\n{log}")
    return refused


def _conf(settings: SparkSettings) -> dict[str, str]:
    """Return all that is set on a session which is started here; `settings` win."""
    master = settings.master or (None if jvm.submitted() else "local[*]")
    defaults = {**DEFAULTS, **RUNTIME}
    if not java.resolves("localhost"):
        # PySpark's own sockets are bound to that name; these have none (Spark 4.1).
        defaults |= {"spark.python.unix.domain.socket.enabled": "true"}
    if not jvm.is_there():
        defaults |= class_data.java_options(settings.conf)
        own_python = os.environ.get(_PYTHON, sys.executable) == sys.executable
        if jvm.is_local(master) and own_python and daemon.PATH not in settings.conf:
            defaults |= daemon.settings()
    return {**defaults, **settings.conf, **({_MASTER: master} if master else {})}


def _has_our_daemon(context: SparkContext) -> bool:
    return context.getConf().get(daemon.KEY) == daemon.MODULE


def _shipped(spark: SparkSession) -> SparkSession:
    if not _has_our_daemon(spark.sparkContext):
        _ship_package(spark)
    return spark


def _ship_package(spark: SparkSession) -> None:
    """Send this package's source to the executors, so that it need not be installed there.

    To local ones, too, of a session that was given: a driver that was started from a checkout finds
    the package by its own ``sys.path``, of which its workers know nothing.
    """
    application = spark.sparkContext.applicationId
    source = Path(__file__).parents[2]
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
