"""The models of the benchmarks."""

from __future__ import annotations

from typing import Any

from lightgbm import LGBMClassifier
from sklearn.base import ClassifierMixin
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

NAMES = ("lr", "hgb", "gb", "xgb", "lgbm", "rf", "et")
HGB: dict[str, Any] = {"max_iter": 100, "early_stopping": False, "random_state": 0}


def make(name: str) -> ClassifierMixin:
    """Return an unfitted model, by one of :data:`NAMES`; 100 trees, or iterations."""
    if name == "lr":
        return make_pipeline(StandardScaler(), LogisticRegression())
    if name == "gb":
        return GradientBoostingClassifier(random_state=0)
    if name == "xgb":
        return XGBClassifier(n_estimators=100, n_jobs=1)
    if name == "lgbm":
        return LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1)
    if name == "rf":
        return RandomForestClassifier(random_state=0)
    if name == "et":
        return ExtraTreesClassifier(random_state=0)
    return HistGradientBoostingClassifier(**HGB)
