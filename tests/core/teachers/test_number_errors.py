from __future__ import annotations

import numpy as np

from spark_pseudolabel.core.teachers.number_errors import (
    FEWEST_ROWS,
    error_size,
    scaled_apart,
)
from spark_pseudolabel.core.teachers.number_model import mean_of_trees


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    Z = chance.normal(size=(n, 3))
    return Z, np.abs(np.where(Z[:, 0] > 0, 5.0, 1.0) * chance.normal(size=n))


def test_large_errors_are_expected_where_they_are() -> None:
    Z, errors = rows(400)
    size = error_size(Z, errors, 1.0, 0).of(np.array([[2.0, 0, 0], [-2.0, 0, 0]]))
    assert 2.5 < size[0] / size[1] < 10


def test_trees_are_asked_as_their_forest_asks_them() -> None:
    Z, errors = rows(200)
    Z[::7, 1] = np.nan
    forest = error_size(Z, errors, 1.0, 0).trees
    assert forest is not None
    assert (mean_of_trees(forest, Z) == forest.predict(Z)).all()


def test_of_few_errors_only_their_mean_is_known() -> None:
    Z, errors = rows(FEWEST_ROWS - 1)
    assert np.unique(error_size(Z, errors, 1.0, 0).of(Z)) == errors.mean()


def test_a_model_without_errors_is_not_divided_by_zero() -> None:
    Z, _ = rows(50)
    size = error_size(Z, np.zeros(50), 2.0, 0)
    assert (size.of(Z) > 0).all()
    assert (error_size(Z[:0], np.empty(0), 2.0, 0).of(Z) == 2.0).all()


def test_a_fold_is_scaled_by_what_has_not_seen_it() -> None:
    Z, errors = rows(120)
    folds = (np.arange(120) % 3).astype(np.int32)
    scaled, sizes = scaled_apart(Z, errors, folds, 1.0, 0)
    # Its own errors change nothing about what is expected of it.
    other = np.where(folds == 1, 10 * errors, errors)
    again, _ = scaled_apart(Z, other, folds, 1.0, 0)
    assert np.allclose(again[folds == 1], 10 * scaled[folds == 1])
    assert np.allclose(errors / scaled, np.choose(folds, [sizes[f].of(Z) for f in range(3)]))
