"""Every method on one task, as plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.guard import log_losses
from spark_pseudolabel.evaluate.methods import Ours, one_shot, ours, self_training, supervised
from spark_pseudolabel.evaluate.task import Task


def measure(task: Task) -> dict[str, Any]:
    """Return accuracy (in percent) and log loss of every method, and what ours measured."""
    steps = Ours(task)
    scored = supervised(steps) | ours(steps) | {"one_shot": one_shot(steps)}
    for threshold in (0.75, 0.9):
        scored[f"sklearn_{threshold:g}"] = self_training(steps, threshold)
    return {
        "picked": steps.picked,
        "accuracy": {k: accuracy(P, task.test_codes) for k, P in scored.items()},
        "log_loss": {k: loss(P, task.test_codes) for k, P in scored.items()},
        "guards": {name: guard.to_dict() for name, guard in steps.guards.items()},
        "gate": steps.gate.to_dict(),
    }


def accuracy(P: NDArray[np.float64], codes: NDArray[np.int32]) -> float:
    """Return the share of right predictions in percent."""
    return float(100 * (P.argmax(axis=1) == codes).mean())


def loss(P: NDArray[np.float64], codes: NDArray[np.int32]) -> float:
    """Return the mean log loss."""
    return float(log_losses(P, codes).mean())
