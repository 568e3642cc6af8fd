"""What commands work with: progress on the screen, a Spark session, an opened output."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from spark_pseudolabel.cli import signals
from spark_pseudolabel.cli.options import AnswerOptions
from spark_pseudolabel.errors import PseudoLabelError
from spark_pseudolabel.progress import Events, JsonEvents, choose_events

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_pseudolabel.config import SparkSettings
    from spark_pseudolabel.output.opening import Opened


@contextlib.contextmanager
def progress(options: AnswerOptions) -> Iterator[Events]:
    """Show what is going on, unless that is not wanted."""
    events = choose_events(quiet=options.quiet, as_json=options.json_log)
    try:
        yield events
    except PseudoLabelError as error:
        if isinstance(events, JsonEvents):
            error.run_id = events.run_id
        raise
    finally:
        events.close()


def start_early(settings: SparkSettings) -> None:
    """Let a JVM start while this process does something else."""
    from spark_pseudolabel.spark.startup import session

    session.start_early(settings)


def import_aside(*modules: str) -> None:
    """Import modules in a thread of its own."""
    # No daemon: one that is still in a library's C++ when the interpreter ends aborts the process.
    threading.Thread(target=lambda: [*map(_try_import, modules)]).start()


def _try_import(module: str) -> None:
    # What is wrong with a module is reported where it is used.
    with contextlib.suppress(Exception):
        importlib.import_module(module)


@contextlib.contextmanager
def spark_session(settings: SparkSettings) -> Iterator[SparkSession]:
    """Find or start Spark; stop it where it was started here, in bounded time."""
    from spark_pseudolabel.spark.ending import explained
    from spark_pseudolabel.spark.startup.session import borrowed, get_session, is_active

    lent = is_active()
    with signals.sigint_kept() as put_back:
        spark = get_session(settings)
        put_back()
        try:
            with borrowed(spark, settings.conf) if lent else contextlib.nullcontext():
                yield spark
        except Exception as error:
            meaning = explained(error, settings.conf.get("spark.driver.memory"))
            if meaning is None:
                raise
            raise meaning from error
        finally:
            if not lent:
                signals.within(8.0, spark.stop)


@contextlib.contextmanager
def resumable(out: str) -> Iterator[None]:
    """Say on Ctrl-C and SIGTERM what is safe, and how to continue."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise signals.StoppedError(
            f"{_committed(out)} committed; run the same command to continue.", interrupt
        ) from interrupt


def _committed(out: str) -> str:
    from spark_pseudolabel.output.status import read_status

    try:
        n = len(read_status(out).rounds)
    except Exception:  # noqa: BLE001  nothing is there yet, or only Spark can read it
        return "No round known to be"
    return f"{n} round{'' if n == 1 else 's'}"


@contextlib.contextmanager
def output_opened(out: str, *, to_write: bool = False) -> Iterator[Opened]:
    """Open an output without a JVM where that can be; elsewhere through Spark."""
    from spark_pseudolabel.output.opening import open_without_jvm

    opened = open_without_jvm(out, to_write=to_write)
    if opened is not None:
        yield opened
        return
    from spark_pseudolabel.config import SparkSettings
    from spark_pseudolabel.spark.hadoop_files import files_for

    with spark_session(SparkSettings()) as spark:
        yield files_for(spark, out)
