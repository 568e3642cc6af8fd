"""Arguments, right and wrong, and what each comes to."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from spark_pseudolabel.cli import main
from spark_pseudolabel.cli.options import AnswerOptions, LogFormat, OutputFormat
from spark_pseudolabel.cli.parsing import make_parser, read_answer_options, read_task
from spark_pseudolabel.cli.running import COMMANDS
from spark_pseudolabel.version import VERSION

ARGUMENTS = {
    "init": [],
    "plan": ["CONF"],
    "run": ["CONF"],
    "status": ["OUT"],
    "verify": ["OUT"],
    "gc": ["OUT"],
    "report": ["OUT"],
    "explain": ["OUT", "--id", "1"],
    "labels": ["OUT", "--csv", "a.csv"],
    "label": ["OUT", "--input", "a", "--output", "b"],
    "demo": [],
    "doctor": [],
}
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_command_has_the_common_options(command: str) -> None:
    options = ["--output-format", "json", "--result", "r.json", "--debug", "--quiet"]
    options += ["--log-format", "json"]
    task = read_task(make_parser(COMMANDS), [command, *ARGUMENTS[command], *options])
    assert task is not None
    assert task.options == AnswerOptions(
        OutputFormat.JSON, "r.json", debug=True, quiet=True, log_format=LogFormat.JSON
    )


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["run", "--output-format=json", "--frob"], AnswerOptions(OutputFormat.JSON)),
        (["frob", "--debug", "--result=r.json"], AnswerOptions(result="r.json", debug=True)),
        (["run", "--result", "r.json", "--set"], AnswerOptions(result="r.json")),
        (["run", "c", "--output-format", "xml", "-q"], AnswerOptions(quiet=True)),
        (["run", "c", "--result"], AnswerOptions()),
        (
            ["run", "c", "--quiet=3", "--output-format", "json"],
            AnswerOptions(OutputFormat.JSON, quiet=True),
        ),
        ([], AnswerOptions()),
    ],
)
def test_wrong_arguments_say_how_to_answer(arguments: list[str], options: AnswerOptions) -> None:
    assert read_answer_options(arguments) == options


def test_help_lists_every_command_and_imports_nothing_heavy(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    places = [listed.index(f"\n  {command} ") for command in ARGUMENTS]
    assert places == sorted(places)
    code = (
        "import sys; from spark_pseudolabel.cli import main; main(['--help']); "
        "heavy = {'pyspark', 'sklearn', 'pyarrow', 'numpy', 'pydantic', 'yaml'}; "
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


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
@pytest.mark.parametrize("mistake", ["--frob", "--quiet=3"])
def test_a_mistake_is_a_document_where_one_was_asked_for(
    json_option: list[str], mistake: str, capsys: Captured
) -> None:
    assert main(["run", mistake, *json_option]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["exit_code"], error["code"]) == (2, "usage")


def test_a_log_of_json_holds_errors_too(capsys: Captured) -> None:
    assert main(["run", "missing.yaml", "--log-format", "json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(err)
    assert (out, error["event"], error["exit_code"]) == ("", "error", 2)
    assert error["message"].startswith("Configuration 'missing.yaml' cannot be read")


def test_no_command_shows_the_commands_and_is_exit_2(capsys: Captured) -> None:
    assert main([]) == 2
    assert "Usage: spark-pseudolabel" in "".join(capsys.readouterr())


def test_version_is_the_packages(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spark-pseudolabel {VERSION}\n"
