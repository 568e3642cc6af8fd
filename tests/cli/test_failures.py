"""Errors: one message, the last one on the screen, and an exit code that says who has to act."""

from __future__ import annotations

import json

import pytest

from spark_pseudolabel.cli import main
from spark_pseudolabel.cli.answers import Answer
from spark_pseudolabel.cli.options import AnswerOptions, OutputFormat
from spark_pseudolabel.cli.parsing import Task
from spark_pseudolabel.cli.running import answered
from spark_pseudolabel.cli.signals import Terminated
from spark_pseudolabel.errors import (
    InputError,
    OutputBusyError,
    PublishUnknownError,
    RunFailedError,
    StoredStateError,
)

Captured = pytest.CaptureFixture[str]


def raised(error: BaseException, options: AnswerOptions | None = None) -> int:
    """Return the exit code of a command that fails so."""

    def work() -> Answer:
        raise error

    return answered(Task(work, options or AnswerOptions()))


@pytest.mark.parametrize(
    ("error", "exit_code", "code"),
    [
        (InputError("No.", code="missing_path"), 3, "missing_path"),
        (OutputBusyError("No."), 4, "output_busy"),
        (StoredStateError("No."), 5, "stored_state"),
        (PublishUnknownError("No."), 6, "publish_unknown"),
        (RunFailedError("No."), 10, "failed"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (MemoryError(), 10, "unexpected"),
    ],
)
def test_every_error_has_its_exit_code(
    error: BaseException, exit_code: int, code: str, capsys: Captured
) -> None:
    assert raised(error, AnswerOptions(OutputFormat.JSON)) == exit_code
    document = json.loads(capsys.readouterr().out)
    assert set(document["error"]) == {"exit_code", "code", "message", "where"}
    assert (document["error"]["exit_code"], document["error"]["code"]) == (exit_code, code)


def test_our_message_is_the_last_thing_said(capsys: Captured) -> None:
    assert raised(InputError("Pool lacks columns ['age'].")) == 3
    assert capsys.readouterr() == ("", "Pool lacks columns ['age'].\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "ValueError: first\n"),
        (ValueError(), "ValueError: no message.\n"),
        (
            RuntimeError(
                "An error occurred while calling o1.collect.\n: java.io.IOException: x\n\tat"
            ),
            "RuntimeError: java.io.IOException: x\n",
        ),
    ],
)
def test_what_is_not_ours_is_one_line_and_a_hint(
    error: Exception, line: str, capsys: Captured
) -> None:
    assert raised(error) == 10
    hint = "Run again with --debug for the traceback.\n"
    assert capsys.readouterr().err == line + hint


def test_what_a_worker_raised_is_named_and_not_that_one_did(capsys: Captured) -> None:
    error = RuntimeError(
        "An exception was thrown from the Python worker:\n"
        "Traceback (most recent call last):\n"
        '  File "worker.py", line 1, in main\n'
        "    process()\n"
        "ModuleNotFoundError: No module named 'sklearn'\n"
    )
    assert raised(error) == 10
    assert "No module named 'sklearn'" in capsys.readouterr().err


def test_debug_shows_the_traceback_and_the_message_last(capsys: Captured) -> None:
    raised(InputError("Pool lacks columns ['age']."), AnswerOptions(debug=True))
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("\nPool lacks columns ['age'].\n")


HOSTILE = "a\x1b]0;title\x07\x1b[2J\u202etxt.exe\rb\x9b31m"


@pytest.mark.parametrize("debug", [[], ["--debug"]])
@pytest.mark.parametrize(
    "arguments",
    [
        ["status", HOSTILE],
        ["verify", f"{HOSTILE}\nAll is well."],
        ["run", f"{HOSTILE}.yaml"],
        ["status", "out", "--result", f"{HOSTILE}/x.json"],
        [HOSTILE],
    ],
)
def test_no_name_moves_the_cursor_of_a_terminal(
    arguments: list[str], debug: list[str], capsys: Captured
) -> None:
    assert main([*arguments, *debug]) != 0
    out, err = capsys.readouterr()
    assert "\\x1b]0;title\\x07" in err
    assert "".join((out + err).split()).isprintable()
    assert "All is well." not in err.splitlines()
