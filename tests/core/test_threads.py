"""Fitting on all cores starts no processes, and takes them only where they help."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info

from spark_pseudolabel.core.teachers.training import TrainingRows, fit


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


class Threads(ClassifierMixin, BaseEstimator):
    """Says how many threads its fit may use."""

    def __init__(self, n_jobs: int | None = None):
        self.n_jobs = n_jobs

    def fit(self, X: pd.DataFrame, y: object = None) -> Threads:
        self.pools_ = {pool["num_threads"] for pool in threadpool_info()}
        self.jobs_ = self.n_jobs
        return self


@pytest.mark.parametrize(("n_rows", "jobs"), [(100, 1), (10_000, -1)])
def test_a_small_frame_is_fitted_on_one_core(n_rows: int, jobs: int) -> None:
    X = pd.DataFrame({"a": np.arange(n_rows, dtype=float)})
    rows = TrainingRows(X, np.zeros(n_rows, dtype=np.int32), None, 0)
    model = fit(Threads(), rows, ("no",))
    assert model.jobs_ == jobs
    assert jobs == -1 or model.pools_ == {1}
