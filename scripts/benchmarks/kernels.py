"""Compiled trees against their library's own predict, in one process, by CPU time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import models, tables
from spark_pseudolabel.core.compiled.models import by_library_alone, is_compiled, predict_proba
from spark_pseudolabel.core.threads import hold_threads


def compare(made: tables.Tables, name: str, rows: int, repeats: int) -> dict[str, Any]:
    """Predict the same rows in turns; CPU seconds of both, and the largest difference.

    Parameters
    ----------
    made
        Its labeled rows are fitted on, and predicted again and again up to `rows`.
    name
        Of the model.
    """
    X, y = made.matrix("labeled")
    model = models.make(name).fit(X, y)
    more = np.resize(X, (rows, X.shape[1])) + np.random.default_rng(0).normal(
        scale=0.1, size=(rows, X.shape[1])
    )
    seconds: dict[str, list[float]] = {"library": [], "compiled": []}
    with hold_threads(1):
        first = _cpu(lambda: predict_proba(model, more))[0]
        for _ in range(repeats):
            with by_library_alone():
                took, expected = _cpu(lambda: predict_proba(model, more))
            seconds["library"].append(took)
            took, P = _cpu(lambda: predict_proba(model, more))
            seconds["compiled"].append(took)
    medians = {way: statistics.median(each) for way, each in seconds.items()}
    return {
        "seconds": seconds,
        "first": first,
        "compiled": is_compiled(model),
        "ratio": medians["library"] / medians["compiled"],
        "difference": float(np.abs(P - expected).max()),
    }


def _cpu(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.process_time()
    P = work()
    return time.process_time() - started, P
