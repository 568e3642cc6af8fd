"""The models of the benchmarks."""

from __future__ import annotations

from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HGB: dict[str, Any] = {"max_iter": 100, "early_stopping": False, "random_state": 0}


def make(name: str) -> ClassifierMixin:
    """Return an unfitted model: ``lr`` or ``hgb``."""
    if name == "lr":
        return make_pipeline(StandardScaler(), LogisticRegression())
    return HistGradientBoostingClassifier(**HGB)
