"""Where every error ends: a message, a document where one is asked for, and an exit code."""

from __future__ import annotations

import re
import sys
import traceback

from spark_pseudolabel.cli.answers import give_error
from spark_pseudolabel.cli.options import AnswerOptions, wrong_usage
from spark_pseudolabel.cli.signals import StoppedError
from spark_pseudolabel.errors import PseudoLabelError, text_of
from spark_pseudolabel.program import NAME as PROGRAM
from spark_pseudolabel.progress import showable
from spark_pseudolabel.redaction import redacted_text

# The last line of a Python traceback, and not of the Java one that may follow it.
_RAISED = re.compile(
    r"(?!java|org\.apache|scala)[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b(: |$)"
)


def fail(error: BaseException, options: AnswerOptions) -> int:
    """Tell an error and return its exit code."""
    if options.debug:
        trace = redacted_text("".join(traceback.format_exception(error)))
        sys.stderr.write(showable(trace, sys.stderr))
    typed = _typed(error)
    give_error(typed, options)
    return typed.exit_code


def _typed(error: BaseException) -> PseudoLabelError:
    if isinstance(error, PseudoLabelError):
        return error
    # A mistake in the arguments; which class that is depends on typer's version.
    if format_message := getattr(error, "format_message", None):
        called = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
        return wrong_usage(f"{format_message()}\nTry '{called} --help'.")
    if isinstance(error, KeyboardInterrupt):
        return StoppedError("Interrupted.", error)
    return PseudoLabelError(
        f"{type(error).__name__}: {_main_line(error)}\nRun again with --debug for the traceback.",
        code="unexpected",
    )


def _main_line(error: BaseException) -> str:
    lines = [line for line in text_of(error).splitlines() if line.strip()]
    # A failure in a worker: only the end of its traceback says what it was.
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        raised = [line for line in lines if _RAISED.match(line)]
        if raised:
            return raised[-1]
    lines = [line.strip() for line in lines]
    # Py4J's own first line only names the call; Java's message follows after a colon.
    java = next((line[1:].strip() for line in lines[1:2] if line.startswith(":")), None)
    return java or next(iter(lines), "no message.")
