import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from spark_pseudolabel.core.teachers.neighbor_search import (
    EXACT_ROWS,
    LIMIT,
    RUN,
    Sketch,
    cells_of,
    cells_to_search,
    distinct_rows,
    find_centers,
    nearest,
    nearest_cells,
    nearest_found,
    neighbors_in_cell,
    spatial_order,
    squared_distances,
    values_hash,
)

K = 7


def grid(n_rows, n_dimensions, seed=0):
    draw = np.random.default_rng(seed)
    return np.rint(draw.normal(size=(n_rows, n_dimensions)) * 1e5).astype(np.int32)


@pytest.mark.parametrize("n_dimensions", [2, 15, 64])
def test_neighbors_are_those_of_scikit_learn(n_dimensions):
    X = grid(5000, n_dimensions)
    found, squared = nearest(X[:300], X, K, np.arange(300))
    expected, places = NearestNeighbors(n_neighbors=K + 1).fit(X).kneighbors(X[:300])
    assert np.array_equal(found, places[:, 1:])
    assert np.allclose(np.sqrt(squared), expected[:, 1:])


@pytest.mark.parametrize("n_dimensions", [1, 2, 8])
@pytest.mark.parametrize("size", [3, 1000])
def test_of_rows_equally_far_the_first_are_found(n_dimensions, size):
    X = np.random.default_rng(0).integers(size, size=(700, n_dimensions)).astype(np.int32)
    own = np.arange(90)
    D = squared_distances(X[:90], X)
    found, squared = nearest(X[:90], X, K)
    assert np.array_equal(found, D.argsort(axis=1, kind="stable")[:, :K])
    assert np.array_equal(squared, np.sort(D, axis=1)[:, :K])
    D[own, own] = np.inf
    found, _ = nearest(X[:90], X, K, own)
    assert np.array_equal(found, D.argsort(axis=1, kind="stable")[:, :K])


@pytest.mark.parametrize("n_dimensions", [3, 40])
def test_a_distance_is_the_same_bits_whatever_it_is_found_with(n_dimensions):
    X = np.clip(grid(3000, n_dimensions).astype(np.int64) * 40, -LIMIT, LIMIT).astype(np.int32)
    whole = squared_distances(X[:500], X)
    parts = [squared_distances(X[i : i + 1], X) for i in range(0, 500, 83)]
    assert np.array_equal(whole[::83], np.concatenate(parts))
    exact = [(X[7].astype(object) - row.astype(object)) @ (X[7] - row).astype(object) for row in X]
    assert whole[7].tolist() == exact


