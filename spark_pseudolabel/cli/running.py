"""The program: arguments in, answer and exit code out; the one place that handles errors."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence

from spark_pseudolabel.cli.answers import (
    check_result_file,
    give_answer,
    reader_may_leave,
    standard_output_kept,
)
from spark_pseudolabel.cli.failures import fail
from spark_pseudolabel.cli.output_commands import (
    doctor,
    explain,
    gc,
    labels,
    report,
    status,
    verify,
)
from spark_pseudolabel.cli.parsing import Group, Task, make_parser, read_answer_options, read_task
from spark_pseudolabel.cli.review_commands import export, import_, revoke
from spark_pseudolabel.cli.run_commands import demo, init, label, plan, run
from spark_pseudolabel.cli.signals import sigterm_as_interrupt

COMMANDS = (init, plan, run, status, verify, gc, report, explain, labels, label, demo, doctor)
"""In the order of --help."""
GROUPS = (
    Group(
        "review",
        "Ask people about rows of a finished run, read their answers, take labels back.",
        (export, import_, revoke),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    arguments
        Without the program's name; None: those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with reader_may_leave():
            task = read_task(make_parser(COMMANDS, GROUPS), arguments)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  every one ends in a message
        return fail(error, read_answer_options(arguments))
    return answered(task) if task is not None else 0


def answered(task: Task) -> int:
    """Do what the arguments ask for, answer, and return the exit code."""
    options = task.options
    with contextlib.nullcontext() if options.debug else _libraries_silent():
        try:
            with standard_output_kept(options), sigterm_as_interrupt():
                check_result_file(options)
                answer = task.work()
            give_answer(answer, options)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  likewise
            return fail(error, options)
        return answer.exit_code


@contextlib.contextmanager
def _libraries_silent() -> Iterator[None]:
    """Keep warnings, logs and traces of libraries and their threads off the screen.

    What a user should know is an event, is in the report, or is the message at the end.
    """
    logs, of_threads = logging.root.manager.disable, threading.excepthook
    # Py4J logs a trace for every call that another thread has under way while the JVM ends.
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logs)
        threading.excepthook = of_threads
