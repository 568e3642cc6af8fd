"""Holding the thread pools below numpy and scikit-learn to the cores that a task has."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def hold_threads(n_threads: int) -> AbstractContextManager[Any]:
    """Hold the thread pools of all loaded libraries to `n_threads` inside a block."""
    held: AbstractContextManager[Any] = _pools(len(sys.modules)).limit(limits=n_threads)
    return held


@lru_cache(maxsize=1)
def _pools(n_modules: int) -> ThreadpoolController:  # looks again once there are more
    # Looking for the libraries reads all of /proc/self/maps: 8 ms, too much for every task.
    return ThreadpoolController()
