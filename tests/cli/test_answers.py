"""Answers: text or one document, whatever else is printed, and as much as the reader wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.cli.answers import Answer
from spark_pseudolabel.cli.options import AnswerOptions, LogFormat, OutputFormat
from spark_pseudolabel.cli.parsing import Task
from spark_pseudolabel.cli.running import answered
from spark_pseudolabel.cli.sessions import progress
from spark_pseudolabel.errors import InputError, StoredStateError
from spark_pseudolabel.report.document import InitDocument
from tests.store.builders import put_views, two_rounds

DOCUMENT = InitDocument(file="c.yaml")
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)


def answer(work: Callable[[], Any] = lambda: None, *, json: bool = False, **options: Any) -> int:
    """Do some work and answer "fine"; return the exit code."""

    def do() -> Answer:
        work()
        return Answer(DOCUMENT, "fine\n")

    form = OutputFormat.JSON if json else OutputFormat.TEXT
    return answered(Task(do, AnswerOptions(form, **options)))


def fail() -> None:
    raise InputError("No.", code="no_run", where="out")


def test_text_goes_to_standard_output(capsys: Captured) -> None:
    assert answer() == 0
    assert capsys.readouterr() == ("fine\n", "")


def test_json_is_exactly_one_document_whatever_else_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def noisy() -> None:
        print("a library")  # noqa: T201
        os.write(1, b"its C code\n")
        subprocess.run(["echo", "the JVM"], check=True)

    assert answer(noisy, json=True) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == DOCUMENT.as_json()
    assert all(text in err for text in ("a library", "its C code", "the JVM"))


def test_under_spark_submit_the_document_is_one_line(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert answer(json=True) == 0
    assert capsys.readouterr().out == '{"file": "c.yaml", "table": null}\n'


def test_result_is_the_same_document(capsys: Captured) -> None:
    assert answer(result="r.json") == 0
    assert json.loads(Path("r.json").read_text()) == DOCUMENT.as_json()
    capsys.readouterr()
    assert answer(fail, json=True, result="r.json") == 3
    assert json.loads(Path("r.json").read_text()) == json.loads(capsys.readouterr().out)


def test_what_verify_finds_is_both_answer_and_error(capsys: Captured) -> None:
    damaged = Answer(DOCUMENT, "1 file is missing", StoredStateError("Damaged."))
    assert answered(Task(lambda: damaged, AnswerOptions())) == 5
    assert capsys.readouterr() == ("1 file is missing\n", "Damaged.\n")


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    code = (
        "import sys; "
        "from spark_pseudolabel.cli.answers import Answer; "
        "from spark_pseudolabel.cli.options import AnswerOptions; "
        "from spark_pseudolabel.cli.parsing import Task; "
        "from spark_pseudolabel.cli.running import answered; "
        "from spark_pseudolabel.report.document import InitDocument; "
        "long = Answer(InitDocument(file=''), 'x' * 1_000_000); "
        "sys.exit(answered(Task(lambda: long, AnswerOptions())))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()


def test_damage_is_told_to_a_reader_who_has_left(tmp_path: Path) -> None:
    store = two_rounds(tmp_path / "out")
    put_views(store)
    (tmp_path / "out" / "labels" / "part-1.parquet").unlink()
    code = "import sys; from spark_pseudolabel.cli import main; sys.stdin.read(1); sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "verify", "out"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, said = process.communicate(b"x")
    assert process.returncode == 5
    assert b"verify" in said


def test_summary_and_error_of_a_json_log_name_the_run(capsys: Captured) -> None:
    class Told(InitDocument):
        run_id: str = "the run"

    def broken() -> Answer:
        with progress(AnswerOptions(log_format=LogFormat.JSON)) as events:
            events.event("inputs", run_id="the run")
            raise InputError("No.", code="no_run", where="out")

    options = AnswerOptions(OutputFormat.JSON, log_format=LogFormat.JSON)
    whole = Answer(Told(file="c.yaml"), "fine\n", in_short="all well")
    assert answered(Task(lambda: whole, options)) == 0
    assert answered(Task(broken, options)) == 3
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = {each["event"]: each["run_id"] for each in events}
    assert told == {"summary": "the run", "inputs": "the run", "error": "the run"}
