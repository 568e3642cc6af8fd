from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.compiled import models
from spark_pseudolabel.core.teachers.number_errors import (
    FEWEST_ROWS,
    error_size,
    learn_sizes,
    tree_share,
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


@pytest.mark.parametrize("worth", [0, models.WORTH])
def test_trees_are_asked_as_their_forest_asks_them(
    worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "WORTH", worth)
    Z, errors = rows(200)
    Z[::7, 1] = np.nan
    forest = error_size(Z, errors, 1.0, 0).trees
    assert forest is not None
    assert (mean_of_trees(forest, Z) == forest.predict(Z)).all()


def test_of_few_errors_only_their_mean_is_known() -> None:
    Z, errors = rows(FEWEST_ROWS - 1)
    assert (error_size(Z, errors, 1.0, 0).of(Z) == 1.0).all()


def test_a_model_without_errors_is_not_divided_by_zero() -> None:
    Z, _ = rows(50)
    size = error_size(Z, np.zeros(50), 2.0, 0)
    assert (size.of(Z) > 0).all()
    assert (error_size(Z[:0], np.empty(0), 2.0, 0).of(Z) == 2.0).all()


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_sizes_are_in_units_of_the_mean_error(share: float) -> None:
    Z, errors = rows(200)
    for unit in (1.0, 1e-6):
        size = error_size(Z, errors * unit, unit, 0, share).of(Z)
        assert size.mean() == pytest.approx(1.0, abs=0.05)
    full = error_size(Z, errors, 1.0, 0).of(Z)
    assert error_size(Z, errors, 1.0, 0, share).of(Z) == pytest.approx(1 - share + share * full)


def test_a_fold_is_scaled_by_what_has_not_seen_it() -> None:
    Z, errors = rows(240)
    folds = (np.arange(240) % 3).astype(np.int32)
    sizes = learn_sizes(Z, errors, folds, 1.0, 0)
    # Its own errors change nothing about what is expected of it.
    other = np.where(folds == 1, 10 * errors[::-1], errors)
    again = learn_sizes(Z, other, folds, 1.0, 0)
    assert (sizes.without[1].of(Z) == again.without[1].of(Z)).all()
    assert (sizes.without[0].of(Z) != again.without[0].of(Z)).any()
    expected = np.choose(folds, [sizes.without[f].of(Z) for f in range(3)])
    assert np.allclose(errors / sizes.scaled, expected)
    assert np.unique(sizes.whole.of(Z)).size > 1


def test_errors_that_are_alike_everywhere_are_expected_to_be() -> None:
    draw = np.random.default_rng(0)
    same = []
    for _ in range(20):
        Z, folds = draw.normal(size=(150, 4)), (np.arange(150) % 5).astype(np.int32)
        sizes = learn_sizes(Z, np.abs(draw.normal(size=150)), folds, 1.0, 0)
        same += [size.trees is None for size in (sizes.whole, *sizes.without.values())]
    assert np.mean(same) > 0.9


def test_trees_are_believed_as_far_as_they_help() -> None:
    draw = np.random.default_rng(0)
    sizes, noise = draw.choice([0.2, 1.8], 500), np.abs(draw.normal(size=500))
    assert tree_share(noise * sizes, sizes) == 1.0
    assert tree_share(noise * (0.5 + 0.5 * sizes), sizes) == 0.5
    assert tree_share(noise, sizes) == 0.0
    assert tree_share(noise / sizes, sizes) == 0.0
    assert tree_share(np.zeros(500), sizes) == 0.0
