"""What a run says while it works: one line per event, and a display in a terminal.

Everything goes to standard error; standard output belongs to the command's document.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from spark_pseudolabel.core.rounds import REASONS
from spark_pseudolabel.redaction import redacted, redacted_text

if TYPE_CHECKING:
    from rich.console import RenderableType

Tasks = Callable[[], tuple[int, int] | None]
"""Returns (done, total) Spark tasks of what runs now; None when nothing is known."""

HEARTBEAT_S = 30.0
MOST_CLASSES = 10


class Events(Protocol):
    """Who listens to a run."""

    def event(self, name: str, **fields: Any) -> None:
        """Take note of something that happened, such as ``round`` with its counts."""

    def stage(self, round: int, name: str, rows: int | None = None) -> AbstractContextManager[None]:
        """Hold as long as a stage of a round takes; ``rows`` it goes through, where known."""

    def watch(self, tasks: Tasks) -> None:
        """Ask `tasks` for Spark's progress from now on, from another thread."""

    def close(self) -> None:
        """Leave the screen in order; nothing is said afterwards."""


def choose_events(
    *,
    quiet: bool = False,
    as_json: bool = False,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Events:
    """Return what suits where the output goes.

    Lines of JSON, where they are asked for, are for a program to read. A display needs a terminal
    that can draw. Under spark-submit standard error arrives on standard output, where control
    characters would end up in logs and before the document.
    """
    stream = stream or sys.stderr
    if quiet:
        return SilentEvents()
    if as_json:
        return JsonEvents(stream)
    return RichEvents(stream) if can_draw(stream, environ) else PlainEvents(stream)


def can_draw(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal on which a display may be drawn."""
    draws = stream.isatty() and environ.get("TERM") not in (None, "", "dumb", "unknown")
    return draws and "PYSPARK_GATEWAY_PORT" not in environ


class SilentEvents:
    """Says nothing."""

    def event(self, name: str, **fields: Any) -> None: ...

    def stage(self, round: int, name: str, rows: int | None = None) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def watch(self, tasks: Tasks) -> None: ...

    def close(self) -> None: ...


@dataclass
class _Stage:
    round: int
    name: str
    rows: int | None
    started: float = field(default_factory=time.monotonic)

    @property
    def title(self) -> str:
        return f"round {self.round} · {self.name}" if self.round else self.name

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class PlainEvents:
    """One line per event with its time, and one per 30 s while a stage lasts."""

    def __init__(self, stream: TextIO, *, heartbeat_s: float = HEARTBEAT_S):
        self._stream = stream
        self._heartbeat_s = heartbeat_s
        self._tasks: Tasks | None = None
        self._lock = threading.Lock()

    def event(self, name: str, **fields: Any) -> None:
        self._say(sentence(name, fields))

    @contextlib.contextmanager
    def stage(self, round: int, name: str, rows: int | None = None) -> Iterator[None]:
        stage, over = _Stage(round, name, rows), threading.Event()
        beat = threading.Thread(target=self._beat, args=(stage, over), daemon=True)
        beat.start()
        try:
            yield
        finally:
            over.set()
            beat.join()

    def watch(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def close(self) -> None: ...

    def _beat(self, stage: _Stage, over: threading.Event) -> None:
        while not over.wait(self._heartbeat_s):
            parts = [f"{stage.seconds:.0f} s", *_so_far(ask(self._tasks), stage.rows)]
            self._say(f"{stage.title}: {', '.join(parts)}")

    def _say(self, text: str) -> None:
        self._put(f"{time.strftime('%H:%M:%S')} {text}")

    def _put(self, line: str) -> None:
        # A closed terminal or a full disk must not end a run of hours.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(showable(f"{line}\n", self._stream))
            self._stream.flush()


class JsonEvents(PlainEvents):
    """One JSON object a line for each event: for programs that collect logs.

    Attributes
    ----------
    run_id
        The run that events are about; None before one has named it.
    """

    def __init__(self, stream: TextIO, *, heartbeat_s: float = HEARTBEAT_S):
        super().__init__(stream, heartbeat_s=heartbeat_s)
        self.run_id: str | None = None

    def event(self, name: str, **fields: Any) -> None:
        self.run_id = fields.pop("run_id", self.run_id)
        self._put(json_line(name, self.run_id, **fields))

    @contextlib.contextmanager
    def stage(self, round: int, name: str, rows: int | None = None) -> Iterator[None]:
        started = time.monotonic()
        self.event("stage_started", round=round, stage=name, rows=rows)
        with super().stage(round, name, rows):
            yield
        seconds = time.monotonic() - started
        self.event("stage_ended", round=round, stage=name, rows=rows, seconds=seconds)

    def _beat(self, stage: _Stage, over: threading.Event) -> None:
        while not over.wait(self._heartbeat_s):
            n_done, n_tasks = ask(self._tasks) or (None, None)
            self.event(
                "progress",
                round=stage.round,
                stage=stage.name,
                rows=stage.rows,
                seconds=stage.seconds,
                tasks_done=n_done,
                tasks=n_tasks,
            )


def json_line(name: str, run_id: str | None = None, /, **fields: Any) -> str:
    """Return an event as one JSON object, its common keys first and always there.

    Parameters
    ----------
    name
        Of the event.
    run_id
        The run; None before it is known.
    fields
        What else there is to say; ``seconds`` may be those of several stages.

    Examples
    --------
    >>> json.loads(json_line("done", out="out/income"))["round"] is None
    True
    """
    seconds = fields.pop("seconds", None)
    if isinstance(seconds, Mapping):
        seconds = sum(seconds.values())
    common = {
        "event": name,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "run_id": run_id,
        "round": fields.pop("round", None),
        "stage": fields.pop("stage", None),
        "rows": fields.pop("rows", fields.get("candidates")),
        "seconds": None if seconds is None else round(seconds, 3),
    }
    return json.dumps(redacted(common | fields), default=str)


class RichEvents:
    """The same lines above one display: round, stage, tasks, rows accepted, validation."""

    def __init__(self, stream: TextIO):
        from rich.console import Console
        from rich.live import Live

        self._tasks: Tasks | None = None
        self._stage: _Stage | None = None
        self._pool = 0
        self._accepted = 0
        self._metric: str | None = None
        self._asked_at = 0.0
        self._progress: tuple[int, int] | None = None
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )

    def event(self, name: str, **fields: Any) -> None:
        if name == "inputs":
            self._pool = fields.get("pool") or 0
        elif name == "round":
            # What a round does not look at was accepted before; with relabel it looks at all.
            before = max(0, self._pool - fields["candidates"])
            self._accepted = before + fields["accepted"]
        elif name == "model":
            self._metric = _accuracy(fields.get("validation")) or self._metric
        from rich.table import Table

        # Two columns, so that a sentence of several lines hangs beside its time.
        line = Table.grid(padding=(0, 1))
        line.add_row(time.strftime("%H:%M:%S"), sentence(name, fields))
        self._console.print(line)

    @contextlib.contextmanager
    def stage(self, round: int, name: str, rows: int | None = None) -> Iterator[None]:
        self._stage, self._asked_at = _Stage(round, name, rows), 0.0
        self._live.start(refresh=True)
        try:
            yield
        finally:
            self._stage = None
            self._live.refresh()

    def watch(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if (stage := self._stage) is None:
            return Group()
        progress = self._ask_once_a_second()
        line = Table.grid(padding=(0, 1))
        n_done, total = progress or (0, None)
        line.add_row(
            Text(stage.title, no_wrap=True),
            ProgressBar(total=total, completed=n_done, width=24, pulse=total is None),
            *(Text(part, no_wrap=True) for part in self._facts(stage, progress)),
        )
        return line

    def _facts(self, stage: _Stage, progress: tuple[int, int] | None) -> Iterator[str]:
        if progress:
            yield f"{progress[0]:,}/{progress[1]:,} tasks"
        yield f"{stage.seconds:.0f} s"
        if progress and 0 < progress[0] < progress[1]:
            seconds_left = stage.seconds * (progress[1] - progress[0]) / progress[0]
            yield f"about {seconds_left:.0f} s left"
        if self._accepted:
            yield f"· {self._accepted:,} accepted"
        if self._metric:
            yield f"· {self._metric}"

    def _ask_once_a_second(self) -> tuple[int, int] | None:
        # The display is drawn four times a second, each question is a call into the JVM.
        if time.monotonic() - self._asked_at >= 1:
            self._asked_at, self._progress = time.monotonic(), ask(self._tasks)
        return self._progress


def ask(tasks: Tasks | None) -> tuple[int, int] | None:
    """Return (done, total), or None when it cannot be known just now."""
    try:
        counts = tasks() if tasks else None
    except Exception:  # noqa: BLE001  the JVM may be going away, no reason to fail
        return None
    # Spark drops finished stages from memory, so the count of the done ones may run ahead.
    return (min(counts), counts[1]) if counts and counts[1] > 0 else None


def sentence(name: str, fields: Mapping[str, Any]) -> str:
    """Tell an event in one printable line."""
    tell = _SENTENCES.get(name)
    text = tell(fields) if tell else " ".join([name, *(f"{k}={v}" for k, v in fields.items())])
    return printable(redacted_text(text))


def printable(text: str) -> str:
    """Replace what would move a cursor or break a line: class names and paths are data."""
    return "".join(c if c.isprintable() else " " if c in "\n\t" else "\ufffd" for c in text)


def showable(text: str, stream: TextIO) -> str:
    r"""Spell as escapes what the stream's encoding lacks, and what a terminal would obey.

    All that is written to a terminal passes here: names of files, hosts, columns and classes are
    data of others, and may hold codes that move the cursor, change titles or turn text around.

    Examples
    --------
    >>> import io
    >>> print(showable("a\x1b]0;title\x07\u202e.csv\nü", io.StringIO()))
    a\x1b]0;title\x07\u202e.csv
    ü
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    plain = "".join(map(_plain, text)) if not text.isprintable() else text
    return plain.encode(encoding, errors="backslashreplace").decode(encoding)


def _plain(char: str) -> str:
    if char.isprintable() or char in "\n\t":
        return char
    # Blanks of other widths are harmless, and no letter of any script is touched.
    return " " if unicodedata.category(char) == "Zs" else char.encode("unicode_escape").decode()


def _so_far(progress: tuple[int, int] | None, rows: int | None) -> list[str]:
    if progress is None:
        return []
    n_done, total = progress
    parts = [f"{n_done:,} of {total:,} tasks"]
    if rows:
        parts.append(f"about {rows * n_done // total:,} of {rows:,} rows")
    return parts


def _accuracy(validation: Mapping[str, Any] | None) -> str | None:
    measured = validation or {}
    value, numbers = measured.get("accuracy"), measured.get("numbers")
    if numbers is not None:
        return f"validation MAE {numbers['mae']:.4g}"
    return None if value is None else f"validation accuracy {value:.4f}"


def _seconds(fields: Mapping[str, Any]) -> str:
    value = fields.get("seconds")
    if isinstance(value, Mapping):
        value = sum(value.values())
    return "" if value is None else f" in {value:.1f} s"


def _session(fields: Mapping[str, Any]) -> str:
    ui = f", UI {fields['ui_url']}" if fields.get("ui_url") else ""
    return f"Spark {fields['app_id']} on {fields['master']}{ui}"


def _resume(fields: Mapping[str, Any]) -> str:
    committed = fields["committed"]
    rounds = f"{committed:,} round{'' if committed == 1 else 's'} committed"
    return f"resuming at round {fields['round']} ({rounds})"


def _generation(fields: Mapping[str, Any]) -> str:
    name = f"generation {fields['number']}"
    if fields.get("resumed"):
        return f"resuming {name}"
    rows, kind = fields["rows"], fields.get("kind")
    new = f"{name}: {rows:,} new {'row' if rows == 1 else 'rows'}"
    return new + (f", {_KINDS[kind]}" if kind in _KINDS else "")


_KINDS = {
    "label": "labeled by the model that there is",
    "fit": "on which a new model is fitted",
    "stop": "unlike the others, and left for you to decide",
}


def _inputs(fields: Mapping[str, Any]) -> str:
    classes = fields.get("classes")
    n_classes = classes if isinstance(classes, int) else len(classes or ())
    kinds = ("labeled", "validation", "pool")
    counts = [f"{kind} {fields[kind]:,}" for kind in kinds if fields.get(kind) is not None]
    read_by = f"; the pool is read {fields['read_by']}" if fields.get("read_by") else ""
    labels = "labels are numbers" if fields.get("numbers") else f"{n_classes} classes"
    return f"rows: {', '.join(counts)}; {labels}{read_by}"


def _model(fields: Mapping[str, Any]) -> str:
    name = "model 1 (seed)" if fields["number"] == 1 else f"model {fields['number']}"
    rows = f" on {fields['rows']:,} rows" if fields.get("rows") is not None else ""
    metric = _accuracy(fields.get("validation"))
    return f"{name} fitted{rows}{_seconds(fields)}" + (f", {metric}" if metric else "")


def _round(fields: Mapping[str, Any]) -> str:
    counts = [f"{fields[kind]:,} {kind}" for kind in ("accepted", "rejected", "invalid")]
    by_class = _by_class(fields.get("accepted_by_class") or {})
    return (
        f"round {fields['round']}: {fields['candidates']:,} candidates, {', '.join(counts)}"
        f"{_seconds(fields)}" + (f"; accepted by class: {by_class}" if by_class else "")
    )


def _by_class(accepted: Mapping[Any, int]) -> str:
    some = [(label, n) for label, n in accepted.items() if n]
    most = sorted(some, key=lambda item: (-item[1], str(item[0])))
    counts = [f"{label} {n:,}" for label, n in most[:MOST_CLASSES]]
    rest = len(most) - len(counts)
    return ", ".join(counts) + (f" and {rest} more" if rest else "")


def _stop(fields: Mapping[str, Any]) -> str:
    reason = fields["reason"]
    why = f" ({REASONS[reason]})" if reason in REASONS else ""
    best = fields.get("best_round")
    best_round = "" if best is None else f", best round {best}" if best else ", best is the seed"
    return f"stopped after round {fields['n_iter']}: {reason}{why}{best_round}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "starting": lambda fields: "starting Spark",
    "session": _session,
    "policy": lambda fields: f"policy {fields['why']}",
    "resume": _resume,
    "generation": _generation,
    "inputs": _inputs,
    "graph": lambda fields: (
        f"graph of {fields['nodes']:,} rows{_seconds(fields)}: {fields['neighbors']} neighbors "
        f"each, {fields['recall']:.1%} of the exact ones found"
    ),
    "spreading": lambda fields: (
        f"labels spread by {fields['products']:,} products, change {fields['change']:.2g}"
    ),
    "model": _model,
    "round": _round,
    "stop": _stop,
    "views": lambda fields: f"wrote {fields['path']}",
    "warning": lambda fields: f"warning ({fields['code']}): {fields['message']}",
    "done": lambda fields: f"done: {fields['out']}",
}
