"""The rows of the pool that have no label: why not, how far from one, and who should look."""

from __future__ import annotations

from dataclasses import dataclass

from spark_pseudolabel.report.document import Report, Round
from spark_pseudolabel.report.tally import class_names, first_scored, last_accepting
from spark_pseudolabel.report.words import Lines, clean, count, percent

NEAR = (0.02, 0.05, 0.1, 0.2)
"""Distances from the cut."""
MOST_CLASSES = 30


@dataclass(frozen=True)
class Reason:
    """Rows without a label for one reason.

    Parameters
    ----------
    name
        As ``undecided.reason`` says it.
    rows
        How many.
    meaning, remedy
        What it means, and what to do about it.
    """

    name: str
    rows: int
    meaning: str
    remedy: str


def reasons(report: Report) -> list[Reason]:
    """Return why rows have no label, the most common reason first; none where all have one."""
    rows = report.rows
    below = rows.rejected - rows.withheld - rows.unstable - rows.disagreement
    told = [
        Reason(
            "below the cut",
            max(0, below),
            "the model was not sure enough of them",
            "have a person label some, or lower the cut where the precision allows it",
        ),
        Reason(
            "withheld",
            rows.withheld,
            "they are far from any labeled row",
            "label rows like them: no model knows them",
        ),
        Reason(
            "unstable",
            rows.unstable,
            "corrupted copies of them get another label",
            "have a person look, or ask for less (selection.stable_under)",
        ),
        Reason(
            "disagreement",
            rows.disagreement,
            "members of the model name other labels",
            "have a person decide: these teach a model most",
        ),
        Reason(
            "abstained",
            rows.abstained,
            "the model gave them no label",
            "add a rule or labeled rows that reach them",
        ),
        Reason(
            "invalid",
            rows.invalid,
            "they could not be scored",
            "see the reasons in invalid/ and mend the data",
        ),
    ]
    return sorted((each for each in told if each.rows), key=lambda each: -each.rows)


def why_left(report: Report) -> Lines | None:
    """Tabulate the reasons; None where every row has a label."""
    found = reasons(report)
    if not found:
        return None
    pool = report.rows.pool
    body = [
        [each.name, count(each.rows), percent(each.rows / pool), each.meaning, each.remedy]
        for each in found
    ]
    return Lines(["reason", "rows", "of the pool", "what it means", "what to do"], body)


def deciding(report: Report) -> Round | None:
    """Return the round whose scores tell most of what is left: the last that accepted rows."""
    last = last_accepting(report)
    return last if last is not None and last.histogram is not None else first_scored(report)


def near_cut(report: Report) -> Lines | None:
    """Tabulate how many rows of each class lie just below its cut, by whole bins of confidence.

    The classes with the most rows left are shown. None where no row was scored or none is left.
    """
    last = deciding(report)
    if last is None or last.histogram is None:
        return None
    lines = [(_left(last, name), name) for name in class_names(report)]
    shown = sorted((-n, name) for n, name in lines if n)[:MOST_CLASSES]
    body = [[clean(name), count(-n), *_cells(last, name)] for n, name in shown]
    head = ["class, as predicted", "rows left", "cut"]
    head += [f"within {distance:g}" for distance in NEAR]
    return Lines(head, body) if body else None


def _left(r: Round, name: str) -> int:
    """Count the candidates of a predicted class that were not accepted."""
    assert r.histogram is not None
    return max(0, sum(r.histogram.counts.get(name, [])) - r.accepted_by_class.get(name, 0))


def _cells(r: Round, name: str) -> list[str]:
    """Return a class's cut, and its rows below it within each distance."""
    cut = r.threshold_by_class.get(name)
    if cut is None or r.histogram is None:
        return ["-"] * (1 + len(NEAR))
    counts, bins = r.histogram.counts.get(name, []), r.histogram.bins
    end = int(cut * bins + 1e-9)
    within = [sum(counts[max(0, end - round(distance * bins)) : end]) for distance in NEAR]
    return [f"{cut:.3f}", *map(count, within)]
