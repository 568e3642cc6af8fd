"""Fitting on all cores starts no processes."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from spark_pseudolabel.core.training import TrainingRows, fit


class WhereFitted(TransformerMixin, BaseEstimator):
    def fit(self, X: pd.DataFrame, y: object = None) -> WhereFitted:
        self.process_ = os.getpid()
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X


def test_all_parts_of_a_pipeline_are_fitted_in_this_process() -> None:
    X = pd.DataFrame({"a": [0.0, 1, 2, 3], "b": [3.0, 2, 1, 0]})
    columns = ColumnTransformer([(name, WhereFitted(), [name]) for name in X])
    pipeline = Pipeline([("columns", columns), ("estimator", RandomForestClassifier(2))])
    rows = TrainingRows(X, np.array([0, 0, 1, 1], dtype=np.int32), None, 0)
    model = fit(pipeline, rows, ("no", "yes"))
    fitted = model["columns"].named_transformers_
    assert [fitted[name].process_ for name in X] == [os.getpid()] * 2
