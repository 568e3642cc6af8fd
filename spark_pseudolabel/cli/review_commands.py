"""Commands of ``review``: people in the loop of a finished run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spark_pseudolabel.cli.answers import Answer
from spark_pseudolabel.cli.options import AnswerOptions, Out, wrong_usage
from spark_pseudolabel.cli.sessions import output_opened


class Per(StrEnum):
    """What an audit judges."""

    ALL = "all"
    CLASS = "class"


class TaskFormat(StrEnum):
    """How rows are written for people."""

    CSV = "csv"
    LABEL_STUDIO = "labelstudio"


def export(
    options: AnswerOptions,
    out: Out,
    to: Annotated[
        str, typer.Option("--to", metavar="DIR", help="Where the rows go: a new directory.")
    ],
    queue: Annotated[
        int | None,
        typer.Option("--queue", metavar="N", min=1, help="The N rows most worth a minute."),
    ] = None,
    audit: Annotated[
        int | None,
        typer.Option("--audit", metavar="N", min=1, help="N labels at random, to be judged."),
    ] = None,
    certify: Annotated[
        float | None,
        typer.Option(
            "--certify", metavar="P", help="Rows that show at which cut the precision is P."
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option("--budget", metavar="N", min=1, help="With --certify: answers in all."),
    ] = None,
    per: Annotated[
        Per, typer.Option("--per", help="With --audit: judge all labels, or each class by itself.")
    ] = Per.ALL,
    task_format: Annotated[
        TaskFormat, typer.Option("--format", help="How rows are written.")
    ] = TaskFormat.CSV,
    no_features: Annotated[
        bool, typer.Option("--no-features", help="Write ids alone, without what is known of rows.")
    ] = False,
) -> Answer:
    """Write rows of a finished run for people to answer."""
    wanted = {"queue": queue, "audit": audit, "certify": certify}
    named = [kind for kind, value in wanted.items() if value is not None]
    if len(named) != 1:
        raise wrong_usage(
            "review export needs one of --queue N, --audit N and --certify P --budget N. Got "
            f"{' and '.join(f'--{kind}' for kind in named) or 'none'}."
        )
    (kind,) = named
    if (certify is None) != (budget is None):
        raise wrong_usage("--certify P and --budget N go together. Give both, or neither.")
    if per is Per.CLASS and audit is None:
        raise wrong_usage("--per class goes with --audit N. Give --audit N, or leave it out.")
    if certify is not None and not 0 < certify < 1:
        raise wrong_usage(f"--certify must be between 0 and 1, as 0.95. Got {certify:g}.")
    from spark_pseudolabel.output.review.export import Target, export_questions
    from spark_pseudolabel.output.review.kind import Wish
    from spark_pseudolabel.report.review_text import render_export
    from spark_pseudolabel.report.text import wrapped

    rows = queue or audit or budget
    assert rows is not None
    target = Target(Path(to), task_format.value, features=not no_features)
    with output_opened(out, to_write=True) as opened:
        document = export_questions(
            out, kind, Wish(rows, certify, per is Per.CLASS), target, opened
        )
    return Answer(document, wrapped(render_export(document)))


def import_(
    options: AnswerOptions,
    out: Out,
    answers: Annotated[
        list[str],
        typer.Option(
            "--answers",
            metavar="FILE",
            help="CSV, Label Studio's JSON export, or a directory of these; repeatable.",
        ),
    ],
) -> Answer:
    """Read answers back, any part of them, any number of times."""
    from spark_pseudolabel.output.review.importing import import_answers
    from spark_pseudolabel.report.review_text import render_import
    from spark_pseudolabel.report.text import wrapped

    with output_opened(out, to_write=True) as opened:
        document = import_answers(out, answers, opened)
    return Answer(document, wrapped(render_import(document)))


def revoke(
    options: AnswerOptions,
    out: Out,
    of_round: Annotated[
        int | None,
        typer.Option("--round", metavar="N", min=1, help="All labels that a round accepted."),
    ] = None,
    of_class: Annotated[
        str | None, typer.Option("--class", metavar="C", help="All labels of a class.")
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option("--ids", metavar="FILE", help="Rows by id: one in each line, or CSV."),
    ] = None,
) -> Answer:
    """Take labels back; nothing is deleted."""
    given = [value for value in (of_round, of_class, ids) if value is not None]
    if len(given) != 1:
        raise wrong_usage(
            "review revoke needs one of --round N, --class C and --ids FILE. Got "
            f"{len(given) or 'none'}."
        )
    from spark_pseudolabel.output.review.revoking import Named, revoke_labels
    from spark_pseudolabel.report.review_text import render_revoke
    from spark_pseudolabel.report.text import wrapped

    with output_opened(out, to_write=True) as opened:
        document = revoke_labels(out, Named(of_round, of_class, ids), opened)
    return Answer(document, wrapped(render_revoke(document)))
