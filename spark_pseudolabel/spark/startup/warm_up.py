"""Letting workers start and import what they need while the driver is busy with something else."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Sequence

from pyspark import SparkContext

_MOST_TASKS = 64


def warm_up(context: SparkContext, n_tasks: int, modules: Sequence[str]) -> None:
    """Start as many workers as `n_tasks` take at once, import modules there, and do not wait.

    The first scan of a run otherwise waits for it: seconds, for scikit-learn and pandas.
    """
    threading.Thread(target=_warm_up, args=(context, n_tasks, tuple(modules)), daemon=True).start()


def _warm_up(context: SparkContext, n_tasks: int, modules: tuple[str, ...]) -> None:
    n_tasks = min(n_tasks, context.defaultParallelism, _MOST_TASKS)
    # Nothing depends on it: what can't be imported there is told by the task that needs it, and the
    # session may be stopped at any moment.
    with contextlib.suppress(Exception):
        context.setLocalProperty("spark.job.description", "start workers")
        if n_tasks:
            context.parallelize(range(n_tasks), n_tasks).foreach(lambda _: import_all(modules))


def import_all(modules: Sequence[str]) -> None:
    """Import modules, as far as they are there."""
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
