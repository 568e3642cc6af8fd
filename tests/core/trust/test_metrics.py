from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from spark_pseudolabel.core.trust.metrics import (
    LOG_LOSS_FLOOR,
    Metrics,
    metrics_of,
    metrics_of_table,
)

N_CLASSES = 4


def predictions(seed: int, lowest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    codes = chance.integers(lowest, N_CLASSES, 80).astype(np.int32)
    predicted = np.where(chance.random(80) < 0.6, np.maximum(codes, 0), 0).astype(np.int32)
    return codes, predicted, np.where(codes < 0, 0.0, chance.random(80))


# With -1 there are true labels that the model does not know.
@pytest.mark.parametrize("lowest", [0, -1])
@pytest.mark.parametrize("seed", range(8))
def test_equal_to_scikit_learn(seed: int, lowest: int) -> None:
    codes, predicted, p_true = predictions(seed, lowest)
    found = metrics_of(codes, predicted, p_true, N_CLASSES)
    assert found.n == 80
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(codes, predicted))
    assert found.balanced_accuracy == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(codes, predicted)
    )
    assert found.f1_macro == pytest.approx(
        sklearn_metrics.f1_score(codes, predicted, average="macro")
    )


def test_log_loss_equal_to_scikit_learn_above_the_floor() -> None:
    chance = np.random.default_rng(0)
    P = chance.dirichlet([1.0] * N_CLASSES, 60)
    codes = chance.integers(0, N_CLASSES, 60).astype(np.int32)
    found = metrics_of(codes, P.argmax(axis=1).astype(np.int32), P[np.arange(60), codes], N_CLASSES)
    assert P.min() > LOG_LOSS_FLOOR
    expected = sklearn_metrics.log_loss(codes, P, labels=range(N_CLASSES))
    assert found.log_loss == pytest.approx(expected)


@pytest.mark.parametrize("probability", [0.0, 1e-9, LOG_LOSS_FLOOR])
def test_log_loss_of_the_impossible_is_finite(probability: float) -> None:
    codes = np.zeros(3, dtype=np.int32)
    found = metrics_of(codes, codes, np.full(3, probability), 2)
    assert found.log_loss == pytest.approx(-np.log(1e-6))


def test_row_that_was_not_scored_is_wrong() -> None:
    codes = np.array([0, 1, 1], dtype=np.int32)
    found = metrics_of(codes, np.array([0, 1, -1], dtype=np.int32), np.ones(3), 2)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.balanced_accuracy == pytest.approx(0.75)


def test_unknown_label_is_wrong_even_on_a_row_that_was_not_scored() -> None:
    unknown = np.array([-1], dtype=np.int32)
    assert metrics_of(unknown, unknown, np.zeros(1), 2).accuracy == 0.0


def test_no_rows_have_no_metrics() -> None:
    none = np.array([], dtype=np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics_of(none, none, np.array([]), 2)
    assert found == Metrics(0, None, None, None, None)


def test_table_counts_like_rows() -> None:
    table = np.array([[2, 1, 0], [0, 3, 1], [1, 0, 0]])
    codes = np.array([0, 0, 0, 1, 1, 1, 1, -1], dtype=np.int32)
    predicted = np.array([0, 0, 1, 1, 1, 1, -1, 0], dtype=np.int32)
    assert metrics_of_table(table, 0.0) == metrics_of(codes, predicted, np.ones(8), 2)
