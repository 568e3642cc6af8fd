"""Rows with numbers, gaps and categories, for tests that compare samples of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spark_pseudolabel.core.features import Feature

FEATURES = (
    Feature("a", "numeric", "double"),
    Feature("b", "numeric", "double"),
    Feature("job", "category", "string"),
)


def frame(n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Return rows of :data:`FEATURES`, one number missing now and then."""
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "a": chance.normal(size=n) + shift,
            "b": np.where(chance.random(n) < 0.1, np.nan, chance.normal(size=n)),
            "job": chance.choice(["cook", "clerk"], n),
        }
    )
