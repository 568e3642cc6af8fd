"""What follows from a report: its certificate explained, what to do next, all in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spark_pseudolabel.report.document import Certificate, CertifiedClaim, Report, label_key
from spark_pseudolabel.report.words import (
    clean,
    count,
    metric,
    out_path,
    percent,
    rounds_word,
    rows,
    seconds,
    still_certified,
)

_MOST_AUDITED = 200
_MOST_CLAIMS = 3


@dataclass(frozen=True)
class Step:
    """A command worth running next.

    Parameters
    ----------
    arguments
        Of this program.
    why
        What it is good for, as the beginning of a sentence that the command ends.
    """

    arguments: Sequence[str]
    why: str


def next_steps(report: Report) -> list[Step]:
    """Return what to do with an output, the most useful first; nothing where its path is unknown.

    Labels that are there deserve a look by a person, then a reader. Where there are none, answers
    of a person are the shortest way to some.
    """
    out = out_path(report)
    if out is None or not report.rows.pool:
        return []
    asked = _folder(report, out)
    verify = Step(("verify", out, "--deep"), "Check that every file is there, whole and unchanged")
    take = Step(("labels", out, "--csv", "labels.csv"), "Take the labels as a CSV file")
    if report.numbers is not None:  # people are asked about classes
        return [take, verify] if report.rows.accepted else [verify]
    if not report.rows.accepted:
        certified = report.certificate
        precision = certified.precision if certified and not certified.best else 0.95
        certify = ("--certify", f"{precision:g}", "--budget", "300", "--to", asked)
        return [
            Step(
                ("review", "export", out, *certify),
                "Have a person answer some 300 rows, which certifies labels by themselves",
            ),
            Step(
                ("review", "export", out, "--queue", "200", "--to", queue_folder(report)),
                "Have a person label the 200 rows that teach a model most",
            ),
        ]
    return [
        *_audit(report, out, asked),
        take,
        verify,
    ]


def queue_folder(report: Report) -> str:
    """Name a new directory for the rows of a queue."""
    return f"{_folder(report, out_path(report) or 'out')}-queue"


def _folder(report: Report, out: str) -> str:
    return review_folder(out, 0 if report.review is None else report.review.commits)


def review_folder(out: str, commits: int = 0) -> str:
    """Name a local directory for rows to ask people about that no earlier export has used.

    Parameters
    ----------
    out
        The output; where it is not on the local disk, its last part names the directory.
    commits
        How many reviews there have been.

    Examples
    --------
    >>> review_folder("out/a/"), review_folder("s3://bucket/b", 2), review_folder("file:///c")
    ('out/a-review', 'b-review-3', '/c-review')
    """
    local = out.removeprefix("file://").rstrip("/")
    place = local.rpartition("/")[2] if "://" in local else local
    return f"{place}-review" if commits == 0 else f"{place}-review-{commits + 1}"


def _audit(report: Report, out: str, asked: str) -> list[Step]:
    """Return how to go on with an audit, or how to begin one; nothing once one is settled."""
    holding = [audit for audit in report.audits if audit.holds]
    if any(audit.settled for audit in holding):
        return []
    if holding:
        back = ("review", "import", out, "--answers", asked)
        return [Step(back, "Read further answers of the audit, until it is settled")]
    every = report.all_generations
    audited = min(_MOST_AUDITED, every.accepted if every else report.rows.accepted)
    return [
        Step(
            ("review", "export", out, "--audit", str(audited), "--to", asked),
            f"Have a person check the labels of {rows(audited)}, which bounds how many are wrong "
            "however the given ones were drawn",
        )
    ]


def how_certified(report: Report) -> list[str]:
    """Explain a certificate: which rows were tested, what was found, and what a claim takes."""
    certified = report.certificate
    if certified is None:
        return []
    held_out = certified.source == "held_out"
    kind = "validation" if held_out else "labeled"
    seen = (
        "which no model was trained on"
        if held_out
        else "each scored by models that have not seen it"
    )
    told = [
        f"{rows(certified.n_calibration, kind)} could be tested, {seen}; copies of a row count "
        "once, and so do the rows of a group. How right published labels are, only those tell "
        "that lie at or above the cut, as published rows do: that is why fewer are tested there."
    ]
    if certified.refused is not None:
        return told
    told += [_found(claim, certified) for claim in certified.claims[:_MOST_CLAIMS]]
    return told


def _found(claim: CertifiedClaim, certified: Certificate) -> str:
    """Say what the test of one claim has found."""
    name = clean(label_key(claim.labels[0]))
    of = f" predicted as {name!r}" if certified.per == "class" else ""
    where = (
        "at or above the cut" if claim.cut is not None else "at the strictest cut that was tried"
    )
    found = (
        f"Of the rows{of}, {count(claim.n)} lie {where}, and {count(claim.wrong)} of them "
        f"{'is' if claim.wrong == 1 else 'are'} wrong. "
    )
    if certified.best and claim.cut is None:
        return (
            f"{found}By bounds that hold at all cuts together, no precision from "
            f"{certified.precision:g} on is shown for {percent(certified.min_coverage or 0.0)} of "
            "the pool, so that nothing is claimed."
        )
    chosen = ", a small one since the cut was chosen among all" if certified.best else ""
    test = (
        f"If a share of {certified.precision:g} were right, so few wrong ones or fewer had a "
        f"probability of {claim.p_value:.2g}; a claim takes {claim.level:.2g} at most{chosen}"
    )
    if claim.cut is None:
        return f"{found}{test}, so that nothing is claimed."
    return f"{found}{test}. Hence at least {percent(claim.bound, 1)} are right, at that level."


def nothing_done(report: Report, out: str) -> str:
    """Say of a run that found nothing to do what its report is about."""
    if not report.generations:
        return f"Nothing to do: {out} is finished."
    return (
        f"Nothing new: {out} has labels of all rows that there are. What follows is the report of "
        f"generation {report.generations[-1].generation}, the latest one."
    )


def mail_line(report: Report, *, before: bool = False) -> str:
    """Sum a run up in one line, for the mail of a scheduler: outcome, rows, promise, path.

    The path comes last, so that nothing which follows it could be taken for a part of it.

    Parameters
    ----------
    report
        Of the run.
    before
        Whether it had ended before, so that nothing was done.
    """
    accepted, pool = report.rows.accepted, report.rows.pool
    share = f" ({percent(accepted / pool)})" if pool else ""
    parts = [
        *_standing(report, before=before),
        report.termination_condition,
        f"{count(accepted)} of {rows(pool, 'pool')} labeled{share}",
        _promise(report),
        f"{rounds_word(report.n_iter)} in {seconds(report.elapsed_s)}",
    ]
    if report.warnings:
        parts.append(f"{len(report.warnings)} warning{'s' if len(report.warnings) > 1 else ''}")
    return f"spark-pseudolabel: {', '.join(parts)}: {clean(out_path(report) or 'no output')}"


def _standing(report: Report, *, before: bool) -> list[str]:
    """Say which generation a report is about where nothing was done; nothing of a new one."""
    if not before:
        return []
    if not report.generations:
        return ["nothing to do"]
    return [f"nothing new since generation {report.generations[-1].generation}"]


def _promise(report: Report) -> str:
    """Say what is promised of the labels; what was measured, where nothing is."""
    certified = report.certificate
    if certified is not None and certified.claimed and not still_certified(report):
        return "nothing certified of the labels as they stand"
    if certified is not None and certified.claimed:
        return f"precision {certified.precision:g} certified with certainty {certified.certainty:g}"
    if certified is not None:
        return "nothing certified"
    measured = report.final.test or report.final.validation or report.final.oof
    if measured is None or measured.accuracy is None:
        return "nothing promised"
    return f"nothing promised, accuracy {metric(measured.accuracy)}"
