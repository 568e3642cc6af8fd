"""What a command answers, and how it is given: as text or as one JSON document, and nothing else.

Documents are turned into JSON here and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spark_pseudolabel.cli.options import AnswerOptions, wrong_usage
from spark_pseudolabel.errors import PseudoLabelError
from spark_pseudolabel.progress import showable

if TYPE_CHECKING:
    from spark_pseudolabel.report.document import Document


@dataclass(frozen=True)
class Answer:
    """What a command answers.

    Parameters
    ----------
    document
        The answer for machines.
    text
        The same for people.
    error
        Told after the document where finding something wrong is what the command is for.
    in_short
        One line of it all, which ends the text; on standard error where that is a document.
    """

    document: Document
    text: str
    error: PseudoLabelError | None = None
    in_short: str | None = None

    @property
    def exit_code(self) -> int:
        """0, or that of the error."""
        return self.error.exit_code if self.error else 0


def give_answer(answer: Answer, options: AnswerOptions) -> None:
    """Print an answer; an error of its own comes last on the screen."""
    write_result(answer.document, options)
    if options.json:
        tell_error(answer.error, options)
        if answer.in_short is not None and not options.quiet:
            _tell(_summary(answer, answer.in_short) if options.json_log else answer.in_short)
    with reader_may_leave():
        print_text(_json_line(answer.document) if options.json else _whole_text(answer))
    if not options.json:
        tell_error(answer.error, options)


def _summary(answer: Answer, in_short: str) -> str:
    return _event("summary", getattr(answer.document, "run_id", None), in_short)


def give_error(error: PseudoLabelError, options: AnswerOptions) -> None:
    """Tell an error, and print its document where one is asked for."""
    from_error = options.json or options.result is not None
    document = _document_of(error) if from_error else None
    if document is not None:
        with contextlib.suppress(OSError, PseudoLabelError):
            write_result(document, options)
    tell_error(error, options)
    if document is not None and options.json:
        with contextlib.suppress(OSError):
            print_text(_json_line(document))


def _document_of(error: PseudoLabelError) -> Document:
    from spark_pseudolabel.report.document import ErrorDocument

    return ErrorDocument.of(error)


def tell_error(error: PseudoLabelError | None, options: AnswerOptions) -> None:
    """Write an error to standard error, if there is one: its message, or an event of the log."""
    if error is None:
        return
    sys.stdout.flush()
    if options.json_log:
        facts = {"code": error.code, "exit_code": error.exit_code, "where": error.where}
        _tell(_event("error", error.run_id, error.message, **facts))
    else:
        _tell(_wrapped(error.message) if sys.stderr.isatty() else error.message)


def _event(name: str, run_id: str | None, message: str, **facts: Any) -> str:
    from spark_pseudolabel.progress import json_line

    return json_line(name, run_id, message=message, **facts)


def _tell(message: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(showable(f"{message}\n", sys.stderr))
        sys.stderr.flush()


def _whole_text(answer: Answer) -> str:
    if answer.in_short is None:
        return answer.text
    return "\n\n".join([answer.text.rstrip("\n"), answer.in_short])


def _wrapped(message: str) -> str:
    from spark_pseudolabel.report.text import wrapped

    return wrapped(message)


def print_text(text: str) -> None:
    """Write a text to standard output."""
    sys.stdout.write(showable(text.rstrip("\n") + "\n", sys.stdout))
    sys.stdout.flush()


def _json_line(document: Document) -> str:
    # Under spark-submit the last line is the document: Python's standard error comes before it.
    indent = None if "PYSPARK_GATEWAY_PORT" in os.environ else 2
    return json.dumps(document.as_json(), indent=indent)


def check_result_file(options: AnswerOptions) -> None:
    """Refuse before hours of work what would fail after them."""
    if options.result is not None and not Path(options.result).absolute().parent.is_dir():
        raise wrong_usage(f"--result must be in a directory that exists. Got {options.result!r}.")


def write_result(document: Document, options: AnswerOptions) -> None:
    """Write a document to the file that is asked for, if one is."""
    if options.result is not None:
        write_file(options.result, json.dumps(document.as_json(), indent=2) + "\n")


def write_file(file: str, text: str) -> None:
    """Write a whole file or none."""
    path = Path(file)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise wrong_usage(f"{file!r} cannot be written: {error.strerror}.") from None


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Bear with a reader who has read enough, as in ``report OUT | head``."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def standard_output_kept(options: AnswerOptions) -> Iterator[None]:
    """Send what libraries, workers and the JVM print to standard error: one document, no more."""
    if not options.json:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr), _descriptor_1_is_2():
        yield


@contextlib.contextmanager
def _descriptor_1_is_2() -> Iterator[None]:
    try:
        stdout = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        yield
        return
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
