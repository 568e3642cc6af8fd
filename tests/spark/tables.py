"""Small tables as users have them, written where a test wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spark_pseudolabel.config import Config, parse_config

N_LABELED, N_POOL = 12, 20


def labeled_frame() -> pd.DataFrame:
    """Return 12 labeled rows, ids 0 to 11, two classes told apart by ``x``."""
    ids = np.arange(N_LABELED)
    return pd.DataFrame({"id": ids, "x": ids / 10, "y": np.where(ids < 6, "a", "b")})


def pool_frame() -> pd.DataFrame:
    """Return 20 unlabeled rows, ids from 100."""
    ids = np.arange(100, 100 + N_POOL)
    return pd.DataFrame({"id": ids, "x": (ids - 100) / 20})


def write(directory: Path, **tables: pd.DataFrame) -> dict[str, str]:
    """Write tables as Parquet and return their paths."""
    paths = {}
    for name, frame in tables.items():
        paths[name] = str(directory / f"{name}.parquet")
        frame.to_parquet(paths[name], index=False)
    return paths


def config_for(directory: Path, **sections: Any) -> Config:
    """Return a configuration of ``labeled.parquet`` and ``pool.parquet``; sections win over it."""
    base = {
        "labeled": {"path": str(directory / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(directory / "pool.parquet")},
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "selection": {"policy": "threshold"},
        "output": {"path": str(directory / "out")},
    }
    return parse_config({**base, **sections})
