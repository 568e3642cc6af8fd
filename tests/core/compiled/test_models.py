"""Compiled trees say what their library says, to the last bit."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import config_context
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier

from spark_pseudolabel.core.compiled import models, sklearn_trees
from spark_pseudolabel.core.compiled.lightgbm_trees import LightGBM, LightGBMRegression
from spark_pseudolabel.core.compiled.models import (
    by_library_alone,
    is_compiled,
    predict,
    predict_proba,
)
from spark_pseudolabel.core.compiled.sklearn_forests import Forest, ForestRegression
from spark_pseudolabel.core.compiled.xgboost_trees import XGBoost, XGBoostRegression
from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.teachers.vote import soft_vote
from spark_pseudolabel.core.threads import hold_threads
from tests.core.registry_rows import EXTRAS, MIXED, fitted, mixed_rows

pytest.importorskip("numba")

NAN, INF = float("nan"), float("inf")
N = 400
HGB: dict[str, Any] = {"max_iter": 12, "min_samples_leaf": 3, "random_state": 0}


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(models, "WORTH", 0)
    with hold_threads(1):
        yield


def table(gaps: bool = False) -> np.ndarray:
    """Rows of a bell curve, whole numbers, a long tail, and one number near zero."""
    chance = np.random.default_rng(0)
    X = np.column_stack(
        [
            chance.normal(size=N),
            chance.integers(0, 9, N),
            np.exp(chance.normal(scale=12, size=N)),
            chance.choice([-1.0, 0.0, 1e-36, 1.0], N),
        ]
    )
    X[:, 1] = np.where(gaps & (chance.random(N) < 0.2), NAN, X[:, 1])
    return X


def classes(X: np.ndarray, n: int) -> np.ndarray:
    noise = np.random.default_rng(1).normal(scale=0.3, size=len(X))
    said = np.nan_to_num(X[:, 0] + 0.3 * X[:, 1] + 0.1 * np.log(X[:, 2]) + X[:, 3], nan=2.0)
    y = np.searchsorted(np.quantile(said, np.arange(1, n) / n), said + noise)
    return np.unique(y, return_inverse=True)[1]  # without a gap


def edges(kind: Any, X: np.ndarray) -> np.ndarray:
    """Rows at each model's own thresholds, and a hair's breadth beside them."""
    chance = np.random.default_rng(2)
    rows = X[chance.integers(0, len(X), 900)]
    for column, own in thresholds_of(kind):
        at = chance.choice(np.where(np.isfinite(own), own, own.dtype.type(0)), len(rows))
        for part, to in ((slice(0, 300), -INF), (slice(300, 600), INF)):
            rows[part, column] = np.nextafter(at[part], at.dtype.type(to))
        rows[600:800, column] = at[600:800]
    return rows


def thresholds_of(kind: Any) -> Iterator[tuple[int, np.ndarray]]:
    tables = kind.tables()
    assert tables is not None
    if isinstance(kind, Forest):  # which compares numbers of single precision
        trees = [estimator.tree_ for estimator in kind.fitted]
        feature, threshold = (
            np.concatenate([getattr(tree, name) for tree in trees])
            for name in ("feature", "threshold")
        )
        for column in range(feature.max() + 1):
            yield column, threshold[feature == column].astype(np.float32)
        return
    for number, column in enumerate(tables.columns):
        first = tables.first_threshold[number]
        yield column, tables.thresholds[first : first + max(1, tables.n_thresholds[number])]


def xgb(**params: Any) -> Any:
    return pytest.importorskip("xgboost").XGBClassifier(n_estimators=12, n_jobs=1, **params)


def lgbm(**params: Any) -> Any:
    return pytest.importorskip("lightgbm").LGBMClassifier(
        n_estimators=12, n_jobs=1, verbose=-1, min_child_samples=3, **params
    )


KINDS: dict[str, tuple[Callable[[], Any], Any]] = {
    "hgb": (lambda: HistGradientBoostingClassifier(**HGB), sklearn_trees.HistGradientBoosting),
    "gb": (
        lambda: GradientBoostingClassifier(n_estimators=12, max_depth=4, random_state=0),
        sklearn_trees.GradientBoosting,
    ),
    "rf": (lambda: RandomForestClassifier(12, random_state=0), Forest),
    "et": (lambda: ExtraTreesClassifier(12, random_state=0), Forest),
    "xgb": (xgb, XGBoost),
    "lgbm": (lgbm, LightGBM),
}


CASES = [
    *[
        (name, gaps, n)
        for name in ("hgb", "rf", "et", "xgb", "lgbm")
        for gaps, n in ((False, 2), (True, 3))
    ],
    *[("gb", False, 2), ("gb", False, 3), ("hgb", True, 10), ("rf", True, 10)],
]


@pytest.mark.parametrize(("name", "gaps", "n_classes"), CASES)
def test_probabilities_have_the_bits_of_the_library(name: str, gaps: bool, n_classes: int) -> None:
    X = table(gaps)
    make, kind = KINDS[name]
    model = make().fit(X, classes(X, n_classes))
    rows = edges(kind(model), X)
    if name in ("hgb", "lgbm"):
        rows[:50, 0], rows[50:99, 2] = INF, -INF
    # Also where none was missing in the fit, but forests refuse that.
    if name in ("hgb", "xgb", "lgbm") or (gaps and name != "gb"):
        rows[100:200, 0], rows[150:250, 3], rows[600:700, 2] = NAN, NAN, NAN
    with config_context(assume_finite=True):
        P = predict_proba(model, rows)
        expected = model.predict_proba(rows)
    assert is_compiled(model)
    assert P.dtype == expected.dtype
    np.testing.assert_array_equal(P, expected)


def regressor(library: str, name: str, **params: Any) -> Any:
    return getattr(pytest.importorskip(library), name)(n_estimators=12, n_jobs=1, **params)


OF_NUMBERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "hgb": (
        lambda: HistGradientBoostingRegressor(**HGB),
        sklearn_trees.HistGradientBoostingRegression,
    ),
    "hgb poisson": (
        lambda: HistGradientBoostingRegressor(loss="poisson", **HGB),
        sklearn_trees.HistGradientBoostingRegression,
    ),
    "gb": (
        lambda: GradientBoostingRegressor(n_estimators=12, max_depth=4, random_state=0),
        sklearn_trees.GradientBoostingRegression,
    ),
    "et": (
        lambda: ExtraTreesRegressor(12, max_leaf_nodes=40, random_state=0),
        ForestRegression,
    ),
    "rf": (lambda: RandomForestRegressor(12, random_state=0), ForestRegression),
    "xgb": (lambda: regressor("xgboost", "XGBRegressor"), XGBoostRegression),
    "lgbm": (
        lambda: regressor("lightgbm", "LGBMRegressor", verbose=-1, min_child_samples=3),
        LightGBMRegression,
    ),
}


@pytest.mark.parametrize(
    ("name", "gaps"),
    [
        *[(name, False) for name in OF_NUMBERS],
        *[(name, True) for name in ("hgb", "et", "rf", "xgb", "lgbm")],
    ],
)
def test_numbers_have_the_bits_of_the_library(name: str, gaps: bool) -> None:
    X = table(gaps)
    make, kind = OF_NUMBERS[name]
    y = 1.7 + classes(X, 10) + 0.1 * np.random.default_rng(4).random(N)
    model = make().fit(X, y)
    rows = edges(kind(model), X)
    if name in ("hgb", "lgbm"):
        rows[:50, 0], rows[50:99, 2] = INF, -INF
    if gaps:
        rows[100:200, 0], rows[150:250, 3], rows[600:700, 2] = NAN, NAN, NAN
    with config_context(assume_finite=True):
        found, expected = predict(model, rows), model.predict(rows)
    assert is_compiled(model)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_numbers_on_another_scale_are_left_to_the_library() -> None:
    X = table()
    model = regressor("xgboost", "XGBRegressor", objective="count:poisson").fit(X, classes(X, 10))
    np.testing.assert_array_equal(predict(model, X), model.predict(X))
    assert not is_compiled(model)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_categories_go_where_the_library_sends_them(n_classes: int) -> None:
    X = pd.DataFrame(table(gaps=True), columns=list("abcd"))
    colors = np.random.default_rng(3).choice(["red", "green", "blue", "gray", "pink"], N)
    X["color"] = pd.Categorical(np.where(X["d"] > 0, "red", colors))
    X.loc[::11, "color"] = None
    y = (classes(table(), n_classes) + X["color"].isin(["red", "pink"])) % n_classes
    model = HistGradientBoostingClassifier(categorical_features=["b", "color"], **HGB).fit(X, y)
    assert any(p.nodes["is_categorical"].any() for each in model._predictors for p in each)
    rows = X.copy()
    rows["color"] = pd.Categorical(rows["color"].astype(object).where(X["a"] < 1, "unknown"))
    rows.loc[::7, "b"] = 77.0
    np.testing.assert_array_equal(predict_proba(model, rows), model.predict_proba(rows))
    assert is_compiled(model)


def test_more_thresholds_than_a_byte_counts() -> None:
    X = np.random.default_rng(0).normal(size=(900, 1))
    y = np.random.default_rng(1).integers(0, 2, len(X))
    model = GradientBoostingClassifier(
        n_estimators=120, max_depth=5, subsample=0.5, random_state=0
    ).fit(X, y)
    tables = sklearn_trees.GradientBoosting(model).tables()
    assert tables is not None
    assert tables.rank.dtype == np.uint16
    rows = edges(sklearn_trees.GradientBoosting(model), X)
    np.testing.assert_array_equal(predict_proba(model, rows), model.predict_proba(rows))
    assert is_compiled(model)


def test_forests_may_have_more_leaves_than_a_byte_counts() -> None:
    X = np.random.default_rng(0).normal(size=(1200, 2))
    y = np.random.default_rng(1).integers(0, 2, 1200)
    model = RandomForestClassifier(3, random_state=0).fit(X, y)
    assert max(tree.get_n_leaves() for tree in model.estimators_) > 256
    np.testing.assert_array_equal(predict_proba(model, X), model.predict_proba(X))
    assert is_compiled(model)


def test_more_leaves_than_a_byte_counts_are_left_to_the_library() -> None:
    X = np.random.default_rng(0).normal(size=(1200, 2))
    y = np.random.default_rng(1).integers(0, 2, 1200)
    params = {"max_leaf_nodes": 400, "max_iter": 2, "min_samples_leaf": 1}
    model = HistGradientBoostingClassifier(**params).fit(X, y)
    np.testing.assert_array_equal(predict_proba(model, X), model.predict_proba(X))
    assert not is_compiled(model)


@pytest.mark.parametrize("rows", [1, 511, 512, 513])
def test_rows_beside_the_last_block_are_scored_alike(rows: int) -> None:
    X = np.resize(table(gaps=True), (rows, 4))
    model = HistGradientBoostingClassifier(**HGB).fit(table(), classes(table(), 2))
    np.testing.assert_array_equal(predict_proba(model, X), model.predict_proba(X))
    assert is_compiled(model)


def test_a_model_that_is_fitted_again_is_another_one() -> None:
    X = table()
    model = HistGradientBoostingClassifier(**HGB).fit(X, classes(X, 2))
    predict_proba(model, X)
    model.fit(X, classes(X, 3))
    np.testing.assert_array_equal(predict_proba(model, X), model.predict_proba(X))


def test_a_model_that_was_compiled_can_be_forgotten() -> None:
    X = table()
    model = HistGradientBoostingClassifier(**HGB).fit(X, classes(X, 2))
    predict_proba(model, X)
    assert is_compiled(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_little_work_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    X = table()
    model = HistGradientBoostingClassifier(**HGB).fit(X, classes(X, 2))
    monkeypatch.setattr(models, "WORTH", 2 * N * 12)
    predict_proba(model, X)
    assert not is_compiled(model)
    predict_proba(model, X)  # as much again
    assert is_compiled(model)


def test_what_differs_from_its_library_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    X = table()
    model = HistGradientBoostingClassifier(**HGB).fit(X, classes(X, 2))
    kind = sklearn_trees.HistGradientBoosting
    monkeypatch.setattr(kind, "start", lambda self, X: np.ones((1, len(X))))
    np.testing.assert_array_equal(predict_proba(model, X), model.predict_proba(X))
    assert not is_compiled(model)


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    models.compiled_loops.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    yield
    monkeypatch.undo()
    models.compiled_loops.cache_clear()


@pytest.mark.usefixtures("no_numba")
def test_without_numba_the_library_predicts() -> None:
    X = table()
    model = HistGradientBoostingClassifier(**HGB).fit(X, classes(X, 2))
    np.testing.assert_array_equal(predict_proba(model, X), model.predict_proba(X))
    assert not is_compiled(model)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DecisionTreeClassifier(random_state=0),
        # Its threads add trees in any order.
        lambda: RandomForestClassifier(n_estimators=2, n_jobs=2, random_state=0),
    ],
)
def test_other_models_are_left_alone(make: Callable[[], Any]) -> None:
    X = table()
    model = make().fit(X, classes(X, 2))
    np.testing.assert_array_equal(predict_proba(model, X), model.predict_proba(X))
    assert not is_compiled(model)


def test_what_the_library_refuses_is_refused() -> None:
    X = table()
    model = GradientBoostingClassifier(n_estimators=3).fit(X, classes(X, 2))
    predict_proba(model, X)
    assert is_compiled(model)
    with pytest.raises(ValueError, match="NaN"):
        predict_proba(model, np.full((2, 4), NAN))
    with pytest.raises(ValueError, match="features"):
        predict_proba(model, X[:, :2])


MANY_TREES = (
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "RandomForestClassifier",
    "ExtraTreesClassifier",
    "XGBClassifier",
    "LGBMClassifier",
)


@pytest.mark.parametrize("name", MANY_TREES)
def test_scores_of_columns_of_all_kinds_are_those_of_the_library(name: str) -> None:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    model = fitted(name, MIXED, mixed_rows())
    _same_scores(model, model.steps[-1][1])


def test_scores_of_a_committee_are_those_of_its_libraries() -> None:
    parts = {name: fitted(name, MIXED, mixed_rows()) for name in MANY_TREES[:2]}
    vote = soft_vote(parts, [0, 1], [0.4, 0.6])
    for part in parts.values():
        _same_scores(vote, part.steps[-1][1])


def _same_scores(model: Any, trees: Any) -> None:
    rows = mixed_rows()
    number = np.array(rows.column("n").to_pylist(), dtype=float)
    number[[3, 4, 5]] = INF, -INF, 1e300
    batch = rows.set_column(0, "n", pa.array(number, from_pandas=True))
    scorer = make_scorer(model, MIXED, probabilities=True)
    with by_library_alone():
        expected = score_batch(batch, scorer)
    found = score_batch(batch, scorer)
    assert is_compiled(trees)
    assert found.equals(expected)
