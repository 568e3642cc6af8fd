from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.scaling import transform
from spark_pseudolabel.registry import REGISTRY
from tests.core.registry_rows import EXTRAS, MIXED, NUMBER, fitted, mixed_rows

N, WIDTH = 5000, 9


class Renamed(StandardScaler):
    """Has the name of no step that is known."""

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        return super().transform(X, copy) + 1


def numbers() -> np.ndarray:
    chance = np.random.default_rng(0)
    X = chance.normal(size=(N, WIDTH)) * 10.0 ** np.arange(WIDTH) + 1e6
    X[chance.random(X.shape) < 0.05] = np.nan
    X[:, 2] = np.nan  # says nothing at all
    X[:, 3] = 7.0  # says always the same
    return X


def imputed(scale: Any) -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="mean", keep_empty_features=True), scale)


KNOWN = {
    "scaled": StandardScaler(),
    "centered": StandardScaler(with_std=False),
    "stretched": StandardScaler(with_mean=False),
    "imputed": SimpleImputer(strategy="median", keep_empty_features=True),
    "imputed and scaled": imputed(StandardScaler()),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("named", [False, True])
def test_numbers_have_the_bits_of_the_library(
    name: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    X: Any = numbers()
    step = KNOWN[name]
    if named:
        X = pd.DataFrame(X, columns=[f"c{i}" for i in range(WIDTH)])
        step = ColumnTransformer([("numbers", step, list(X.columns))])
    with np.errstate(all="ignore"):
        step.fit(X)
    before = X.copy()
    with config_context(assume_finite=True):
        expected = step.transform(X)
        monkeypatch.setattr(type(step), "transform", None)  # so that it was not asked
        found = transform(step, X)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(X, before)


OTHERS = {
    "of a derived class": imputed(Renamed()),
    "another step": imputed(MinMaxScaler()),
    "as a frame": imputed(StandardScaler().set_output(transform="pandas")),
    "with flags": SimpleImputer(add_indicator=True, keep_empty_features=True),
    "without empty columns": SimpleImputer(strategy="mean"),
    "one column of many": ColumnTransformer([("numbers", StandardScaler(), ["c1"])]),
    "two parts": ColumnTransformer(
        [("a", StandardScaler(), ["c0"]), ("b", MinMaxScaler(), [f"c{i}" for i in range(1, 9)])]
    ),
    "the rest kept": ColumnTransformer([("a", StandardScaler(), ["c1"])], remainder="passthrough"),
    "other places": ColumnTransformer(
        [("a", StandardScaler(), [f"c{i}" for i in range(8, -1, -1)])]
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the column that says nothing
def test_other_steps_are_left_to_the_library(name: str) -> None:
    X = pd.DataFrame(numbers(), columns=[f"c{i}" for i in range(WIDTH)])
    step = OTHERS[name].fit(X)
    with config_context(assume_finite=True):
        found, expected = transform(step, X), step.transform(X)
    assert type(found) is type(expected)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_what_is_infinite_is_refused_where_nobody_has_looked() -> None:
    step = imputed(StandardScaler()).fit(numbers())
    with pytest.raises(ValueError, match="infinity"):
        transform(step, np.full((2, WIDTH), np.inf))


@pytest.mark.filterwarnings("ignore:The `probability` parameter was deprecated:FutureWarning")
@pytest.mark.parametrize("features", [(NUMBER, MIXED[1], MIXED[4]), MIXED])
@pytest.mark.parametrize("name", [n for n, info in REGISTRY.items() if info.scaled])
def test_scores_are_those_of_the_pipeline(name: str, features: Any) -> None:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    rows = mixed_rows()
    model = fitted(name, features, rows)
    own = Pipeline(model.steps)
    own.__class__ = type("Own", (Pipeline,), {})  # of a derived class, so that it predicts itself
    found = score_batch(rows, make_scorer(model, features, probabilities=True))
    assert found.equals(score_batch(rows, make_scorer(own, features, probabilities=True)))


def test_a_linear_model_on_a_matrix_is_scored_through_its_scaler() -> None:
    X = np.nan_to_num(numbers())
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, X[:, 0] > 1e6)
    with config_context(assume_finite=True):
        np.testing.assert_array_equal(transform(model[0], X), model[0].transform(X))
