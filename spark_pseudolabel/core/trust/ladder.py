"""The precisions among which a run chooses that is asked for the best one it can show."""

from __future__ import annotations

from collections.abc import Sequence

from spark_pseudolabel.core.facts import LadderStep
from spark_pseudolabel.core.selection.promised import LADDER
from spark_pseudolabel.core.trust.band import Band


def steps(bands: Sequence[Band], n_pool: int, min_coverage: float) -> tuple[LadderStep, ...]:
    """Say for each precision of how many rows it can be shown.

    Parameters
    ----------
    bands
        One for all classes, or one for each, all of them holding together: so the step that
        is taken may be chosen by this table.
    n_pool
        Valid pool rows.
    min_coverage
        For which share of them a step has to hold.
    """
    found = []
    for precision in LADDER:
        at = [(band, band.loosest(1.0 - precision)) for band in bands]
        rows = sum(int(band.rows[place]) for band, place in at if place is not None)
        enough = rows > 0 and rows >= min_coverage * n_pool - 1e-9
        found.append(LadderStep(precision, rows, rows / n_pool if n_pool else 0.0, enough))
    return tuple(found)


def highest(ladder: Sequence[LadderStep]) -> LadderStep | None:
    """Return the highest step that holds for enough rows; None where none does."""
    return next((step for step in ladder if step.certified), None)
