import io
import json
import re
import time
from datetime import datetime
from typing import Any

import pytest

from spark_pseudolabel.progress import (
    JsonEvents,
    PlainEvents,
    RichEvents,
    SilentEvents,
    ask,
    choose_events,
    sentence,
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "quiet", "chosen"),
    [
        (Terminal(), {"TERM": "xterm"}, False, RichEvents),
        (Terminal(), {"TERM": "dumb"}, False, PlainEvents),
        (Terminal(), {}, False, PlainEvents),
        (Terminal(), {"TERM": "xterm", "PYSPARK_GATEWAY_PORT": "1"}, False, PlainEvents),
        (io.StringIO(), {"TERM": "xterm"}, False, PlainEvents),
        (Terminal(), {"TERM": "xterm"}, True, SilentEvents),
    ],
)
def test_a_display_is_drawn_only_in_a_terminal(
    stream: io.StringIO, environ: dict[str, str], quiet: bool, chosen: type
) -> None:
    assert type(choose_events(quiet=quiet, stream=stream, environ=environ)) is chosen


@pytest.mark.parametrize(
    ("name", "fields", "line"),
    [
        (
            "session",
            {"app_id": "local-1", "ui_url": "http://h:4040", "master": "local[2]"},
            "Spark local-1 on local[2], UI http://h:4040",
        ),
        (
            "session",
            {"app_id": "local-1", "ui_url": None, "master": "local[2]"},
            "Spark local-1 on local[2]",
        ),
        ("resume", {"round": 3, "committed": 2}, "resuming at round 3 (2 rounds committed)"),
        ("resume", {"round": 2, "committed": 1}, "resuming at round 2 (1 round committed)"),
        (
            "inputs",
            {"labeled": 400, "validation": 100, "pool": 32061, "classes": ["a", "b"]},
            "rows: labeled 400, validation 100, pool 32,061; 2 classes",
        ),
        (
            "model",
            {"number": 1, "rows": 400, "validation": {"accuracy": 0.91234}, "seconds": 1.25},
            "model 1 (seed) fitted on 400 rows in 1.2 s, validation accuracy 0.9123",
        ),
        (
            "model",
            {"number": 2, "rows": 1400, "validation": None, "seconds": 1.0},
            "model 2 fitted on 1,400 rows in 1.0 s",
        ),
        (
            "round",
            {
                "round": 1,
                "candidates": 1000,
                "accepted": 30,
                "rejected": 969,
                "invalid": 1,
                "accepted_by_class": {"a": 10, "b": 20},
                "seconds": {"fit": 1.0, "score": 2.5},
            },
            "round 1: 1,000 candidates, 30 accepted, 969 rejected, 1 invalid in 3.5 s; "
            "accepted by class: b 20, a 10",
        ),
        (
            "stop",
            {"reason": "no_change", "n_iter": 4, "best_round": 4},
            "stopped after round 4: no_change (the last round accepted nothing new), best round 4",
        ),
        (
            "stop",
            {"reason": "validation_drop", "n_iter": 1, "best_round": 0},
            "stopped after round 1: validation_drop (the last round made the model worse on the "
            "validation rows), best is the seed",
        ),
        (
            "warning",
            {"code": "tiny_class", "message": "Few rows."},
            "warning (tiny_class): Few rows.",
        ),
        (
            "generation",
            {"number": 2, "resumed": False, "kind": "label", "rows": 100},
            "generation 2: 100 new rows, labeled by the model that there is",
        ),
        ("generation", {"number": 2, "resumed": True}, "resuming generation 2"),
        ("views", {"path": "out/labels"}, "wrote out/labels"),
        ("done", {"out": "out"}, "done: out"),
        ("unheard_of", {"x": 1}, "unheard_of x=1"),
    ],
)
def test_events_in_words(name: str, fields: dict[str, Any], line: str) -> None:
    assert sentence(name, fields) == line


def test_many_classes_are_cut_short() -> None:
    accepted = {f"c{i:02}": 100 - i for i in range(30)}
    fields = {"round": 1, "candidates": 1, "accepted": 1, "rejected": 0, "invalid": 0}
    line = sentence("round", {**fields, "accepted_by_class": accepted})
    assert line.endswith("c09 91 and 20 more")


def test_plain_lines_have_a_time_and_no_control_characters() -> None:
    stream = io.StringIO()
    events = PlainEvents(stream)
    events.event("warning", code="x", message="a\x1b[31m class\r named\nso\x07")
    events.close()
    assert re.fullmatch(r"\d\d:\d\d:\d\d [^\x00-\x1f\x7f]+\n", stream.getvalue())


def test_plain_lines_come_during_a_long_stage() -> None:
    stream = io.StringIO()
    events = PlainEvents(stream, heartbeat_s=0.02)
    events.watch(lambda: (5, 20))
    with events.stage(3, "score", rows=1000):
        _wait_for(lambda: stream.getvalue().count("\n") >= 2)
    said = stream.getvalue()
    assert "round 3 · score: 0 s, 5 of 20 tasks, about 250 of 1,000 rows" in said
    time.sleep(0.1)
    assert stream.getvalue() == said


