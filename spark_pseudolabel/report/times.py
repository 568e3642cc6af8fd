"""Where the time of a run went: by round and stage, and how fast rows were scored."""

from __future__ import annotations

from spark_pseudolabel.report.document import Report, Round
from spark_pseudolabel.report.tally import left_out
from spark_pseudolabel.report.words import Lines, count, seconds

STAGES = ("fit", "score", "select", "commit")
MOST_ROUNDS = 40


def in_round(r: Round) -> float:
    """Return the seconds of all stages of a round."""
    return float(sum(getattr(r.seconds, stage) for stage in STAGES))


def outside_rounds(report: Report) -> float:
    """Return the seconds of a run outside of its rounds: its start, its last model, the tables.

    0 where rounds took longer than the run, which went on from what an earlier process had done.
    """
    return max(0.0, report.elapsed_s - sum(map(in_round, report.rounds)))


def by_round(report: Report) -> tuple[Lines, int] | None:
    """Tabulate seconds by round and stage, and the rows scored in a second.

    Returns
    -------
    tuple or None
        The table, and how many rounds in its middle are left out; None without a round.
    """
    if not report.rounds:
        return None
    head, missing, tail = left_out(report.rounds, MOST_ROUNDS)
    body = [_line(r) for r in head]
    if missing:
        body.append(["...", *[""] * (len(STAGES) + 3)])
    body += [_line(r) for r in tail]
    columns = ["round", *STAGES, "together", "rows scored", "rows/s"]
    return Lines(columns, body), missing


def _line(r: Round) -> list[str]:
    speed = count(round(r.candidates / r.seconds.score)) if r.seconds.score else "-"
    stages = [seconds(getattr(r.seconds, stage)) for stage in STAGES]
    return [str(r.round), *stages, seconds(in_round(r)), count(r.candidates), speed]
