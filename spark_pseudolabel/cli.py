"""The command line: commands, and the one place that turns errors into text and exit codes.

Arguments are only read here; what they ask for comes back as a `Task` and is worked on outside
of the argument parser, so that it sees every error and Ctrl-C itself. Libraries that take long
to import are imported by the command that needs them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spark_pseudolabel import signals
from spark_pseudolabel.errors import ConfigError, PseudoLabelError, text_of
from spark_pseudolabel.program import NAME as PROGRAM
from spark_pseudolabel.program import command
from spark_pseudolabel.progress import Events, choose_events, showable
from spark_pseudolabel.redaction import redacted_text
from spark_pseudolabel.version import VERSION

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_pseudolabel.config import Config, SparkSettings
    from spark_pseudolabel.output.opening import Opened


# The last line of a Python traceback, and not of the Java one that may follow it.
_RAISED = re.compile(
    r"(?!java|org\.apache|scala)[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b(: |$)"
)


class OutputFormat(StrEnum):
    """What standard output carries."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True)
class Face:
    """How a command answers: the options that every command has."""

    output_format: str = OutputFormat.TEXT
    result: str | None = None
    debug: bool = False
    quiet: bool = False

    @property
    def json(self) -> bool:
        return self.output_format == OutputFormat.JSON


@dataclass(frozen=True)
class Answer:
    """What a command found: the same as a document and as text."""

    document: dict[str, Any]
    text: str
    error: PseudoLabelError | None = None
    """Told after the document where finding something wrong is what the command is for."""


@dataclass(frozen=True)
class Task:
    """What the arguments ask for."""

    work: Callable[[Face], Answer]
    face: Face


