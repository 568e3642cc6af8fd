"""The generations of an incremental run as a table in words, for terminal and page."""

from __future__ import annotations

from collections.abc import Sequence

from spark_pseudolabel.report.document import ComparedRows, Generation, GenerationSums
from spark_pseudolabel.report.words import Lines, clean, count
from spark_pseudolabel.wording import counted

MOST = 10
"""Generations that are shown; the document has more."""


def lines(told: Sequence[Generation]) -> Lines | None:
    """Tabulate the latest generations; None of a run that is none of several."""
    body = [
        [
            _name(each),
            count(each.rows),
            count(each.overlap),
            count(each.accepted),
            _separability(each.shift.labeled if each.shift else None),
            _separability(each.shift.reference if each.shift else None),
            clean(each.model),
        ]
        for each in told[-MOST:]
    ]
    head = ["", "rows", "again", "accepted", "AUC labeled", "AUC before", "model"]
    return Lines(head, body) if body else None


def sums(told: GenerationSums | None) -> str:
    """Say what all generations came to; empty of a run that is none of several."""
    if told is None:
        return ""
    return (
        f"{counted(told.generations, 'generation')}: {counted(told.rows, 'row')}, "
        f"{count(told.accepted)} accepted"
    )


def notices(told: Sequence[Generation]) -> list[str]:
    """Say what the generations that are shown have found, in sentences."""
    return [
        f"Generation {each.generation}: {clean(notice.message)}"
        for each in told[-MOST:]
        for notice in each.notices
    ]


def _name(generation: Generation) -> str:
    """Say which it is, and what became of it where that is not the usual."""
    if generation.outcome != "labeled":
        return f"{generation.generation} {generation.outcome}"
    return f"{generation.generation} refit" if generation.refit else str(generation.generation)


def _separability(compared: ComparedRows | None) -> str:
    """Say how well a model tells new rows from others, and whether that is too well."""
    if compared is None:
        return "-"
    return f"{compared.auc:.2f}{' !' if compared.shifted else ''}"