def test_plain_lines_come_where_nothing_is_known() -> None:
    stream = io.StringIO()
    events = PlainEvents(stream, heartbeat_s=0.02)
    with events.stage(0, "read inputs"):
        _wait_for(lambda: "\n" in stream.getvalue())
    assert "read inputs: 0 s\n" in stream.getvalue()


def test_a_closed_terminal_does_not_end_the_run() -> None:
    stream = io.StringIO()
    stream.close()
    PlainEvents(stream).event("done", out="out")


def test_an_ascii_terminal_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    PlainEvents(stream).event("done", out="größe")
    assert b"done: gr\\xf6\\xdfe" in raw.getvalue()


def test_the_display_shows_round_stage_tasks_accepted_and_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    events = RichEvents(stream)
    events.watch(lambda: (5, 20))
    events.event("inputs", labeled=1, validation=1, pool=1000, classes=2)
    events.event("model", number=2, rows=9, validation={"accuracy": 0.9123}, seconds=1.0)
    events.event("round", round=1, candidates=900, accepted=30, rejected=870, invalid=0)
    with events.stage(2, "score", rows=870):
        time.sleep(0.02)
    events.close()
    for part in ("round 2 · score", "5/20 tasks", "130 accepted", "validation accuracy 0.9123"):
        assert part in stream.getvalue()


def test_the_display_has_no_color_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    events = RichEvents(stream)
    events.watch(lambda: (5, 20))
    with events.stage(2, "score", rows=870):
        time.sleep(0.02)
    events.close()
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", stream.getvalue())


def test_the_display_leaves_the_cursor_visible_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    events = RichEvents(stream)
    with pytest.raises(KeyboardInterrupt), events.stage(1, "fit"):
        raise KeyboardInterrupt
    events.close()
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")


def _fail() -> tuple[int, int]:
    raise OSError("the JVM is gone")


@pytest.mark.parametrize(
    ("tasks", "known"),
    [
        (None, None),
        (_fail, None),
        (lambda: None, None),
        (lambda: (0, 0), None),
        (lambda: (3, 5), (3, 5)),
        (lambda: (9, 5), (5, 5)),
    ],
)
def test_what_spark_does_not_know_is_no_error(tasks: Any, known: Any) -> None:
    assert ask(tasks) == known


def test_silent_events_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    events = SilentEvents()
    events.watch(lambda: (1, 2))
    with events.stage(1, "fit"):
        events.event("done", out="out")
    events.close()
    assert capfd.readouterr() == ("", "")


def _wait_for(is_so: Any) -> None:
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)
    assert is_so()


def _json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_have_the_common_keys_whatever_the_event() -> None:
    stream = io.StringIO()
    events = choose_events(as_json=True, stream=stream, environ={"TERM": "xterm"})
    events.event("starting")
    events.event("inputs", labeled=4, pool=100, classes=["a", "b\x1b[31m"], run_id="run-1")
    events.event("model", number=1, rows=4, validation={"accuracy": 0.9}, seconds=1.23456)
    events.event("round", round=1, candidates=100, accepted_by_class={True: 3}, seconds={"fit": 2})
    events.close()
    lines = _json_lines(stream)
    common = ["event", "time", "run_id", "round", "stage", "rows", "seconds"]
    assert all(list(line)[:7] == common for line in lines)
    assert [line["event"] for line in lines] == ["starting", "inputs", "model", "round"]
    assert [line["run_id"] for line in lines] == [None, "run-1", "run-1", "run-1"]
    assert [line["rows"] for line in lines] == [None, None, 4, 100]
    assert [line["seconds"] for line in lines] == [None, None, 1.235, 2]
    assert lines[3]["accepted_by_class"] == {"true": 3}
    assert "\x1b" not in stream.getvalue()
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in lines)


def test_json_lines_tell_when_a_stage_begins_goes_on_and_ends() -> None:
    stream = io.StringIO()
    events = JsonEvents(stream, heartbeat_s=0.02)
    events.watch(lambda: (5, 20))
    with events.stage(3, "score", rows=1000):
        _wait_for(lambda: stream.getvalue().count("\n") >= 3)
    first, *beats, last = _json_lines(stream)
    assert (first["event"], last["event"]) == ("stage_started", "stage_ended")
    assert {beat["event"] for beat in beats} == {"progress"}
    for line in (first, last, *beats):
        assert (line["round"], line["stage"], line["rows"]) == (3, "score", 1000)
    assert (beats[0]["tasks_done"], beats[0]["tasks"]) == (5, 20)
    assert last["seconds"] >= beats[0]["seconds"] > 0


def test_json_lines_hold_no_secret() -> None:
    stream = io.StringIO()
    JsonEvents(stream).event("views", path="s3a://key:hush@bucket/labels")
    assert "hush" not in stream.getvalue()
