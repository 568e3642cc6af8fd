from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import make_scorer, score_batch
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.training import TrainingRows

FEATURES = (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"))
ROWS = TrainingRows(
    X=pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [4.0, 3.0, 3.0, 0.0]}),
    codes=np.array([0, 0, 1, 1], dtype=np.int32),
    weights=None,
    n_pseudo=0,
)
BATCH = pa.RecordBatch.from_pydict({"id": [7, 8], "a": [0.1, 2.9], "b": [3.5, 0.5]})


def test_registered_estimator_gets_preprocessing_and_the_seed() -> None:
    learner = registered_estimator("MLPClassifier", {"max_iter": 5}, FEATURES, 11)
    assert isinstance(learner.estimator, Pipeline)
    assert learner.estimator[-1].random_state == 11
    assert learner.named


def test_like_scikit_learn_there_is_nothing_around_the_estimator() -> None:
    learner = registered_estimator("GaussianNB", {}, FEATURES, 0, like_sklearn=True)
    assert isinstance(learner.estimator, GaussianNB)
    model = learner.fit(ROWS, (0, 1))
    theirs = GaussianNB().fit(ROWS.X.to_numpy(), ROWS.codes)
    X = np.column_stack([BATCH.column("a"), BATCH.column("b")])
    found = score_batch(
        BATCH, make_scorer(model, FEATURES, ["id"], named=False, decimals=None)
    ).to_pydict()
    assert found["id"] == [7, 8]
    assert found["spl_confidence"] == theirs.predict_proba(X).max(axis=1).tolist()


@pytest.mark.parametrize(
    ("estimator", "named", "warm"),
    [
        (SGDClassifier(warm_start=True), False, True),
        (make_pipeline(StandardScaler(), SGDClassifier(warm_start=True)), False, True),
        (SGDClassifier(warm_start=True), True, False),
        (SGDClassifier(), False, False),
        (GaussianNB(), False, False),
    ],
)
def test_fits_go_on_only_as_scikit_learn_does(estimator: Any, named: bool, warm: bool) -> None:
    assert EstimatorTeacher(estimator, named=named).warm is warm


def test_model_before_is_left_aside_without_warm_start() -> None:
    learner = EstimatorTeacher(LogisticRegression(max_iter=3, tol=1e3))
    first = learner.fit(ROWS, (0, 1))
    assert (learner.fit(ROWS, (0, 1), first).coef_ == first.coef_).all()


def test_probabilities_are_given_if_asked_for() -> None:
    learner = registered_estimator("LogisticRegression", {}, FEATURES, 0)
    model = learner.fit(ROWS, ("no", "yes"))
    scorer = make_scorer(model, FEATURES, probabilities=True)
    (first, second) = score_batch(BATCH, scorer).to_pydict()["spl_probabilities"]
    assert first[0] > 0.5 > second[0]
    assert sum(first) == pytest.approx(1.0, abs=2e-6)
