"""Commands that read an output, or the machine: status, verify, gc, report, explain, doctor."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from spark_pseudolabel.cli.answers import Answer, write_file
from spark_pseudolabel.cli.options import AnswerOptions, Out, wrong_usage
from spark_pseudolabel.cli.sessions import output_opened
from spark_pseudolabel.cli.watching import display, watch
from spark_pseudolabel.errors import InputError, StoredStateError

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def status(
    options: AnswerOptions,
    out: Out,
    watched: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until the run ends.")
    ] = False,
) -> Answer:
    """Tell what an output holds: its rounds, and why it stopped."""
    from spark_pseudolabel.output.status import read_status
    from spark_pseudolabel.report.text import render_status

    with output_opened(out) as opened:
        read = partial(read_status, out, opened=opened)
        if watched:
            with display(options) as show:
                document = watch(read, show)
        else:
            document = read()
    return Answer(document, render_status(document))


def verify(
    options: AnswerOptions,
    out: Out,
    deep: Annotated[bool, typer.Option("--deep", help="Read the contents, too.")] = False,
) -> Answer:
    """Check that all files of an output are there, whole and unchanged."""
    from spark_pseudolabel.output.verify import check_output
    from spark_pseudolabel.report.text import render_verify

    with output_opened(out) as opened:
        document = check_output(out, deep, opened=opened)
    error = None
    if not document.ok:
        n = len(document.problems)
        error = StoredStateError(
            f"{out} does not verify: {n} problem{'' if n == 1 else 's'} found.", where=out
        )
    return Answer(document, render_verify(document), error)


def gc(
    options: AnswerOptions,
    out: Out,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; without this, only list it.")
    ] = False,
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help="Leave younger files: 7d, 12h, 30m, 0s."),
    ] = "7d",
    retain: Annotated[
        int | None,
        typer.Option(
            "--retain",
            metavar="N",
            min=1,
            help="Of an incremental run, also what generations but the latest N have scored.",
        ),
    ] = None,
) -> Answer:
    """List, or delete, what crashes left in an output; never a file that a manifest names."""
    older_than_s = _seconds_of(older_than)
    from spark_pseudolabel.output.gc import collect_garbage
    from spark_pseudolabel.report.text import render_gc

    with output_opened(out, to_write=delete) as opened:
        document = collect_garbage(
            out, delete=delete, older_than_s=older_than_s, retain=retain, opened=opened
        )
    return Answer(document, render_gc(document))


def labels(
    options: AnswerOptions,
    out: Out,
    csv: Annotated[str, typer.Option("--csv", metavar="FILE", help="The file to write.")],
) -> Answer:
    """Write the published labels of a run as one CSV file."""
    from spark_pseudolabel.output.labels import write_labels
    from spark_pseudolabel.report.review_text import render_labels

    with output_opened(out) as opened:
        document = write_labels(out, csv, opened)
    return Answer(document, render_labels(document))


def _seconds_of(age: str) -> float:
    """Return the seconds of an age such as 7d."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([dhms])", age)
    if match is None:
        raise wrong_usage(f"--older-than must be a number and one of d, h, m, s. Got {age!r}.")
    return float(match[1]) * _SECONDS[match[2]]


def report(
    options: AnswerOptions,
    out: Out,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")
    ] = None,
) -> Answer:
    """Show the report of a finished run again."""
    if html is not None:
        _require_directory(html)
    from spark_pseudolabel.output.report import read_report
    from spark_pseudolabel.report.text import render_text

    with output_opened(out) as opened:
        document = read_report(out, opened=opened)
    if html is not None:
        from spark_pseudolabel.report.html import render_html

        write_file(html, render_html(document))
    return Answer(document, render_text(document))


def _require_directory(page: str) -> None:
    folder = Path(page).absolute().parent
    if not folder.is_dir():
        raise InputError(
            f"--html must be in a directory that exists. Got {page!r}. Make {folder} first, or "
            "name another file.",
            code="missing_path",
            where=page,
        )


def explain(
    options: AnswerOptions,
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
) -> Answer:
    """Tell why a row has, or has not, its label."""
    if row_file is not None and not why:
        raise wrong_usage("--row goes with --why. Add it, or leave --row out.")
    from spark_pseudolabel.output.explain import explain_row
    from spark_pseudolabel.report.text import render_explain

    with output_opened(out) as opened:
        document = explain_row(out, row, why=why, row_file=row_file, opened=opened)
    return Answer(document, render_explain(document))


def doctor(options: AnswerOptions) -> Answer:
    """Tell whether this machine can run anything: Java, host name, libraries, memory, disk."""
    from spark_pseudolabel.output.doctor import examine
    from spark_pseudolabel.report.text import render_doctor

    document = examine()
    error = None
    if not document.ok:
        wrong = [check.name for check in document.checks if check.state == "problem"]
        error = InputError(
            f"This machine is not ready: see {', '.join(wrong)} above, with what to do.",
            code="not_ready",
            where=wrong[0],
        )
    return Answer(document, render_doctor(document), error)
