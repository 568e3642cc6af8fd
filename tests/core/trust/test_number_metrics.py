"""Figures of a model of numbers, against scikit-learn's, and sums that add up in any order."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from spark_pseudolabel.core.numbers import NumberTask, decimals_of
from spark_pseudolabel.core.trust.number_metrics import NumberSums, number_metrics

TASK = NumberTask(2.0, False, 0.95, False, decimals_of(3.0), 3.0, mean=1e6)


def _rows(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    y = 1e6 + draw.normal(0, 3, n)
    value = y + draw.normal(0, 2, n)
    confidence = draw.uniform(0, 1, n)
    return y, np.stack([value, confidence, value - 4, value + 4], axis=1)


def test_errors_are_those_of_scikit_learn() -> None:
    y, said = _rows()
    found = number_metrics(y, said, TASK)
    assert found.numbers is not None
    assert found.numbers.rmse == pytest.approx(root_mean_squared_error(y, said[:, 0]))
    assert found.numbers.mae == pytest.approx(mean_absolute_error(y, said[:, 0]))
    assert found.numbers.r2 == pytest.approx(r2_score(y, said[:, 0]))
    assert found.accuracy == np.mean(np.abs(y - said[:, 0]) <= 2.0)
    assert found.numbers.coverage == np.mean(np.abs(y - said[:, 0]) <= 4.0)
    assert found.numbers.width == pytest.approx(8.0)


def test_sums_of_parts_are_the_same_in_any_order() -> None:
    y, said = _rows(999)
    parts = [NumberSums.of(y[i::7], said[i::7], TASK) for i in range(7)]
    whole = NumberSums.together(parts)
    assert whole == NumberSums.together(parts[::-1])
    assert whole.n == 999
    assert whole.metrics().numbers.rmse == pytest.approx(
        number_metrics(y, said, TASK).numbers.rmse, rel=1e-12
    )


def test_a_row_without_a_number_is_wrong_and_in_no_error() -> None:
    y, said = _rows(10)
    said[:5] = np.nan
    found = number_metrics(y, said, TASK)
    assert found.n == 10
    assert found.accuracy <= 0.5
    assert found.numbers.mae == pytest.approx(np.abs(y - said[:, 0])[5:].mean())


def test_nothing_is_said_of_no_row_and_no_share_of_numbers_that_are_alike() -> None:
    assert number_metrics(np.zeros(0), np.zeros((0, 4)), TASK).accuracy is None
    same = number_metrics(np.full(3, 1e6), np.full((3, 4), 1e6), TASK)
    assert same.numbers.r2 is None
