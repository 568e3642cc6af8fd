"""Watching a run from another terminal: its status again and again, until it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from spark_pseudolabel.cli.options import AnswerOptions
from spark_pseudolabel.progress import can_draw, json_line, showable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from spark_pseudolabel.report.document import StatusDocument

EVERY_S = 2.0

Read = Callable[[], "StatusDocument"]
Show = Callable[["StatusDocument"], None]


def watch(read: Read, show: Show, *, every_s: float = EVERY_S) -> StatusDocument:
    """Read and show a status until no run is at work any more; return the last one.

    Parameters
    ----------
    read
        Reads it, from files: no session is needed.
    show
        Shows it, each time.
    every_s
        Seconds between two looks.
    """
    while True:
        status = read()
        show(status)
        if status.state != "running":
            return status
        time.sleep(every_s)


@contextmanager
def display(options: AnswerOptions, stream: TextIO | None = None) -> Iterator[Show]:
    """Give what shows a status: one picture in a terminal, else a line for each change."""
    stream = stream or sys.stderr
    if options.quiet:
        yield lambda status: None
    elif options.json_log or not can_draw(stream, os.environ):
        yield _Lines(stream, as_json=options.json_log)
    else:
        with _live(stream) as show:
            yield show


class _Lines:
    """A line with its time, wherever the status is another one than before."""

    def __init__(self, stream: TextIO, *, as_json: bool):
        self._stream, self._as_json, self._last = stream, as_json, ""

    def __call__(self, status: StatusDocument) -> None:
        from spark_pseudolabel.report.text import status_line

        line = status_line(status)
        if line == self._last:
            return
        self._last = line
        if self._as_json:
            rounds, counters = len(status.rounds), status.counters.model_dump()
            told = json_line(
                "status", status.run_id, state=status.state, round=rounds, counters=counters
            )
        else:
            told = f"{time.strftime('%H:%M:%S')} {line}"
        self._stream.write(showable(f"{told}\n", self._stream))
        self._stream.flush()


@contextmanager
def _live(stream: TextIO) -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from spark_pseudolabel.report.text import render_status

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def show(status: StatusDocument) -> None:
            picture: RenderableType = Text(showable(render_status(status).rstrip(), stream))
            live.update(picture, refresh=True)

        yield show
