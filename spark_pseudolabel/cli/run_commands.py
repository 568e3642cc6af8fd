"""Commands that write: init, plan, run, label, demo; all but init work on Spark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spark_pseudolabel.cli.answers import Answer
from spark_pseudolabel.cli.options import (
    AllowImport,
    AnswerOptions,
    Conf,
    Incremental,
    Out,
    Overrides,
    wrong_usage,
)
from spark_pseudolabel.cli.sessions import (
    import_aside,
    progress,
    resumable,
    spark_session,
    start_early,
)
from spark_pseudolabel.errors import PseudoLabelError
from spark_pseudolabel.program import NAME as PROGRAM
from spark_pseudolabel.program import command

if TYPE_CHECKING:
    from spark_pseudolabel.config import Config
    from spark_pseudolabel.report.document import Report


def init(
    options: AnswerOptions,
    file: Annotated[str, typer.Argument(metavar="FILE")] = "pseudolabel.yaml",
    table: Annotated[
        str | None,
        typer.Option("--from", metavar="TABLE", help="Look at this file or directory of rows."),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="With --from: the column with the labels."),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="With --from: the column that names a row."),
    ] = None,
) -> Answer:
    """Write a commented configuration: an example, or with --from one for a table."""
    if table is not None and label_column is not None:
        return _init_from(file, table, label_column, id_column)
    if table is not None or label_column is not None or id_column is not None:
        raise wrong_usage("--from and --label go together, and --id with them.")
    from spark_pseudolabel.config.example import EXAMPLE
    from spark_pseudolabel.report.document import InitDocument

    _write_new(file, EXAMPLE)
    text = (
        f"Wrote {file}. It names the tables that `{PROGRAM} demo` writes: put yours in their "
        f"place, or let `{PROGRAM} init --from TABLE --label COLUMN` look at them."
        f"\nNext: {command('plan', file)}"
    )
    return Answer(InitDocument(file=file), text)


def _init_from(file: str, table: str, label_column: str, id_column: str | None) -> Answer:
    if Path(file).exists():  # before minutes of reading
        raise _exists(file)
    from spark_pseudolabel.output.first_look import look_at
    from spark_pseudolabel.output.starter import starter
    from spark_pseudolabel.report.document import FoundTable, InitDocument
    from spark_pseudolabel.report.text import render_init

    look = look_at(table, label_column, id_column)
    _write_new(file, starter(look, file))
    document = InitDocument(file=file, table=FoundTable.model_validate(look))
    return Answer(document, render_init(document))


def _write_new(file: str, text: str) -> None:
    try:
        with Path(file).open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        raise wrong_usage(f"{file!r} cannot be written: {error.strerror}.") from None


def _exists(file: str) -> PseudoLabelError:
    return wrong_usage(f"{file!r} must not exist yet. Name another file, or delete it.")


def plan(
    options: AnswerOptions,
    conf: Conf,
    overrides: Overrides = None,
    allow_import: AllowImport = None,
) -> Answer:
    """Check configuration, inputs and environment, and tell what would happen; write nothing."""
    source = _Source(conf, overrides or (), allow_import or ())
    config = source.load(check_estimators=False)
    from spark_pseudolabel.output.preflight import check_configuration

    check_configuration(config)
    with progress(options) as events:
        events.event("starting")
        start_early(config.spark)
        source.load()
        from spark_pseudolabel import job
        from spark_pseudolabel.report.document import PlanDocument
        from spark_pseudolabel.report.text import render_plan

        with spark_session(config.spark) as spark:
            document = PlanDocument.model_validate(job.plan(spark, config, events=events))
    return Answer(document, render_plan(document))


def run(
    options: AnswerOptions,
    conf: Conf,
    overrides: Overrides = None,
    allow_import: AllowImport = None,
    incremental: Incremental = False,
) -> Answer:
    """Run, or continue where an earlier run was stopped, or say that it is done."""
    source = _Source(conf, overrides or (), allow_import or (), incremental)
    config = source.load(check_estimators=False)
    outcome = _run(config, options, source.load)
    from spark_pseudolabel.report.guidance import nothing_done
    from spark_pseudolabel.report.text import render_text

    text = render_text(outcome.report)
    if outcome.before:
        text = f"{nothing_done(outcome.report, config.output.path)}\n\n{text}"
    return Answer(outcome.report, text, in_short=outcome.in_short)


def label(
    options: AnswerOptions,
    out: Out,
    input_path: Annotated[str, typer.Option("--input", metavar="PATH", help="New rows.")],
    output_path: Annotated[
        str, typer.Option("--output", metavar="PATH", help="Where their labels go.")
    ],
    input_format: Annotated[
        str | None,
        typer.Option("--format", help="Format of the new rows; by default as the path ends."),
    ] = None,
) -> Answer:
    """Apply a finished run's model and its plan to new rows."""
    from spark_pseudolabel.config import SparkSettings
    from spark_pseudolabel.output.preflight import check_labeling

    check_labeling(out, input_path, output_path)
    with progress(options) as events:
        events.event("starting")
        start_early(SparkSettings())
        from spark_pseudolabel import job
        from spark_pseudolabel.report.document import LabelDocument
        from spark_pseudolabel.report.text import render_label

        with spark_session(SparkSettings()) as spark:
            written = job.label(
                spark,
                out,
                input=input_path,
                output=output_path,
                format=input_format,
                events=events,
            )
    document = LabelDocument.model_validate(written)
    return Answer(document, render_label(document))


