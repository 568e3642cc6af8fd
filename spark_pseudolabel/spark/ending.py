"""What it means when the JVM fails, out of memory or killed: its own errors say little of that."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkContext

from spark_pseudolabel.errors import (
    InputError,
    PseudoLabelError,
    PublishUnknownError,
    RunFailedError,
    StoredStateError,
    text_of,
)

_OUT_OF_MEMORY = 52
"""Exit code of a JVM of Spark's that ended by an ``OutOfMemoryError``."""

_DYING_S = 5.0


def explained(error: Exception, driver_memory: str | None) -> PseudoLabelError | None:
    """Say what an error means that came out of a session; None where it says it itself.

    Parameters
    ----------
    error
        What was raised. Its text may be the JVM's to tell, and be lost with it.
    driver_memory
        The setting ``spark.driver.memory``, None where it was not set.
    """
    if isinstance(error, PublishUnknownError | StoredStateError):
        return None
    text = "\n".join(map(text_of, _chain(error)))
    ended = _exit_code(wait=_is_connection(error))
    if "OutOfMemoryError" in text or ended == _OUT_OF_MEMORY:
        memory = f"it has {driver_memory}" if driver_memory else "1g unless it is set"
        return InputError(
            f"Spark's JVM ran out of memory. Raise spark.driver.memory ({memory}), on a cluster "
            "spark.executor.memory, too; or let models learn from fewer rows (training.max_rows). "
            "What is committed stays: run again to continue.",
            code="out_of_memory",
            where="spark.driver.memory",
        )
    if "spark.driver.maxResultSize" in text:
        return InputError(
            "The results of Spark's tasks must fit into spark.driver.maxResultSize (1g unless it "
            "is set). Raise it together with spark.driver.memory, or let models learn from fewer "
            "rows (training.max_rows). What is committed stays: run again to continue.",
            code="out_of_memory",
            where="spark.driver.maxResultSize",
        )
    if ended is not None:
        how = f"signal {-ended}" if ended < 0 else f"exit code {ended}"
        return RunFailedError(
            f"Spark's JVM ended before the work did ({how}). What is committed stays: run again to "
            "continue. A machine that is short of memory ends the largest process (signal 9): "
            "then free some, or lower spark.driver.memory or the number of cores "
            "(spark.master: local[2]).",
            code="jvm_ended",
        )
    return None


def quiet_end(context: SparkContext) -> None:
    """Print no traceback for the end of the JVM where a thread of pyspark's only notices it."""
    server: Any = getattr(context, "_accumulatorServer", None)
    if server is None:
        return
    tell = server.handle_error

    def handle_error(request: Any, address: Any) -> None:
        if not isinstance(sys.exc_info()[1], EOFError | ConnectionError):
            tell(request, address)

    server.handle_error = handle_error


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _is_connection(error: Exception) -> bool:
    """Whether an error may come from a JVM that is about to end, and has closed its sockets."""
    return any(
        isinstance(cause, ConnectionError | EOFError)
        or (isinstance(cause, Py4JError) and not isinstance(cause, Py4JJavaError))
        for cause in _chain(error)
    )


def _exit_code(*, wait: bool) -> int | None:
    """Return how the JVM that was started here has ended; None if it has not."""
    process: subprocess.Popen[bytes] | None = getattr(SparkContext._gateway, "proc", None)
    if process is None:
        return None
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(_DYING_S if wait else 0)
    return None
