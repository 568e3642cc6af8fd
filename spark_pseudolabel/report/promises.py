"""What a run could promise, in words: the ladder, the band, and what each class misses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spark_pseudolabel.report.document import (
    BandPoint,
    Certificate,
    LadderStep,
    MissingLabels,
    PlanPromise,
    Report,
    label_key,
)
from spark_pseudolabel.report.words import Lines, clean, count, percent, rows
from spark_pseudolabel.wording import counted

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""At which shares of the pool a band is tabulated."""

_TAKES = {
    "model": "a better model or features",
    "pool": "a larger pool",
    "unclear": "not clear",
}


def ladder(report: Report) -> Lines | None:
    """Tabulate for how many rows each precision can be shown, and what more would take."""
    certified = report.certificate
    if certified is None or not certified.ladder:
        return None
    published = certified.precision if certified.best and certified.claimed else None
    return ladder_of(certified.ladder, published)


def ladder_of(steps: Sequence[LadderStep], published: float | None = None) -> Lines:
    """Tabulate a ladder, of which one step may be published."""
    body = [
        [
            f"{step.precision:g}",
            count(step.rows) if step.rows else "-",
            percent(step.share) if step.rows else "-",
            "is published" if step.precision == published else _takes(step),
        ]
        for step in steps
    ]
    return Lines(["precision", "can be shown for", "of the pool", "it takes"], body)


def _takes(step: LadderStep) -> str:
    if step.more_labels is not None:
        return f"about {counted(step.more_labels, 'more label')}"
    if step.outlook is not None:
        return _TAKES[step.outlook]
    return "nothing more" if step.certified else "-"


def band(report: Report) -> Lines | None:
    """Tabulate the band at some shares of the pool."""
    certified = report.certificate
    return band_of(certified.band) if certified and certified.band else None


def band_of(points: Sequence[BandPoint]) -> Lines:
    """Tabulate a band at some shares of the pool."""
    body = [
        [percent(point.share), count(point.rows), f"{point.cut:.3f}", percent(point.lower)]
        for point in at_shares(points)
    ]
    return Lines(["of the pool", "rows", "confidence", "at least right"], body)


def at_shares(points: Sequence[BandPoint]) -> list[BandPoint]:
    """Return the points nearest above some round shares, each once."""
    found: list[BandPoint] = []
    for share in SHARES:
        point = next((point for point in points if point.share >= share - 1e-9), points[-1])
        if point not in found:
            found.append(point)
    return found


def missing(report: Report) -> Lines | None:
    """Tabulate what each class takes to be shown by itself."""
    certified = report.certificate
    if certified is None or not certified.missing:
        return None
    body = [
        [clean(label_key(of.class_)), count(of.n), count(of.wrong), _missed(of)]
        for of in certified.missing
    ]
    head = ["class", "tested", "wrong", f"for {certified.precision:g} it takes"]
    return Lines(head, body)


def _missed(of: MissingLabels) -> str:
    if of.more_labels is not None:
        return f"about {counted(of.more_labels, 'more label')}"
    return _TAKES[of.outlook] if of.outlook else "nothing more"


def expected(plan: PlanPromise) -> str:
    """Say what an estimate of a plan rests on."""
    return (
        f"An estimate from {rows(plan.rows, 'labeled')} alone, by {plan.estimator} in folds: the "
        "run's own models are mostly better, and its pool may be scored otherwise. With certainty "
        f"{plan.certainty:g} all bounds of a run hold together."
    )


def promised(report: Report) -> list[str]:
    """Explain ladder and band: what holds together, and what to say for another promise."""
    certified = report.certificate
    if certified is None or not certified.ladder:
        return []
    sure = f"With certainty {certified.certainty:g} all bounds of the curve hold together"
    if certified.per == "class":
        holds = f"{sure}. The precisions are of every class, and hold together by themselves."
    elif certified.best and not certified.claimed:
        holds = f"{sure}."
    elif certified.best:
        holds = f"{sure}, and the promise of the published rows with them: it is read off it."
    else:
        holds = (
            f"{sure}. The promise of {certified.precision:g} is tested by itself, at the same "
            "certainty."
        )
    return [holds, *filter(None, [other_promise(certified)])]


def other_promise(certified: Certificate) -> str:
    """Say what could be promised where what was asked for can't; empty where nothing could."""
    if certified.claimed or certified.refused is not None:
        return ""
    if (instead := certified.instead) is not None:
        if instead.precision >= certified.precision:
            return (
                f"{certified.precision:g} fails at the first of the cuts that are tested one after "
                f"the other. By the bounds that hold at all cuts together, {instead.precision:g} "
                f"can be shown for {rows(instead.rows)}: --set {instead.setting}, with another "
                "output.path."
            )
        return (
            f"{_two(certified.precision)} can't be shown; {_two(instead.precision)} can, for "
            f"{rows(instead.rows)}: --set {instead.setting}, with another output.path."
        )
    few = next((step for step in certified.ladder if step.rows), None)
    if few is None:
        return ""
    least = _floor(few.share)
    precision = "" if certified.best else "selection.precision=best --set "
    return (
        f"{few.precision:g} can be shown for {rows(few.rows)} only, {percent(few.share)} of the "
        f"pool: --set {precision}selection.min_coverage={least:g}, with another output.path."
    )


def _two(precision: float) -> str:
    """Spell a precision with two decimals at least, as people compare them.

    Examples
    --------
    >>> [_two(precision) for precision in (0.9, 0.95, 0.975)]
    ['0.90', '0.95', '0.975']
    """
    return max(f"{precision:.2f}", f"{precision:g}", key=len)


def _floor(share: float) -> float:
    """Round down to two digits, so that as many rows are enough.

    Examples
    --------
    >>> [_floor(share) for share in (0.1999, 0.0666, 0.5)]
    [0.19, 0.066, 0.5]
    """
    digits = 1 - math.floor(math.log10(share))
    return float(math.floor(share * 10**digits + 1e-9) / 10**digits)