def demo(
    options: AnswerOptions,
    output: Annotated[
        str, typer.Option("--output", metavar="DIR", help="Where everything goes.")
    ] = "pseudolabel-demo",
) -> Answer:
    """Run on handwritten digits that come with scikit-learn, 80 % of them unlabeled."""
    from spark_pseudolabel.cli.demo import summary, write_demo

    file = write_demo(output)
    outcome = _run(_Source(str(file)).load(), options, lambda: None)
    text = summary(outcome.report, file, already_done=outcome.before)
    return Answer(outcome.report, text, in_short=outcome.in_short)


@dataclass(frozen=True)
class _Source:
    """Where a configuration comes from: a file, and what the command line says beside it."""

    file: str
    overrides: Sequence[str] = ()
    allow_import: Sequence[str] = ()
    incremental: bool = False

    def load(self, *, check_estimators: bool = True) -> Config:
        from spark_pseudolabel.config import load_config
        from spark_pseudolabel.config.sections import Incremental as Section

        config = load_config(
            self.file, self.overrides, self.allow_import, check_estimators=check_estimators
        )
        if self.incremental and config.incremental is None:
            return config.model_copy(update={"incremental": Section()})
        return config


@dataclass(frozen=True)
class _RunOutcome:
    """A finished run: its report, and whether it was finished before."""

    report: Report
    before: bool

    @property
    def in_short(self) -> str:
        """All of it in one line."""
        from spark_pseudolabel.report.guidance import mail_line

        return mail_line(self.report, before=self.before)


def _run(config: Config, options: AnswerOptions, check: Callable[[], object]) -> _RunOutcome:
    """Run a configuration.

    What `check` needs to import takes as long as a JVM does to start.
    """
    from spark_pseudolabel.output.new_files import report_if_nothing_new
    from spark_pseudolabel.output.preflight import check_configuration
    from spark_pseudolabel.output.state import report_if_finished

    if config.incremental is None:
        report = report_if_finished(config)
    else:
        report = report_if_nothing_new(config)
    if report is not None:
        return _RunOutcome(report, before=True)
    check_configuration(config)
    with progress(options) as events, resumable(config.output.path):
        events.event("starting")
        start_early(config.spark)
        import_aside("spark_pseudolabel.job", "skops.io", "spark_pseudolabel.report.figures")
        check()
        with spark_session(config.spark) as spark:
            from spark_pseudolabel import job

            result = job.run(spark, config, events=events)
    return _RunOutcome(result.report, result.already_done)