def test_copies_are_neighbors_of_each_other_and_never_of_themselves():
    X = np.repeat(grid(5, 4), 1200, axis=0)
    found, squared = neighbors_in_cell(X, X[:0], K)
    assert not squared.any()
    assert not (found == np.arange(len(X))[:, np.newaxis]).any()
    assert (found // 1200 == np.arange(len(X))[:, np.newaxis] // 1200).all()


@pytest.mark.parametrize("n_dimensions", [2, 12])
def test_cells_find_the_share_of_neighbors_that_they_say(n_dimensions):
    X = grid(60_000, n_dimensions)
    centers = find_centers(X[:4000], 60)
    cells, near = cells_of(X, centers), nearest_cells(X[:200], centers, 60)
    assert np.array_equal(cells, squared_distances(X, centers).argmin(axis=1))
    assert np.array_equal(near, squared_distances(X[:200], centers).argsort(axis=1))
    exact, _ = nearest(X[:200], X, K, np.arange(200))
    n_searched, recall = cells_to_search(near, np.bincount(cells), K, cells[exact])
    found = [np.isin(cells[exact[i]], near[i, :n_searched]) for i in range(200)]
    assert recall == pytest.approx(np.mean(found))
    assert recall >= 0.99
    assert n_searched < 30


def test_few_rows_are_compared_with_all():
    X = grid(3000, 2)
    centers = find_centers(X, 3)
    cells, near = cells_of(X, centers), nearest_cells(X[:50], centers, 3)
    exact, _ = nearest(X[:50], X, K, np.arange(50))
    assert cells_to_search(near, np.bincount(cells), K, cells[exact]) == (3, 1.0)


def test_what_cells_have_found_is_put_together():
    X = grid(3000, 5)
    centers = find_centers(X, 4)
    near = nearest_cells(X, centers, 4)
    found = []
    for cell in range(4):
        own, others = (np.flatnonzero(mine) for mine in (near[:, 0] == cell, near[:, 0] != cell))
        places, squared = neighbors_in_cell(X[own], X[others], K)
        found.append((np.concatenate([own, others]), own[places], squared))
    nodes, neighbors, squared = map(np.concatenate, zip(*found, strict=True))
    distinct, neighbors, squared = nearest_found(
        nodes.astype(np.int32), neighbors.astype(np.int32), squared.astype(np.float32), K
    )
    exact, distances = nearest(X, X, K, np.arange(len(X)))
    assert np.array_equal(distinct, np.arange(len(X)))
    assert np.array_equal(neighbors, exact)
    assert np.array_equal(squared, distances.astype(np.float32))


def test_nothing_found_is_nothing_put_together():
    nothing = np.zeros((0, K))
    found = nearest_found(np.zeros(0, np.int32), nothing.astype(np.int32), nothing, K)
    assert [len(part) for part in found] == [0, 0, 0]


@pytest.mark.parametrize("n_dimensions", [0, 1, 6])
def test_rows_alike_are_found(n_dimensions):
    X = grid(400, n_dimensions)[np.random.default_rng(1).integers(0, 50, 400)]
    first, like = distinct_rows(X)
    assert np.array_equal(X[first[like]], X)
    assert len(first) == len(np.unique(X, axis=0))
    assert all(not (X[:i] == X[i]).all(axis=1).any() for i in first)


@pytest.mark.parametrize("n_distinct", [300, 200_000])
def test_distinct_vectors_are_counted_however_rows_are_dealt(n_distinct):
    X = grid(n_distinct, 3)
    cells = (X[:, 0] > 0).astype(np.int32)
    again = np.random.default_rng(1).permutation(np.arange(2 * n_distinct) % n_distinct)
    hashes = values_hash(X)
    parts = [Sketch.of(hashes[part], cells[part]) for part in np.array_split(again, 7)]
    sketch = Sketch.together([Sketch.together(parts[:3]), *parts[3:]])
    whole = Sketch.of(hashes, cells)
    assert np.array_equal(sketch.hashes, whole.hashes)
    sizes = np.bincount(cells)
    if n_distinct <= EXACT_ROWS:
        assert sketch.sizes(2).tolist() == sizes.tolist()
    else:
        assert sketch.n_distinct == pytest.approx(n_distinct, rel=0.03)
        assert np.allclose(sketch.sizes(2), sizes, rtol=0.05)


def test_neighbors_that_are_not_there_say_nothing_of_cells():
    near = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.int32)
    sizes = np.array([40_000, 40_000, 40_000])
    cells = np.array([[0, 1, -1], [2, -1, -1]], dtype=np.int32)
    assert cells_to_search(near, sizes, 3, cells)[1] == pytest.approx(2 / 3)
    assert cells_to_search(near, sizes, 3, np.full((2, 3), -1, np.int32)) == (1, 1.0)


@pytest.mark.parametrize("n_rows", [0, 5, RUN, 1000])
def test_runs_of_rows_are_near_each_other(n_rows):
    X = grid(n_rows, 2)
    order = spatial_order(X)
    assert sorted(order) == list(range(n_rows))
    if n_rows > RUN:
        runs = [X[order[start : start + RUN]] for start in range(0, n_rows, RUN)]
        spread = np.mean([run.std(axis=0).mean() for run in runs])
        assert spread < X.std(axis=0).mean() / 2
