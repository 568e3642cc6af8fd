import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spark_pseudolabel import cli, signals
from spark_pseudolabel.cli import Answer, main
from spark_pseudolabel.config.example import EXAMPLE
from spark_pseudolabel.errors import (
    InputError,
    OutputBusyError,
    PublishUnknownError,
    RunFailedError,
    StoredStateError,
)
from spark_pseudolabel.version import VERSION
from tests.store.builders import put_views, two_rounds

COMMANDS = {
    "init": [],
    "plan": ["CONF"],
    "run": ["CONF"],
    "status": ["OUT"],
    "verify": ["OUT"],
    "gc": ["OUT"],
    "report": ["OUT"],
    "explain": ["OUT", "--id", "1"],
    "label": ["OUT", "--input", "a", "--output", "b"],
    "demo": [],
}
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let `status` do what is given instead of looking at an output."""

    def let_it(do: Any) -> None:
        def work(out: str, face: cli.Face) -> Answer:
            if isinstance(do, BaseException):
                raise do
            found = do() if callable(do) else do
            return found if isinstance(found, Answer) else Answer({"ok": True}, "fine\n")

        monkeypatch.setattr(cli, "_status", work)

    return let_it


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spark_pseudolabel", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environ},
        check=False,
    )


# --- arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_common_options(command: str) -> None:
    options = ["--output-format", "json", "--result", "r.json", "--debug", "--quiet"]
    task = cli._read([command, *COMMANDS[command], *options])
    assert task is not None
    assert task.face == cli.Face("json", "r.json", debug=True, quiet=True)


def test_help_lists_every_command_and_imports_nothing_heavy(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {command} " in listed for command in COMMANDS)
    code = (
        "import sys; from spark_pseudolabel.cli import main; main(['--help']); "
        "heavy = {'pyspark', 'sklearn', 'pyarrow', 'numpy', 'pydantic', 'yaml'}; "
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_python_m_is_the_same_program() -> None:
    found = python("init", "c.yaml")
    assert found.returncode == 0
    assert Path("c.yaml").read_text() == EXAMPLE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frob"], "No such command 'frob'.\nTry 'spark-pseudolabel --help'.\n"),
        (["run"], "Missing argument 'CONF'.\nTry 'spark-pseudolabel run --help'.\n"),
        (["run", "c", "--frob"], "No such option"),  # its wording depends on typer's version
        (["run", "missing.yaml"], "Configuration 'missing.yaml' cannot be read: "),
        (["status", "out", "--result", "no/r.json"], "--result must be in a directory that exi"),
    ],
)
def test_a_mistake_is_exit_2_and_one_message(
    arguments: list[str], message: str, capsys: Captured
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith(message), "Traceback" in err) == ("", True, False)


@pytest.mark.parametrize("json_option", [["--output-format", "json"], ["--output-format=json"]])
def test_a_mistake_is_a_document_where_one_was_asked_for(
    json_option: list[str], capsys: Captured
) -> None:
    assert main(["run", *json_option, "--frob"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["exit_code"], error["code"]) == (2, "usage")


def test_no_command_shows_the_commands_and_is_exit_2(capsys: Captured) -> None:
    assert main([]) == 2
    assert "Usage: spark-pseudolabel" in "".join(capsys.readouterr())


def test_version_is_the_packages(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spark-pseudolabel {VERSION}\n"


# --- answers ------------------------------------------------------------------------------


def test_text_goes_to_standard_output(says: Any, capsys: Captured) -> None:
    says(None)
    assert main(["status", "out"]) == 0
    assert capsys.readouterr() == ("fine\n", "")


def test_json_is_exactly_one_document_whatever_else_is_printed(
    says: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def noisy() -> None:
        print("a library")  # noqa: T201
        os.write(1, b"its C code\n")
        subprocess.run(["echo", "the JVM"], check=True)

    says(noisy)
    assert main(["status", "out", "--output-format", "json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"ok": True}
    assert all(text in err for text in ("a library", "its C code", "the JVM"))


def test_under_spark_submit_the_document_is_one_line(
    says: Any, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    says(None)
    main(["status", "out", "--output-format", "json"])
    assert capsys.readouterr().out == '{"ok": true}\n'


def test_result_is_the_same_document(says: Any, capsys: Captured) -> None:
    says(None)
    main(["status", "out", "--result", "r.json"])
    assert json.loads(Path("r.json").read_text()) == {"ok": True}
    says(InputError("No.", code="no_run", where="out"))
    main(["status", "out", "--result", "r.json", "--output-format", "json"])
    assert json.loads(Path("r.json").read_text()) == json.loads(capsys.readouterr().out[5:])


def test_what_verify_finds_is_both_answer_and_error(says: Any, capsys: Captured) -> None:
    says(lambda: Answer({"ok": False}, "1 file is missing", StoredStateError("Damaged.")))
    assert main(["status", "out"]) == 5
    assert capsys.readouterr() == ("1 file is missing\n", "Damaged.\n")


def test_init_writes_the_example_once(capsys: Captured) -> None:
    assert main(["init", "c.yaml"]) == 0
    assert Path("c.yaml").read_text() == EXAMPLE
    assert main(["init", "c.yaml"]) == 2
    assert "must not exist yet" in capsys.readouterr().err
    assert main(["init", "no/such/c.yaml"]) == 2


# --- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "exit_code", "code"),
    [
        (InputError("No.", code="missing_path"), 3, "missing_path"),
        (OutputBusyError("No."), 4, "output_busy"),
        (StoredStateError("No."), 5, "stored_state"),
        (PublishUnknownError("No."), 6, "publish_unknown"),
        (RunFailedError("No."), 10, "failed"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (signals.Terminated(), 143, "terminated"),
        (MemoryError(), 10, "unexpected"),
    ],
)
def test_every_error_has_its_exit_code(
    error: BaseException, exit_code: int, code: str, says: Any, capsys: Captured
) -> None:
    says(error)
    assert main(["status", "out", "--output-format", "json"]) == exit_code
    document = json.loads(capsys.readouterr().out)
    assert set(document["error"]) == {"exit_code", "code", "message", "where"}
    assert (document["error"]["exit_code"], document["error"]["code"]) == (exit_code, code)


def test_our_message_is_the_last_thing_said(says: Any, capsys: Captured) -> None:
    says(InputError("Pool lacks columns ['age']."))
    assert main(["status", "out"]) == 3
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
    error: Exception, line: str, says: Any, capsys: Captured
) -> None:
    says(error)
    assert main(["status", "out"]) == 10
    hint = "Run again with --debug for the traceback.\n"
    assert capsys.readouterr().err == line + hint


def test_what_a_worker_raised_is_named_and_not_that_one_did(says: Any, capsys: Captured) -> None:
    says(
        RuntimeError(
            "An exception was thrown from the Python worker:\n"
            "Traceback (most recent call last):\n"
            '  File "worker.py", line 1, in main\n'
            "    process()\n"
            "ModuleNotFoundError: No module named 'sklearn'\n"
        )
    )
    assert main(["status", "out"]) == 10
    assert "No module named 'sklearn'" in capsys.readouterr().err


def test_what_libraries_and_their_threads_say_is_not_shown(says: Any, capsys: Captured) -> None:
    def fails() -> None:
        logging.getLogger("py4j").error("Exception while sending command.")
        warnings.warn("soon", FutureWarning, stacklevel=1)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raise InputError("Pool lacks columns ['age'].")

    says(fails)
    assert main(["status", "out"]) == 3
    assert capsys.readouterr() == ("", "Pool lacks columns ['age'].\n")
    assert logging.root.manager.disable < logging.CRITICAL


def test_debug_shows_the_traceback_and_the_message_last(says: Any, capsys: Captured) -> None:
    says(InputError("Pool lacks columns ['age']."))
    main(["status", "out", "--debug"])
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("\nPool lacks columns ['age'].\n")


def test_an_interrupted_run_says_what_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    from spark_pseudolabel.output import status

    monkeypatch.setattr(status, "read_status", lambda out: SimpleNamespace(rounds=[1, 2]))
    with pytest.raises(signals.StoppedError) as caught, cli._resumable("out"):
        raise KeyboardInterrupt
    assert caught.value.message == "2 rounds committed; run the same command to continue."
    assert caught.value.exit_code == 130


def test_a_run_interrupted_before_anything_is_there_says_so() -> None:
    with pytest.raises(signals.StoppedError, match="No round known") as caught, cli._resumable("x"):
        raise signals.Terminated
    assert caught.value.exit_code == 143


def test_sigterm_ends_the_work_in_order(says: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    says(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["status", "out"]) == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    code = (
        "import sys; from spark_pseudolabel import cli; "
        "cli._status = lambda out, face: cli.Answer({}, 'x' * 1_000_000); "
        "sys.exit(cli.main(['status', 'out']))"
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


def test_a_wrong_key_is_told_within_a_second_and_without_a_jvm() -> None:
    sections = "labeled: {path: a, label: y}\nunlabeled: {path: b}\noutput: {path: out}\n"
    Path("c.yaml").write_text(sections + "selection:\n  treshold: 0.8\n")
    found = python("run", "c.yaml", JAVA_HOME="/nowhere", PATH="/nowhere")
    said = "c.yaml:5 selection.treshold: unknown key, did you mean 'threshold'?\n"
    assert (found.returncode, found.stdout, found.stderr) == (2, "", said)


def test_a_wrong_parameter_is_told_while_the_jvm_starts_and_leaves_none(tmp_path: Path) -> None:
    sections = "labeled: {table: a, label: y}\nunlabeled: {table: b}\nid: i\noutput: {path: out}\n"
    model = "model: {estimator: LogisticRegression, params: {nonsense: 1}}\n"
    Path("c.yaml").write_text(sections + model)
    found = python("run", "c.yaml", "--quiet", MARK=str(tmp_path))
    assert (found.returncode, found.stdout) == (2, "")
    assert "LogisticRegression has no parameter 'nonsense'" in found.stderr
    deadline = time.monotonic() + 60
    while (left := _processes_with(f"MARK={tmp_path}")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def _processes_with(variable: str) -> list[str]:
    """Return the numbers of processes with a variable in their environment."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in environ.read_bytes().split(b"\0"):
                found.append(environ.parent.name)
    return found


