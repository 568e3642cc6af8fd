from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.kernel import make_scorer
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.trust import attribution as module
from spark_pseudolabel.core.trust.attribution import Attribution, attribution_of

NUMBERS = tuple(Feature(name, "numeric", "double") for name in "abcd")


class Linear:
    """A model whose log odds are a weighted sum of its columns, small weights for small effects."""

    classes_ = np.array(["no", "yes"])

    def __init__(self, weights: Any):
        self.weights = np.asarray(weights)

    def predict_proba(self, X: Any) -> Any:
        p = 1 / (1 + np.exp(-np.asarray(X, dtype=float) @ self.weights))
        return np.column_stack([1 - p, p])


def table(X: Any) -> pa.Table:
    return pa.table(dict(zip("abcd", np.asarray(X).T, strict=True)))


def attribution(weights: Any, row: Any, background: Any) -> Attribution:
    scorer = make_scorer(Linear(weights), NUMBERS, probabilities=True)
    return attribution_of(table([row]), table(background), scorer, 1)


def test_linear_models_have_the_effects_of_their_coefficients() -> None:
    chance = np.random.default_rng(0)
    weights, row = np.array([0.02, -0.05, 0.01, 0.03]), np.array([2.0, 1.5, -3.0, 0.1])
    background = chance.normal(size=(100, 4))
    found = attribution(weights, row, background)
    p = found.probability
    exact = weights * (row - background.mean(axis=0)) * p * (1 - p)  # to the first order
    tolerance = 2e-3 * abs(exact).max() + 2e-5
    assert list(found.by_feature.values()) == pytest.approx(exact, abs=tolerance)
    together = found.probability - found.base
    assert sum(found.by_feature.values()) == pytest.approx(together, abs=1e-3)


def test_a_feature_that_the_model_ignores_has_no_effect() -> None:
    found = attribution([1.0, 0.0, -2.0, 0.0], [3.0, 99.0, 1.0, -99.0], np.ones((7, 4)))
    assert found.by_feature["b"] == found.by_feature["d"] == 0.0
    assert found.by_feature["a"] > 0
    assert found.by_feature["c"] == 0.0  # its value is everybody's


def test_few_rows_at_once_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    background = np.random.default_rng(1).normal(size=(9, 4))
    whole = attribution([1, 2, 3, 4], [1, 1, 1, 1], background)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 20)
    assert attribution([1, 2, 3, 4], [1, 1, 1, 1], background) == whole


def test_rows_that_the_model_cant_take_are_left_out() -> None:
    background = [[0.0, 0, 0, 0], [np.nan, 0, 0, 0]]
    found = attribution([1, 1, 1, 1], [1, 1, 1, 1], background)
    assert np.isfinite(list(found.by_feature.values())).all()
    assert np.isnan(attribution([1, 1, 1, 1], [np.nan, 1, 1, 1], background).probability)


def test_every_kind_of_column_is_one_feature() -> None:
    features = (
        Feature("n", "numeric", "int"),
        Feature("day", "date", "date"),
        Feature("v", "vector", "array<float>", 2),
        Feature("job", "category", "string"),
        Feature("said", "text", "string"),
    )
    n = 60
    chance = np.random.default_rng(2)
    job = chance.choice(["cook", "clerk"], n)
    rows = pa.table(
        {
            "n": pa.array(np.arange(n), pa.int32()),
            "day": pa.array(np.arange(n), pa.int32()).cast(pa.date32()),
            "v": pa.array(list(chance.normal(size=(n, 2)).astype(np.float32))),
            "job": pa.array(job).dictionary_encode(),
            "said": [f"I am a {name} and number {i}" for i, name in enumerate(job)],
        }
    )
    learner = registered_estimator("LogisticRegression", {}, features, 0)
    codes = (job == "cook").astype(np.int32)
    model = learner.fit(TrainingRows(to_frame(rows, features), codes, None, 0), ("no", "yes"))
    scorer = make_scorer(model, features, probabilities=True)
    # As another table may have them: wider numbers, plain strings, a missing category.
    row = pa.table(
        {
            "n": [5],
            "day": pa.array([date(1970, 1, 9)]),
            "v": [[0.0, 1.0]],
            "job": ["cook"],
            "said": ["I am a cook"],
        }
    )
    found = attribution_of(row, rows, scorer, 1)
    assert list(found.by_feature) == [feature.name for feature in features]
    largest = max(found.by_feature, key=lambda name: abs(found.by_feature[name]))
    assert largest in ("job", "said")
    assert found.by_feature["job"] > 0
