"""What certifying by asking a person publishes, against the best cut there is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.selection.counts import Counts, bin_of
from spark_pseudolabel.core.teachers.cross_fitting import fold_of, probabilities, rounded
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.trust.asking import (
    UNANSWERED,
    AskedCut,
    choose_cuts,
    next_rows,
    try_cuts,
)
from spark_pseudolabel.core.trust.evidence import CalibrationRows, tail_of
from spark_pseudolabel.core.trust.finite_population import allowed_wrong
from spark_pseudolabel.core.trust.units import equal_rows, units_of
from spark_pseudolabel.evaluate.measured import AskedFor, Asking
from spark_pseudolabel.evaluate.task import Task

BUDGETS = (300, 1000)
ORDERS = 10
"""In how many orders of chance each scored pool is asked."""
PROMISE = (0.95, 0.05)


def ask_task(learner: Teacher, task: Task, orders: int = ORDERS) -> Asking:
    """Score a pool as runs do, and ask for each budget from the start, sitting by sitting."""
    classes, codes = task.data.classes, task.labeled.codes
    units = units_of(equal_rows(task.labeled.X), task.groups)
    folds = fold_of(codes, task.hashes, units=units)
    fitted = learner.cross_fit(task.labeled, folds, classes, mean=True)
    P = rounded(probabilities(fitted.mean_model(classes), task.pool))
    pool = CalibrationRows.from_scores(P, task.pool_codes)
    known = fitted.held_out
    labeled = CalibrationRows.from_scores(fitted.adjusted[known], codes[known])
    counts = Counts.of(len(classes), pool.codes, pool.confidence)
    chance = np.random.default_rng([task.seed, 3])
    return Asking(
        oracle=_oracle(pool) / len(pool.right),
        budgets={
            str(budget): [
                _asked(pool, choose_cuts(counts, labeled, PROMISE, budget), budget, chance)
                for _ in range(orders)
            ]
            for budget in BUDGETS
        },
    )


def _oracle(pool: CalibrationRows) -> int:
    """Return the rows of the loosest cut that holds the promise."""
    bins = bin_of(pool.confidence)
    rows = tail_of(np.bincount(bins, minlength=1001))
    wrong = tail_of(np.bincount(bins[~pool.right], minlength=1001))
    kept = [n for n, w in zip(rows, wrong, strict=True) if w <= allowed_wrong(1 - PROMISE[0], n)]
    return int(max(kept, default=0))


def _asked(
    pool: CalibrationRows,
    cuts: tuple[AskedCut, ...],
    budget: int,
    chance: np.random.Generator,
) -> AskedFor:
    order = chance.permutation(len(pool.right))
    places = _places(bin_of(pool.confidence), cuts)[order]
    # As many rows of each place as can be asked, as runs keep them.
    kept = np.zeros(len(order), dtype=np.bool_)
    for place in range(len(cuts)):
        kept[np.flatnonzero(places == place)[:budget]] = True
    places, truth = places[kept], pool.right[order][kept].astype(np.int8)
    known = np.full(len(places), UNANSWERED, dtype=np.int8)
    sittings, passed = 0, 0
    while True:
        outcome = try_cuts(cuts, places, known, *PROMISE, passed)
        passed = outcome.shown
        rows = next_rows(cuts, places, known, outcome, PROMISE, budget)
        if not len(rows):
            break
        known[rows] = truth[rows]
        sittings += 1
    published = np.zeros(len(order), dtype=np.bool_)
    if outcome.shown:
        published = bin_of(pool.confidence) >= cuts[outcome.shown - 1].bin
    precision = float(pool.right[published].mean()) if published.any() else None
    return AskedFor(
        coverage=float(published.mean()),
        precision=precision,
        broken=precision is not None and precision < PROMISE[0],
        answers=int(np.count_nonzero(known != UNANSWERED)),
        sittings=sittings,
    )


def _places(bins: NDArray[np.int64], cuts: tuple[AskedCut, ...]) -> NDArray[np.int64]:
    limits = np.array([cut.bin for cut in cuts][::-1], dtype=np.int64)
    places: NDArray[np.int64] = len(limits) - np.searchsorted(limits, bins, side="right")
    return places