app = typer.Typer(
    name=PROGRAM,
    help="From a few labels and a large unlabeled table to a large labeled table, on Spark.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Conf = Annotated[str, typer.Argument(metavar="CONF", help="YAML configuration file.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Output of a run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in a.b=value; repeatable."),
]
AllowImport = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-import",
        metavar="PACKAGE",
        help="Let estimators be imported from this package; repeatable.",
    ),
]
Format = Annotated[
    OutputFormat, typer.Option("--output-format", help="What standard output carries.")
]
ResultFile = Annotated[
    str | None,
    typer.Option("--result", metavar="FILE", help="Write the JSON document to this file, too."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")]


def _show_version(asked: bool) -> None:
    if asked:
        _print(f"{PROGRAM} {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None: ...


@app.command()
def init(
    file: Annotated[str, typer.Argument(metavar="FILE")] = "pseudolabel.yaml",
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Write a commented example configuration."""
    return Task(partial(_init, file), Face(output_format, result, debug, quiet))


@app.command()
def plan(
    conf: Conf,
    overrides: Overrides = None,
    allow_import: AllowImport = None,
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Check configuration, inputs and environment, and tell what would happen; write nothing."""
    work = partial(_plan, conf, overrides or (), allow_import or ())
    return Task(work, Face(output_format, result, debug, quiet))


@app.command()
def run(
    conf: Conf,
    overrides: Overrides = None,
    allow_import: AllowImport = None,
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Run, or go on where an earlier run was stopped, or say that it is done."""
    work = partial(_run, conf, overrides or (), allow_import or ())
    return Task(work, Face(output_format, result, debug, quiet))


@app.command()
def status(
    out: Out,
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Tell what an output holds: its rounds, and why it stopped."""
    return Task(partial(_status, out), Face(output_format, result, debug, quiet))


@app.command()
def verify(
    out: Out,
    deep: Annotated[bool, typer.Option("--deep", help="Read the contents, too.")] = False,
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Check that all files of an output are there, whole and unchanged."""
    return Task(partial(_verify, out, deep), Face(output_format, result, debug, quiet))


@app.command()
def gc(
    out: Out,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; without this, only list it.")
    ] = False,
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help="Leave younger files: 7d, 12h, 30m, 0s."),
    ] = "7d",
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """List, or delete, what crashes left in an output; never a file that a manifest names."""
    work = partial(_gc, out, delete, older_than)
    return Task(work, Face(output_format, result, debug, quiet))


@app.command()
def report(
    out: Out,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")
    ] = None,
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Show the report of a finished run again."""
    return Task(partial(_report, out, html), Face(output_format, result, debug, quiet))


@app.command()
def explain(
    out: Out,
    row: Annotated[str, typer.Option("--id", metavar="ID", help="The row.")],
    why: Annotated[
        bool, typer.Option("--why", help="Say what each feature does to the confidence.")
    ] = False,
    row_file: Annotated[
        str | None,
        typer.Option(
            "--row", metavar="FILE", help="With --why: the row's features, as a JSON object."
        ),
    ] = None,
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Tell why a row has, or has not, its label."""
    if row_file is not None and not why:
        raise _usage("--row goes with --why. Add it, or leave --row out.")
    work = partial(_explain, out, row, why, row_file)
    return Task(work, Face(output_format, result, debug, quiet))


@app.command()
def label(
    out: Out,
    input_path: Annotated[str, typer.Option("--input", metavar="PATH", help="New rows.")],
    output_path: Annotated[
        str, typer.Option("--output", metavar="PATH", help="Where their labels go.")
    ],
    input_format: Annotated[
        str | None,
        typer.Option("--format", help="Format of the new rows; by default as the path ends."),
    ] = None,
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Apply a finished run's model and its plan to new rows."""
    work = partial(_label, out, input_path, output_path, input_format)
    return Task(work, Face(output_format, result, debug, quiet))


@app.command()
def demo(
    output: Annotated[
        str, typer.Option("--output", metavar="DIR", help="Where everything goes.")
    ] = "pseudolabel-demo",
    output_format: Format = OutputFormat.TEXT,
    result: ResultFile = None,
    debug: Debug = False,
    quiet: Quiet = False,
) -> Task:
    """Run on handwritten digits that come with scikit-learn, 80 % of them unlabeled."""
    return Task(partial(_demo, output), Face(output_format, result, debug, quiet))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    arguments
        Without the program's name; None: those of this process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    face = _face_asked_for(arguments)
    with contextlib.nullcontext() if face.debug else _libraries_silent():
        return _answered(arguments, face)


def _answered(arguments: list[str], face: Face) -> int:
    try:
        with _reader_may_leave():
            task = _read(arguments)
        if task is None:  # --help, which has been printed
            return 0
        face = task.face
        with _standard_output_kept(face), signals.sigterm_as_interrupt():
            _check_result_file(face)
            answer = task.work(face)
        _give(answer, face)
        return answer.error.exit_code if answer.error else 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  every one ends in a message
        return _fail(error, face)


def _read(arguments: list[str]) -> Task | None:
    task = app(arguments, prog_name=PROGRAM, standalone_mode=False)
    return task if isinstance(task, Task) else None


@contextlib.contextmanager
def _libraries_silent() -> Iterator[None]:
    """Keep warnings, logs and traces of libraries and their threads off the screen.

    What a user should know is an event, stands in the report, or is the message at the end.
    """
    logs, of_threads = logging.root.manager.disable, threading.excepthook
    # Py4J logs a trace for every call that another thread has under way while the JVM ends.
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logs)
        threading.excepthook = of_threads


def _init(file: str, face: Face) -> Answer:
    from spark_pseudolabel.config.example import EXAMPLE

    try:
        with Path(file).open("x", encoding="utf-8") as opened:
            opened.write(EXAMPLE)
    except FileExistsError:
        raise _usage(f"{file!r} must not exist yet. Name another file, or delete it.") from None
    except OSError as error:
        raise _usage(f"{file!r} cannot be written: {error.strerror}.") from None
    text = (
        f"Wrote {file}. It names the tables that `{PROGRAM} demo` writes: put yours in their "
        f"place.\nNext: {command('plan', file)}"
    )
    return Answer({"file": file}, text)


def _plan(conf: str, overrides: Sequence[str], allow: Sequence[str], face: Face) -> Answer:
    config = _load(conf, overrides, allow, check_estimators=False)
    from spark_pseudolabel.job.preflight import check_configuration

    check_configuration(config)
    with _events(face) as events:
        events.event("starting")
        _start_early(config.spark)
        _load(conf, overrides, allow)
        from spark_pseudolabel import job
        from spark_pseudolabel.report.text import render_plan

        with _spark(config.spark) as spark:
            document = job.plan(spark, config, events=events)
    return Answer(document, render_plan(document))


def _run(conf: str, overrides: Sequence[str], allow: Sequence[str], face: Face) -> Answer:
    config = _load(conf, overrides, allow, check_estimators=False)
    document, already_done = _run_config(config, face, lambda: _load(conf, overrides, allow))
    from spark_pseudolabel.report.text import render_text

    text = render_text(document)
    if already_done:
        text = f"Nothing to do: {config.output.path} is finished.\n\n{text}"
    return Answer(document, text)


def _run_config(
    config: Config, face: Face, check: Callable[[], object]
) -> tuple[dict[str, Any], bool]:
    """Run a configuration; return its report and whether nothing was left to do.

    What `check` needs to import takes as long as a JVM does to start.
    """
    from spark_pseudolabel.job.preflight import check_configuration
    from spark_pseudolabel.output.state import report_if_finished

    report = report_if_finished(config)
    if report is not None:
        return report.as_json(), True
    check_configuration(config)
    with _events(face) as events, _resumable(config.output.path):
        events.event("starting")
        _start_early(config.spark)
        _import_aside("spark_pseudolabel.job", "skops.io", "spark_pseudolabel.report.figures")
        check()
        with _spark(config.spark) as spark:
            from spark_pseudolabel import job

            result = job.run(spark, config, events=events)
    return result.report, result.already_done


def _start_early(settings: SparkSettings) -> None:
    from spark_pseudolabel.spark.startup.session import start_early

    start_early(settings)


def _import_aside(*modules: str) -> None:
    # No daemon: one that is still in a library's C++ when the interpreter ends aborts the process.
    threading.Thread(target=lambda: [*map(_try_import, modules)]).start()


def _try_import(module: str) -> None:
    # What is wrong with a module is told where it is used.
    with contextlib.suppress(Exception):
        importlib.import_module(module)


def _status(out: str, face: Face) -> Answer:
    from spark_pseudolabel.output.status import read_status
    from spark_pseudolabel.report.text import render_status

    with _opened(out) as opened:
        document = read_status(out, opened=opened)
    return Answer(document.as_json(), render_status(document))


def _verify(out: str, deep: bool, face: Face) -> Answer:
    from spark_pseudolabel.errors import StoredStateError
    from spark_pseudolabel.output.verify import check_output
    from spark_pseudolabel.report.text import render_verify

    with _opened(out) as opened:
        document = check_output(out, deep, opened=opened)
    error = None
    if not document.ok:
        n = len(document.problems)
        error = StoredStateError(
            f"{out} does not verify: {n} problem{'' if n == 1 else 's'} found.", where=out
        )
    return Answer(document.as_json(), render_verify(document), error)


def _gc(out: str, delete: bool, older_than: str, face: Face) -> Answer:
    older_than_s = _age(older_than)
    from spark_pseudolabel.output.gc import collect_garbage
    from spark_pseudolabel.report.text import render_gc

    with _opened(out, to_delete=delete) as opened:
        document = collect_garbage(out, delete=delete, older_than_s=older_than_s, opened=opened)
    return Answer(document.as_json(), render_gc(document))


def _age(text: str) -> float:
    """Return the seconds of an age such as 7d."""
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([dhms])", text)
    if match is None:
        raise _usage(f"--older-than must be a number and one of d, h, m, s. Got {text!r}.")
    return float(match[1]) * units[match[2]]


@contextlib.contextmanager
def _opened(out: str, *, to_delete: bool = False) -> Iterator[Opened]:
    """Open an output without a JVM where that can be; elsewhere through Spark."""
    from spark_pseudolabel.output.opening import open_without_jvm

    opened = open_without_jvm(out, to_delete=to_delete)
    if opened is not None:
        yield opened
        return
    from spark_pseudolabel.config import SparkSettings
    from spark_pseudolabel.spark.hadoop_files import files_for

    with _spark(SparkSettings()) as spark:
        yield files_for(spark, out)


def _report(out: str, html: str | None, face: Face) -> Answer:
    from spark_pseudolabel.output.report import read_report
    from spark_pseudolabel.report.text import render_text

    with _opened(out) as opened:
        document = read_report(out, opened=opened)
    if html is not None:
        from spark_pseudolabel.report.html import render_html

        _write(html, render_html(document))
    return Answer(document.as_json(), render_text(document))


def _explain(out: str, row: str, why: bool, row_file: str | None, face: Face) -> Answer:
    from spark_pseudolabel.output.explain import explain_row
    from spark_pseudolabel.report.text import render_explain

    with _opened(out) as opened:
        document = explain_row(out, row, why=why, row_file=row_file, opened=opened)
    return Answer(document.as_json(), render_explain(document))


def _label(out: str, source: str, target: str, source_format: str | None, face: Face) -> Answer:
    from spark_pseudolabel.config import SparkSettings
    from spark_pseudolabel.job.preflight import check_labeling

    check_labeling(out, source, target)
    with _events(face) as events:
        events.event("starting")
        _start_early(SparkSettings())
        from spark_pseudolabel import job
        from spark_pseudolabel.report.text import render_label

        with _spark(SparkSettings()) as spark:
            document = job.label(
                spark, out, input=source, output=target, format=source_format, events=events
            )
    return Answer(document, render_label(document))


def _demo(output: str, face: Face) -> Answer:
    from spark_pseudolabel.demo import summary, write_demo

    file = write_demo(output)
    document, already_done = _run_config(_load(str(file), (), ()), face, lambda: None)
    return Answer(document, summary(document, file, already_done=already_done))


def _load(
    conf: str, overrides: Sequence[str], allow: Sequence[str], *, check_estimators: bool = True
) -> Config:
    from spark_pseudolabel.config import load_config

    return load_config(conf, overrides, allow, check_estimators=check_estimators)


@contextlib.contextmanager
def _events(face: Face) -> Iterator[Events]:
    events = choose_events(quiet=face.quiet)
    try:
        yield events
    finally:
        events.close()


@contextlib.contextmanager
def _spark(settings: SparkSettings) -> Iterator[SparkSession]:
    """Find or start Spark; stop it where it was started here, in bounded time."""
    from spark_pseudolabel.spark.ending import explained
    from spark_pseudolabel.spark.startup.session import borrowed, get_session, is_active

    lent = is_active()
    with signals.sigint_kept() as put_back:
        spark = get_session(settings)
        put_back()
        try:
            with borrowed(spark, settings.conf) if lent else contextlib.nullcontext():
                yield spark
        except Exception as error:
            meaning = explained(error, settings.conf.get("spark.driver.memory"))
            if meaning is None:
                raise
            raise meaning from error
        finally:
            if not lent:
                signals.within(8.0, spark.stop)


@contextlib.contextmanager
def _resumable(out: str) -> Iterator[None]:
    """Say on Ctrl-C and SIGTERM what is safe, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise signals.StoppedError(
            f"{_committed(out)} committed; run the same command to continue.", interrupt
        ) from interrupt


def _committed(out: str) -> str:
    from spark_pseudolabel.output.status import read_status

    try:
        n = len(read_status(out).rounds)
    except Exception:  # noqa: BLE001  nothing is there yet, or only Spark can read it
        return "No round known to be"
    return f"{n} round{'' if n == 1 else 's'}"


def _give(answer: Answer, face: Face) -> None:
    """Print an answer; an error of its own comes last on the screen."""
    _write_result(answer.document, face)
    if face.json:
        _tell(answer.error)
    with _reader_may_leave():
        _print(_to_json(answer.document) if face.json else answer.text)
    if not face.json:
        _tell(answer.error)


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Bear with a reader who has read enough, as in ``report OUT | head``."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: BaseException, face: Face) -> int:
    """Tell an error and return its exit code."""
    if face.debug:
        said = redacted_text("".join(traceback.format_exception(error)))
        sys.stderr.write(showable(said, sys.stderr))
    ours = _as_ours(error)
    document = {"error": ours.to_dict()}
    with contextlib.suppress(OSError, PseudoLabelError):
        _write_result(document, face)
    _tell(ours)
    if face.json:
        with contextlib.suppress(OSError):
            _print(_to_json(document))
    return ours.exit_code


def _as_ours(error: BaseException) -> PseudoLabelError:
    if isinstance(error, PseudoLabelError):
        return error
    # A mistake in the arguments; which class that is depends on typer's version.
    if format_message := getattr(error, "format_message", None):
        called = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
        return _usage(f"{format_message()}\nTry '{called} --help'.")
    if isinstance(error, KeyboardInterrupt):
        return signals.StoppedError("Interrupted.", error)
    return PseudoLabelError(
        f"{type(error).__name__}: {_main_line(error)}\nRun again with --debug for the traceback.",
        code="unexpected",
    )


def _usage(message: str) -> ConfigError:
    return ConfigError(message, code="usage")


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


def _tell(error: PseudoLabelError | None) -> None:
    if error is not None:
        sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            message = _wrapped(error.message) if sys.stderr.isatty() else error.message
            sys.stderr.write(showable(f"{message}\n", sys.stderr))
            sys.stderr.flush()


def _wrapped(message: str) -> str:
    from spark_pseudolabel.report.text import wrapped

    return wrapped(message)


def _print(text: str) -> None:
    sys.stdout.write(showable(text.rstrip("\n") + "\n", sys.stdout))
    sys.stdout.flush()


def _to_json(document: dict[str, Any]) -> str:
    # Under spark-submit the last line is the document: Python's standard error comes before it.
    indent = None if "PYSPARK_GATEWAY_PORT" in os.environ else 2
    return json.dumps(document, indent=indent, default=str)


def _check_result_file(face: Face) -> None:
    """Refuse before hours of work what would fail after them."""
    if face.result is not None and not Path(face.result).absolute().parent.is_dir():
        raise _usage(f"--result must be in a directory that exists. Got {face.result!r}.")


def _write_result(document: dict[str, Any], face: Face) -> None:
    if face.result is not None:
        _write(face.result, json.dumps(document, indent=2, default=str) + "\n")


def _write(file: str, text: str) -> None:
    """Write a whole file or none."""
    path = Path(file)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise _usage(f"{file!r} cannot be written: {error.strerror}.") from None


@contextlib.contextmanager
def _standard_output_kept(face: Face) -> Iterator[None]:
    """Send what libraries, workers and the JVM print to standard error: one document, no more."""
    if not face.json:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr), _descriptor_1_is_2():
        yield


@contextlib.contextmanager
def _descriptor_1_is_2() -> Iterator[None]:
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        yield
        return
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _face_asked_for(arguments: Sequence[str]) -> Face:
    """Read how to answer from arguments that may be wrong otherwise."""
    return Face(
        output_format=_value_of("--output-format", arguments) or OutputFormat.TEXT,
        result=_value_of("--result", arguments),
        debug="--debug" in arguments,
    )


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == option:
            return next(iter(arguments[position + 1 :]), None)
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None
