"""Rows with numbers for labels, whose noise is three times as large where `b` is above 0."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.numbers import NumberTask, decimals_of
from spark_pseudolabel.core.teachers.training import TrainingRows

CLASSES = ("number",)
FEATURES = (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"))


def made(n: int, seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    chance = np.random.default_rng(seed)
    X = pd.DataFrame({"a": chance.normal(size=n), "b": chance.normal(size=n)})
    noise = np.where(X["b"] > 0, 3.0, 0.3) * chance.normal(size=n)
    return X, 100.0 + 10.0 * X["a"].to_numpy() + noise


def labeled(n: int = 120, folds: int = 4, seed: int = 0) -> TrainingRows:
    X, y = made(n, seed)
    of = (np.arange(n) % folds).astype(np.int32)
    return TrainingRows(X, np.zeros(n, dtype=np.int32), None, 0, y, of)


def task_of(y: NDArray[np.float64], tolerance: float = 1.0, **facts: object) -> NumberTask:
    sd = float(y.std(ddof=1))
    task = {
        "tolerance": tolerance,
        "relative": False,
        "interval": 0.9,
        "integer": False,
        "decimals": decimals_of(sd),
        "sd": sd,
        "mean": float(y.mean()),
    }
    return NumberTask(**(task | facts))  # type: ignore[arg-type]
