from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

from spark_pseudolabel.core.teachers.anchor_graph import (
    GAMMA,
    UNITS,
    AnchorGraph,
    bandwidth_of,
    find_anchors,
    nearest_anchors,
    spread,
    weights,
)

CHANCE = np.random.default_rng(0)


def weights_of(X: NDArray[np.float64], anchors: NDArray[np.float64], n: int = 3) -> csr_array:
    nearest, squared = nearest_anchors(X, anchors, n)
    return weights(nearest, squared, bandwidth_of(squared), len(anchors))


@pytest.mark.parametrize(("n_columns", "n_anchors"), [(1, 3), (2, 40), (70, 700)])
def test_the_nearest_anchors_are_those_of_all_distances(n_columns: int, n_anchors: int) -> None:
    X = CHANCE.normal(size=(1000, n_columns))
    anchors = CHANCE.normal(size=(n_anchors, n_columns))
    nearest, squared = nearest_anchors(X, anchors, 3)
    distances = cdist(X, anchors, "sqeuclidean")
    assert (nearest == np.argsort(distances, axis=1)[:, :3]).all()
    assert np.allclose(squared, np.sort(distances, axis=1)[:, :3])


def test_equally_near_anchors_come_in_their_order_in_any_batch() -> None:
    grid = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), axis=-1).reshape(-1, 2) / 7
    X = np.repeat(grid + 0.5 / 7, 5, axis=0)  # in the middle of four anchors
    nearest, squared = nearest_anchors(X, grid, 4)
    alone = [nearest_anchors(X[i : i + 1], grid, 4) for i in range(len(X))]
    assert (nearest == np.concatenate([which for which, _ in alone])).all()
    assert (squared == np.concatenate([far for _, far in alone])).all()
    inside = (X < 8 / 7).all(axis=1)
    assert (np.diff(nearest[inside], axis=1) > 0).all()


def test_weights_are_whole_units_that_sum_to_one_also_far_away() -> None:
    X = np.concatenate([CHANCE.normal(size=(500, 4)), [[1e9, 0, 0, 0]]])
    Z = weights_of(X, CHANCE.normal(size=(50, 4)))
    assert (Z.data * UNITS == np.rint(Z.data * UNITS)).all()
    assert (Z.sum(axis=1) == 1).all()
    assert (Z.data >= 0).all()


def test_anchors_are_rows_where_these_are_few_and_means_of_rows_elsewhere() -> None:
    X = np.repeat(CHANCE.normal(size=(7, 2)), 3, axis=0)
    assert len(find_anchors(X, 10, random_state=0)) == 7
    anchors = find_anchors(CHANCE.normal(size=(500, 2)), 10, random_state=0)
    assert anchors.shape == (10, 2)
    assert np.isfinite(weights_of(X, X[:1], 1).data).all()


def test_a_graph_is_the_same_however_rows_are_dealt() -> None:
    X = CHANCE.normal(size=(4000, 3))
    anchors = find_anchors(X, 60, random_state=0)
    nearest, squared = nearest_anchors(X, anchors, 3)
    Z = weights(nearest, squared, 0.7, 60)
    whole = AnchorGraph.of(Z)
    cuts = np.sort(CHANCE.integers(0, 4000, 20))
    parts = [AnchorGraph.of(Z[rows]) for rows in np.split(CHANCE.permutation(4000), cuts)]
    some = AnchorGraph.together(parts[:7])
    dealt = AnchorGraph.together([AnchorGraph.together(parts[7:]), some])
    assert (dealt.products != whole.products).nnz == 0
    assert np.array_equal(whole.gram, (Z.T @ Z).toarray())
    assert np.array_equal(whole.mass, Z.sum(axis=0))


def test_labels_are_those_that_fit_and_are_smooth_over_the_whole_graph() -> None:
    X = CHANCE.normal(size=(300, 2))
    Z = weights_of(X, find_anchors(X, 25, random_state=0))
    n_labeled, Y = 20, np.eye(3)[CHANCE.integers(0, 3, 20)]
    row_weights = CHANCE.random(n_labeled)
    A = spread(AnchorGraph.of(Z), Z[:n_labeled], Y, row_weights)
    F, dense = Z @ A, Z.toarray()
    graph = dense @ np.diag(1 / dense.sum(axis=0)) @ dense.T
    assert np.allclose(graph.sum(axis=1), 1)
    shares = row_weights / row_weights.sum()
    fit = dense[:n_labeled].T @ (shares[:, np.newaxis] * (F[:n_labeled] - Y))
    smooth = GAMMA / len(X) * dense.T @ (F - graph @ F)
    assert np.abs(fit + smooth).max() < 1e-8  # the gradient of what is minimized
    assert np.allclose(F.sum(axis=1), 1, atol=1e-4)
