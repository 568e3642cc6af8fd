"""A run that is watched: each change is told once, and the end ends it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.cli import main, watching
from spark_pseudolabel.cli.options import AnswerOptions, LogFormat
from spark_pseudolabel.cli.watching import display, watch
from spark_pseudolabel.report.document import StatusDocument
from spark_pseudolabel.store.lease import hold
from tests.output.test_status import begun
from tests.report.builders import make_status


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def statuses() -> Iterator[StatusDocument]:
    """A run that is at work, shows the same once more, goes on, and ends."""
    first = make_status("running")
    first["rounds"] = first["rounds"][:1]
    states = [first, first, make_status("running"), make_status("done")]
    return iter([StatusDocument.model_validate(state) for state in states])


def _watched(
    statuses: Iterator[StatusDocument], stream: io.StringIO, **options: Any
) -> StatusDocument:
    with display(AnswerOptions(**options), stream) as show:
        return watch(lambda: next(statuses), show, every_s=0)


def test_each_change_is_a_line_and_the_end_is_returned(statuses: Iterator[StatusDocument]) -> None:
    stream = io.StringIO()
    assert _watched(statuses, stream).state == "done"
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "running, 1 round committed by process 7 on n1" in lines[0]
    assert lines[0].endswith("18,152 labeled, 1,803 left, 45 could not be scored")
    assert "done after 2 rounds" in lines[2]
    assert next(statuses, None) is None


def test_lines_of_json_hold_the_counters(statuses: Iterator[StatusDocument]) -> None:
    stream = io.StringIO()
    _watched(statuses, stream, log_format=LogFormat.JSON)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["round"] for line in lines] == [1, 2, 2]
    assert lines[0]["counters"]["MachineLabeled"] == 18_152


def test_a_terminal_shows_one_picture_and_quiet_nothing(
    statuses: Iterator[StatusDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    stream = Terminal()
    _watched(statuses, stream)
    assert "\x1b[" in stream.getvalue()
    assert "TotalLabeled" in stream.getvalue()
    silent = Terminal()
    done = iter([StatusDocument.model_validate(make_status("done"))])
    _watched(done, silent, quiet=True)
    assert silent.getvalue() == ""


def test_the_command_ends_with_the_run_and_gives_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = begun(tmp_path)
    held = hold(store.files, store.root, "test")
    held.__enter__()

    def end_of_the_run(seconds: float) -> None:
        held.__exit__(None, None, None)

    monkeypatch.setattr(watching.time, "sleep", end_of_the_run)
    assert main(["status", str(tmp_path), "--watch", "--output-format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] == "resumable"
    assert [("running" in line, "not finished" in line) for line in err.splitlines()] == [
        (True, False),
        (False, True),
    ]
