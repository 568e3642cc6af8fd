"""The models of the benchmarks."""

from __future__ import annotations

from typing import Any

from lightgbm import LGBMClassifier
from sklearn.base import ClassifierMixin
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

NAMES = ("lr", "hgb", "gb", "xgb", "lgbm")
HGB: dict[str, Any] = {"max_iter": 100, "early_stopping": False, "random_state": 0}


def make(name: str) -> ClassifierMixin:
    """Return an unfitted model, by one of :data:`NAMES`; trees of 100 iterations."""
    if name == "lr":
        return make_pipeline(StandardScaler(), LogisticRegression())
    if name == "gb":
        return GradientBoostingClassifier(random_state=0)
    if name == "xgb":
        return XGBClassifier(n_estimators=100, n_jobs=1)
    if name == "lgbm":
        return LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1)
    return HistGradientBoostingClassifier(**HGB)
