"""Every method on one task, as plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.trust.guard import log_losses
from spark_pseudolabel.evaluate.measured import Scores
from spark_pseudolabel.evaluate.methods import (
    Ours,
    agreement,
    correct_and_smooth,
    distilled,
    graphs,
    one_shot,
    peers,
    self_training,
    supervised,
    three_learners,
)
from spark_pseudolabel.evaluate.task import Task

Scored = dict[str, NDArray[np.float64]]

GROUPS: Mapping[str, Callable[[Ours], Scored]] = {
    "supervised": supervised,
    "student": distilled,
    "sklearn": lambda steps: {f"sklearn_{t:g}": self_training(steps, t) for t in (0.75, 0.9)},
    "one_shot": lambda steps: {"one_shot": one_shot(steps)},
    "agreement": lambda steps: {"agreement": agreement(steps)},
    "tri_training": lambda steps: {"tri_training": three_learners(steps)},
    "peers": peers,
    "graphs": graphs,
    "around": correct_and_smooth,
}
"""Methods by what they share, each scoring the test rows."""


def measure(task: Task, groups: Sequence[str] = tuple(GROUPS)) -> Scores:
    """Return accuracy (in percent) and log loss of methods, and what ours measured.

    Parameters
    ----------
    task
        The rows.
    groups
        Names in :data:`GROUPS`.
    """
    steps = Ours(task)
    scored: Scored = {}
    for group in groups:
        scored |= GROUPS[group](steps)
    guards = steps.guards if "student" in groups else {}
    needs_all = bool(set(groups) - {"graphs", "around"})  # which make fits of their own
    return Scores(
        picked=steps.picked if needs_all else "",
        n_test=len(task.test_codes),
        accuracy={k: accuracy(P, task.test_codes) for k, P in scored.items()},
        log_loss={k: loss(P, task.test_codes) for k, P in scored.items()},
        guards=dict(guards),
        weights=steps.weights_by_fold if needs_all else [],
    )


def accuracy(P: NDArray[np.float64], codes: NDArray[np.int32]) -> float:
    """Return the share of right predictions in percent."""
    return float(100 * (P.argmax(axis=1) == codes).mean())


def loss(P: NDArray[np.float64], codes: NDArray[np.int32]) -> float:
    """Return the mean log loss."""
    return float(log_losses(P, codes).mean())