# --- with Spark ---------------------------------------------------------------------------


@pytest.fixture
def conf(tmp_path: Path) -> str:
    """Write tables with two well separated classes, and a configuration for them."""
    import pandas as pd

    rows = pd.DataFrame({"row_id": range(60), "x": [i % 2 + i / 1000 for i in range(60)]})
    labels = ["odd" if i % 2 else "even" for i in range(60)]
    rows.assign(y=labels).iloc[:20].to_parquet("labeled.parquet")
    rows.iloc[20:].to_parquet("pool.parquet")
    # Whole paths: the JVM of the tests was started in another directory.
    Path("c.yaml").write_text(
        f"labeled: {{path: {tmp_path}/labeled.parquet, label: y}}\n"
        f"unlabeled: {{path: {tmp_path}/pool.parquet}}\n"
        "id: row_id\nmodel: {estimator: LogisticRegression, params: {C: 1000}}\n"
        "selection: {policy: threshold}\n"
        f"output: {{path: {tmp_path}/out}}\n"
    )
    return "c.yaml"


def test_a_run_from_plan_to_label(spark: Any, conf: str, tmp_path: Path, capsys: Captured) -> None:
    def document(*arguments: str) -> dict[str, Any]:
        code = main([*arguments, "--output-format", "json"])
        out, err = capsys.readouterr()
        assert (code, err if code else "") == (0, "")
        return dict(json.loads(out))

    assert document("plan", conf)["rows"]["pool"] == 40
    assert not Path("out").exists()
    report = document("run", conf, "--result", "r.json")
    assert report == json.loads(Path("r.json").read_text())
    assert report == json.loads(Path("out/report.json").read_text())
    assert report["rows"]["accepted"] == 40
    assert main(["run", conf]) == 0
    assert capsys.readouterr().out.startswith(f"Nothing to do: {tmp_path}/out is fin")
    # As a kill leaves it between the tables and the reports of a run that was continued.
    Path("out/report.json").write_text(json.dumps({**report, "n_iter": 0}))
    assert document("run", conf) == json.loads(Path("out/report.json").read_text()) == report
    assert document("report", "out", "--html", "page.html") == report
    assert "<html" in Path("page.html").read_text()
    assert document("status", "out")["state"] == "done"
    assert document("verify", "out", "--deep")["ok"] is True
    assert document("explain", "out", "--id", "30")["kind"] == "accepted"
    labeled = document(
        "label", "out", "--input", f"{tmp_path}/pool.parquet", "--output", f"{tmp_path}/new"
    )
    assert (labeled["rows"], labeled["accepted"]) == (40, 40)
    for damaged in Path("out/model").iterdir():
        damaged.write_bytes(b"")
    assert main(["verify", "out"]) == 5


@pytest.mark.cluster
def test_the_demo_goes_on_after_ctrl_c_and_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spark_pseudolabel", "demo", "--output", "demo"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for number, at, code in ((signal.SIGINT, "round 1:", 130), (signal.SIGTERM, "round 2:", 143)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if at in line:
                sent_at = time.monotonic()
                process.send_signal(number)
                break
        said += process.stderr.readlines()
        assert process.wait() == code
        assert time.monotonic() - sent_at < 20
        assert said[-1].endswith("committed; run the same command to continue.\n")
        process.stderr.close()
    end = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    assert "resuming at round " in end.stderr
    assert "Final model  test accuracy 0.9" in end.stdout
    again = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    assert again.stdout.startswith("Nothing to do: demo/out is finished.\n")


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
