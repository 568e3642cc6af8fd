"""What learns from rows as they come knows what one fit on all of them would know."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from spark_pseudolabel.core.teachers.lines import Lines
from spark_pseudolabel.core.teachers.streaming import (
    fit_streamed,
    stops_early,
    streams,
    takes_weights,
)

CLASSES = ["down", "up"]
CHANCE = np.random.default_rng(0)
X = CHANCE.normal(size=(4000, 5))
CODES = (X[:, 0] + X[:, 1] > 0.8).astype(np.int32)


def read(weights: np.ndarray | None = None) -> Iterator[Lines]:
    for start in range(0, len(X), 700):
        some = slice(start, start + 700)
        yield Lines(X[some], CODES[some], None if weights is None else weights[some])


def balanced() -> tuple[float, ...]:
    share = CODES.mean()
    return (0.5 / (1 - share), 0.5 / share)


def test_naive_bayes_is_the_one_that_sees_all_rows_at_once() -> None:
    weights = CHANCE.uniform(0.1, 1.0, size=len(X))
    streamed = fit_streamed(GaussianNB(), lambda: read(weights), CLASSES, len(X), balanced)
    at_once = GaussianNB().fit(X, np.asarray(CLASSES)[CODES], weights)
    assert streamed.theta_ == pytest.approx(at_once.theta_)
    assert streamed.var_ == pytest.approx(at_once.var_, rel=1e-6)
    assert list(streamed.classes_) == CLASSES


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(loss="log_loss", random_state=0, max_iter=20),
        MLPClassifier((8,), random_state=0, max_iter=100),
    ],
)
def test_descent_comes_near_the_fit_on_all_rows(estimator: SGDClassifier) -> None:
    streamed = fit_streamed(estimator, read, CLASSES, len(X), balanced)
    labels = np.asarray(CLASSES)[CODES]
    assert streamed.score(X, labels) > 0.98
    again = fit_streamed(estimator, read, CLASSES, len(X), balanced)
    assert (again.predict_proba(X) == streamed.predict_proba(X)).all()


def test_balanced_classes_are_weighed_though_no_part_of_a_stream_knows_them() -> None:
    settings = {"loss": "log_loss", "random_state": 0, "max_iter": 20}
    plain = fit_streamed(SGDClassifier(**settings), read, CLASSES, len(X), balanced)
    weighed = fit_streamed(
        SGDClassifier(**settings, class_weight="balanced"), read, CLASSES, len(X), balanced
    )
    assert (weighed.predict(X) == "up").sum() > (plain.predict(X) == "up").sum()
    assert weighed.class_weight == "balanced"


def test_which_estimators_stream_is_told_from_how_they_are_set() -> None:
    assert streams(MLPClassifier())
    assert not streams(MLPClassifier(solver="lbfgs"))
    assert not streams(SGDClassifier(loss="hinge"))
    assert streams(GaussianNB())
    assert stops_early(MLPClassifier(early_stopping=True))
    assert takes_weights(SGDClassifier())
