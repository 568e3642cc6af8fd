"""What rows with true labels say of the cuts and of the classes, in tables."""

from __future__ import annotations

from math import sqrt

from spark_pseudolabel.report.document import Mistakes, Report, Round, label_key
from spark_pseudolabel.report.tally import class_names, confident, first_scored
from spark_pseudolabel.report.words import Lines, clean, count, percent, rows

MOST_PAIRS = 20
CUTS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_Z = 1.959964
"""Of a 95 % interval."""


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927).

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    share, z2 = right / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def measured_mistakes(report: Report) -> Mistakes | None:
    """Return what is known of the final model's mistakes, else of the seed's."""
    return report.final.mistakes or report.seed.mistakes


def other_cuts(report: Report) -> Lines | None:
    """Tabulate what other cuts would have given: rows of the pool, and how right they would be.

    The precision is that of the first model on rows it has not seen; where classes have cuts of
    their own, one cut for all is another rule.
    """
    first = first_scored(report)
    if first is None:
        return None
    body = [_at_cut(report, first, cut) for cut in CUTS]
    head = ["cut", "rows at or above it", "of the pool"]
    if report.seed.mistakes is not None:
        head += ["tested", "right", "precision", "95% interval"]
    return Lines(head, [line[: len(head)] for line in body])


def _at_cut(report: Report, first: Round, cut: float) -> list[str]:
    n = sum(confident(first, name, cut) for name in class_names(report))
    line = [f"{cut:g}", count(n), percent(n / first.candidates)]
    found = report.seed.mistakes
    if found is None:
        return line
    above = round(cut * len(found.n))
    tested, right = sum(found.n[above:]), sum(found.right[above:])
    if not tested:
        return [*line, "0", "0", "-", "-"]
    low, high = wilson(right, tested)
    interval = f"{percent(low)} to {percent(high)}"
    return [*line, count(tested), count(right), percent(right / tested), interval]


def tested_on(report: Report) -> str:
    """Say which rows the precision in :func:`other_cuts` was found on; empty without any."""
    found = report.seed.mistakes
    if found is None:
        return ""
    n = sum(found.by_class.values())
    return {
        "oof": f"{rows(n, 'labeled')}, each scored by models that have not seen it",
        "validation": f"{rows(n, 'validation')}, which no model was trained on",
    }[found.source]


def confused(report: Report) -> Lines | None:
    """Tabulate which classes are taken for which, the commonest mistakes first."""
    found = measured_mistakes(report)
    if found is None or not found.confused:
        return None
    wrong = sum(pair.rows for pair in found.confused)
    body = []
    for pair in found.confused[:MOST_PAIRS]:
        given = label_key(pair.given)
        of_class = found.by_class.get(given, 0)
        body.append(
            [
                clean(given),
                clean(label_key(pair.predicted)),
                count(pair.rows),
                percent(pair.rows / of_class) if of_class else "-",
                percent(pair.rows / wrong),
            ]
        )
    return Lines(["label", "taken for", "rows", "of the label's rows", "of these mistakes"], body)


def pairs_left_out(report: Report) -> int:
    """Count the pairs of classes that :func:`confused` leaves to the document."""
    found = measured_mistakes(report)
    return 0 if found is None else max(0, len(found.confused) - MOST_PAIRS)


def confused_on(report: Report) -> str:
    """Say which model was asked about which rows; empty where none was."""
    found = measured_mistakes(report)
    if found is None:
        return ""
    of_final = report.final.mistakes is not None
    model = report.final.model if of_final else report.seed.model
    where = {
        "oof": ("labeled", "out of fold"),
        "validation": ("validation", "none of which it was trained on"),
    }[found.source]
    n = sum(found.by_class.values())
    role = "Final" if of_final else "Seed"
    return f"{role} model ({clean(model)}) on {rows(n, where[0])}, {where[1]}"
