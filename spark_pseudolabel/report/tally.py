"""Numbers that follow from the report and that text, page and figures show alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from spark_pseudolabel.report.document import Reliability, Report, Round, label_key

Item = TypeVar("Item")


def class_names(report: Report) -> list[str]:
    """Return the labels as JSON keys, in the model's order."""
    return [label_key(label) for label in report.classes]


def accepted_by_class(report: Report) -> dict[str, int]:
    """Return the rows per label in ``labels``: those of the rounds that are used.

    Where every round relabels the pool, the last used round has them all.
    """
    used = [r for r in report.rounds if r.used]
    if _relabels(report):
        used = used[-1:]
    return {
        name: sum(r.accepted_by_class.get(name, 0) for r in used) for name in class_names(report)
    }


def last_accepting(report: Report) -> Round | None:
    """Return the last used round that accepted rows."""
    accepting = [r for r in report.rounds if r.used and r.accepted]
    return accepting[-1] if accepting else None


def last_measured(report: Report) -> Reliability | None:
    """Return the reliability of the confidences in the last round where it is known."""
    measured = [r.reliability for r in report.rounds if r.reliability]
    return measured[-1] if measured else None


def first_scored(report: Report) -> Round | None:
    """Return the first round that has a histogram of scored candidates: the whole pool."""
    return next((r for r in report.rounds if r.histogram and r.candidates > r.invalid), None)


def confident(r: Round, name: str, cut: float) -> int:
    """Return how many candidates of a label have at least this confidence, by whole bins."""
    if r.histogram is None:
        return 0
    first_bin = round(cut * r.histogram.bins)
    return sum(r.histogram.counts.get(name, [])[first_bin:])


def left_out(items: Sequence[Item], most: int) -> tuple[list[Item], int, list[Item]]:
    """Split items into a head, a number left out, and a tail, ``most`` in all.

    Examples
    --------
    >>> left_out([1, 2, 3, 4, 5, 6, 7], 3)
    ([1], 4, [6, 7])
    """
    if len(items) <= most:
        return list(items), 0, []
    head = most // 3
    return list(items[:head]), len(items) - most, list(items[head - most :])


def _relabels(report: Report) -> bool:
    rounds = report.config.get("rounds")
    return bool(rounds.get("relabel")) if isinstance(rounds, dict) else False
