from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import block_diag, csr_array

from spark_pseudolabel.core.teachers.harmonic_numbers import HarmonicNumbers


def solver_of(W: csr_array) -> HarmonicNumbers:
    return HarmonicNumbers(W, np.array([0, W.shape[0]]), 1000, 1e-10, lambda products, change: None)


def joined(n: int, seed: int) -> csr_array:
    """Return a ring of nodes, and edges between some others."""
    chance = np.random.default_rng(seed)
    W = np.zeros((n, n))
    W[np.arange(n), (np.arange(n) + 1) % n] = chance.uniform(0.1, 1.0, n)
    W[chance.integers(0, n, n), chance.integers(0, n, n)] = chance.uniform(0.1, 1.0, n)
    np.fill_diagonal(W, 0.0)
    return csr_array(np.maximum(W, W.T))


def dense_solution(W: csr_array, nodes: NDArray[np.int32], y: NDArray[np.float64]) -> NDArray:
    laplacian = np.diag(W.toarray().sum(axis=1)) - W.toarray()
    u = np.zeros(len(laplacian))
    u[nodes] = y
    free = np.setdiff1d(np.arange(len(u)), nodes)
    u[free] = np.linalg.solve(
        laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, nodes)] @ u[nodes]
    )
    return u


@pytest.mark.parametrize("n_labels", [1, 8])
def test_numbers_are_those_of_a_dense_solve_of_the_laplacian(n_labels: int) -> None:
    W, chance = joined(60, 0), np.random.default_rng(1)
    nodes = chance.choice(60, n_labels, replace=False).astype(np.int32)
    y = chance.normal(3.0, 2.0, n_labels)
    u, spread = solver_of(W).solve(nodes, y)
    np.testing.assert_allclose(u, dense_solution(W, nodes, y), atol=1e-7)
    dense = W.toarray()
    apart = [np.cov(u[row > 0], aweights=row[row > 0], ddof=0) for row in dense]
    np.testing.assert_allclose(spread**2, apart, atol=1e-9)


def test_nothing_is_known_where_no_label_reaches() -> None:
    W = csr_array(block_diag([joined(20, 0), joined(15, 1), np.zeros((1, 1))]))
    nodes = np.array([3, 7, 35], dtype=np.int32)
    u, spread = solver_of(W).solve(nodes, np.array([1.0, 5.0, 7.0]))
    assert ((u[:20] >= 1.0) & (u[:20] <= 5.0)).all()
    assert np.isnan(u[20:35]).all()
    assert u[35] == 7.0
    assert np.isfinite(spread).all()


def test_labels_of_rows_that_are_alike_are_averaged() -> None:
    W = joined(20, 0)
    twice = solver_of(W).solve(np.array([4, 4, 9], dtype=np.int32), np.array([1.0, 3.0, 8.0]))[0]
    once = solver_of(W).solve(np.array([4, 9], dtype=np.int32), np.array([2.0, 8.0]))[0]
    np.testing.assert_array_equal(twice, once)


def test_all_rows_may_have_labels() -> None:
    y = np.arange(20.0)
    u, _ = solver_of(joined(20, 0)).solve(np.arange(20, dtype=np.int32), y)
    assert u.tolist() == y.tolist()
