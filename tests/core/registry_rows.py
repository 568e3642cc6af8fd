"""Rows of every kind of column, and every estimator of the registry fitted on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.teachers.estimators import build_estimator
from spark_pseudolabel.core.teachers.preprocessing import with_preprocessing
from spark_pseudolabel.registry import info_of

EXTRAS = {"XGBClassifier": "xgboost", "LGBMClassifier": "lightgbm"}
# Small and quick, and with predict_proba.
PARAMS: dict[str, dict[str, Any]] = {
    "SVC": {"probability": True},
    "SGDClassifier": {"loss": "log_loss"},
    "MLPClassifier": {"max_iter": 2000, "learning_rate_init": 0.05},
    "RandomForestClassifier": {"n_estimators": 5},
    "ExtraTreesClassifier": {"n_estimators": 5},
    "GradientBoostingClassifier": {"n_estimators": 5},
    "HistGradientBoostingClassifier": {"max_iter": 5, "min_samples_leaf": 2},
    "AdaBoostClassifier": {"n_estimators": 5},
    "XGBClassifier": {"n_estimators": 5},
    "LGBMClassifier": {"n_estimators": 5, "min_data_in_leaf": 2},
}
NUMBER = Feature("n", "numeric", "double")
COLOR = Feature("color", "category", "string")
MIXED = (
    NUMBER,
    Feature("flag", "boolean", "boolean"),
    COLOR,
    Feature("remark", "text", "string"),
    Feature("v", "vector", "array<double>", 2),
)
N = 60


def mixed_rows() -> pa.RecordBatch:
    """Rows of which color and remark say the class; numbers, colors and remarks have gaps."""
    chance = np.random.default_rng(0)
    y = np.arange(N) % 2
    return pa.RecordBatch.from_pydict(
        {
            "n": [None if i % 10 == 9 else float(chance.normal()) for i in range(N)],
            "flag": [None if i % 20 == 7 else bool(i % 3) for i in range(N)],
            "color": [None if i % 15 == 8 else ("red", "blue")[y[i]] for i in range(N)],
            "remark": [
                None if i % 12 == 5 else f"{('warm', 'cold')[y[i]]} and number {i}"
                for i in range(N)
            ],
            "v": [[float(y[i]), float(chance.normal())] for i in range(N)],
        }
    )


def fitted(name: str, features: tuple[Feature, ...], rows: pa.RecordBatch) -> Any:
    estimator = build_estimator(name, PARAMS.get(name, {}), random_state=0)
    model = with_preprocessing(estimator, info_of(name), features, random_state=0)
    return model.fit(to_frame(rows, features), np.arange(rows.num_rows) % 2)
