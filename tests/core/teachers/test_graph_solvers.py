import numpy as np
import pytest
from scipy.sparse.csgraph import laplacian
from sklearn.datasets import load_digits, load_iris, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from spark_pseudolabel.core.teachers.conjugate_gradients import Threads
from spark_pseudolabel.core.teachers.graph_solvers import Labels, Units, make_solver
from spark_pseudolabel.core.teachers.neighbor_graph import FoundNeighbors, NeighborGraph
from spark_pseudolabel.core.teachers.neighbor_search import distinct_rows, nearest

K = 10


def graph_of(X, n_parts=3):
    """A graph whose nodes are numbered otherwise than the rows."""
    grid = np.rint(X / np.abs(X).max() * 2**20).astype(np.int32)
    first, like = distinct_rows(grid)
    places, distances = nearest(grid[first], grid[first], K, np.arange(len(first)))
    found, squared = np.full((len(X), K), -1), np.full((len(X), K), np.inf)
    found[first], squared[first] = first[places], distances
    copies = np.setdiff1d(np.arange(len(X)), first).astype(np.int32)
    originals = first[like[copies]].astype(np.int32)
    order = np.random.default_rng(1).permutation(len(first))
    parts = np.array_split(first[order].astype(np.int32), n_parts)
    return NeighborGraph.of(
        np.arange(len(X), dtype=np.int64) * 3 - 50,
        [
            FoundNeighbors(
                part,
                np.full(len(part), i),
                np.arange(len(part)),
                found[part].astype(np.int32),
                squared[part].astype(np.float32),
                copies[i::n_parts],
                originals[i::n_parts],
            )
            for i, part in enumerate(parts)
        ],
    )


def solved(graph, y, rows, method, *, gaussian=True, alpha=0.99, tol=1e-3, max_iter=2000):
    solver = make_solver(
        graph, y.max() + 1, method, gaussian=gaussian, alpha=alpha, max_iter=max_iter, tol=tol
    )
    labels = Labels(graph.nodes(graph.ids[rows]), y[rows].astype(np.int32))
    return graph.by_id(next(solver.solve([labels])))


def some_labels(y, n, seed=0):
    draw = np.random.default_rng(seed)
    each = [draw.choice(np.flatnonzero(y == code)) for code in range(y.max() + 1)]
    return np.unique([*each, *draw.choice(len(y), n - len(each))])


@pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
@pytest.mark.parametrize("load", [load_iris, load_digits])
@pytest.mark.parametrize("n_labels", [15, 50])
def test_scores_are_those_of_scikit_learn(load, n_labels):
    X, y = load(return_X_y=True)
    graph, rows = graph_of(X), some_labels(y, n_labels)
    given = np.full(len(y), -1)
    given[rows] = y[rows]
    for method, theirs in (
        ("propagation", LabelPropagation(kernel="knn", n_neighbors=K, max_iter=2000, tol=1e-9)),
        ("spreading", LabelSpreading(kernel="knn", n_neighbors=K, max_iter=500, tol=1e-30)),
    ):
        P = solved(graph, y, rows, method, gaussian=False, alpha=0.2, tol=1e-6)
        expected = theirs.fit(X, given).label_distributions_
        assert (P.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.99


def moons(n_rows=3000, noise=0.13):
    X, y = make_moons(n_rows, noise=noise, random_state=0)
    return graph_of((X - X.mean(axis=0)) / X.std(axis=0)), y


def test_propagation_is_the_mean_of_the_neighbors():
    graph, y = moons()
    rows = some_labels(y, 6)
    P = solved(graph, y, rows, "propagation", tol=1e-6).astype(np.float64)
    assert np.array_equal(P[rows], np.eye(2)[y[rows]])
    U = P[np.argsort(graph.node_of)]
    W = graph.symmetric(True)
    means = (W @ U) / np.asarray(W.sum(axis=1))[:, np.newaxis]
    free = np.setdiff1d(np.arange(len(y)), graph.nodes(graph.ids[rows]))
    assert np.abs(means - U)[free].max() < 1e-5


def test_poisson_orders_rows_as_the_exact_solution_does():
    graph, y = moons(800)
    rows = some_labels(y, 5)
    P = solved(graph, y, rows, "poisson", tol=1e-6).astype(np.float64)
    W = graph.symmetric(True)
    assert len(np.unique(graph.components)) == 1
    nodes, one_hot = graph.nodes(graph.ids[rows]), np.eye(2)[y[rows]]
    B = np.zeros((len(y), 2))
    B[nodes] = one_hot - one_hot.mean(axis=0)
    U = np.linalg.pinv(laplacian(W).toarray()) @ B
    degree = np.asarray(W.sum(axis=1))
    U -= degree @ U / degree.sum()
    U = U[graph.node_of]
    assert np.allclose(np.log(P[:, 1] / P[:, 0]), (U[:, 1] - U[:, 0]) * slope(P, U), atol=2e-3)
    assert np.median(P.max(axis=1)) == pytest.approx(0.9, abs=1e-3)


def slope(P, U):
    differences = U[:, 1] - U[:, 0]
    return np.log(P[:, 1] / P[:, 0]) @ differences / (differences @ differences)


@pytest.mark.parametrize("method", ["propagation", "spreading", "poisson"])
@pytest.mark.parametrize("gaussian", [True, False])
def test_rows_that_no_label_reaches_get_no_class(method, gaussian):
    far = np.concatenate([np.zeros((40, 2)), np.full((40, 2), 50.0), np.full((40, 2), 90.0)])
    X = far + np.random.default_rng(0).normal(size=far.shape)
    y = np.repeat([0, 1, 1], 40)
    graph, rows = graph_of(X), np.array([3, 45])
    P = solved(graph, y, rows, method, gaussian=gaussian)
    assert not P[80:].any()
    reached = P[:80].any(axis=1)
    assert reached.mean() > 0.9  # a directed graph need not lead everywhere
    assert np.array_equal(P[:80][reached].argmax(axis=1), y[:80][reached])


@pytest.mark.parametrize("method", ["propagation", "spreading", "poisson"])
@pytest.mark.parametrize("gaussian", [True, False])
def test_many_copies_of_a_row_are_no_island(method, gaussian):
    X, y = make_moons(400, noise=0.05, random_state=0)
    again = np.repeat(np.arange(400), 2 * K)
    graph, rows = graph_of(X[again]), np.array([0, 2 * K * int(np.argmax(y != y[0]))])
    assert graph.n_nodes == 400
    P = solved(graph, y[again], rows, method, gaussian=gaussian)
    once = solved(graph_of(X), y, rows // (2 * K), method, gaussian=gaussian)
    assert P.any(axis=1).all()
    assert np.abs(P - once[again]).max() < 1e-3
    assert (P.argmax(axis=1) == y[again]).mean() > 0.99


@pytest.mark.parametrize("method", ["propagation", "spreading", "poisson"])
def test_copies_with_several_labels_share_them(method):
    X, y = make_moons(300, noise=0.05, random_state=0)
    X, y = np.concatenate([X, X[:1], X[:1]]), np.append(y, [1 - y[0], y[0]])
    graph, other = graph_of(X), int(np.argmax(y != y[0]))
    P = solved(graph, y, np.array([0, 300, 301, other]), method)
    assert np.array_equal(P[300], P[0])
    assert P[0].argmax() == y[0]
    if method == "propagation":
        assert P[0, y[0]] == pytest.approx(2 / 3)


@pytest.mark.parametrize("method", ["propagation", "spreading", "poisson"])
@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("n_distinct", [1, 2, 5])
def test_fewer_distinct_rows_than_neighbors(method, gaussian, n_distinct):
    found = [np.setdiff1d(np.arange(n_distinct), i) for i in range(n_distinct)]
    neighbors = np.full((n_distinct, K), -1, dtype=np.int32)
    neighbors[:, : n_distinct - 1] = found
    squared = np.full((n_distinct, K), np.inf, dtype=np.float32)
    squared[:, : n_distinct - 1] = 4.0
    nodes, copies = np.arange(n_distinct, dtype=np.int32), np.arange(n_distinct, 20)
    part = FoundNeighbors(
        nodes, nodes * 0, nodes, neighbors, squared, copies, (copies % n_distinct).astype(np.int32)
    )
    graph = NeighborGraph.of(np.arange(20), [part])
    y = (np.arange(20) % n_distinct > 0).astype(np.int32)
    y[0], y[n_distinct] = 0, 0
    P = solved(
        graph,
        y if n_distinct > 1 else y + (np.arange(20) == 1),
        np.array([0, 1]),
        method,
        gaussian=gaussian,
    )
    assert np.isfinite(P).all()
    assert P.any(axis=1).all()
    for row in range(n_distinct, 20):
        assert np.array_equal(P[row], P[row % n_distinct])


@pytest.mark.parametrize("method", ["propagation", "spreading", "poisson"])
def test_several_sets_of_labels_are_solved_as_each_alone(method):
    graph, y = moons(1500)
    sets = [some_labels(y, n, seed) for seed, n in enumerate((4, 9, 30))]
    labels = [Labels(graph.nodes(graph.ids[s]), y[s].astype(np.int32)) for s in sets]
    solver = make_solver(graph, 2, method, gaussian=True, alpha=0.99, max_iter=3000, tol=1e-5)
    for rows, P in zip(sets, solver.solve(labels), strict=True):
        alone = solved(graph, y, rows, method, tol=1e-5, max_iter=3000)
        assert np.allclose(graph.by_id(P), alone, atol=1e-4)


def test_sets_made_of_one_solution_for_each_row_are_as_each_alone():
    graph, y = moons(1500)
    rows = np.append(some_labels(y, 5), np.flatnonzero(graph.components[graph.node_of] > 0)[:1])
    sets = [rows, *(np.delete(rows, i) for i in range(len(rows)))]
    labels = [Labels(graph.nodes(graph.ids[s]), y[s].astype(np.int32)) for s in sets]
    assert len(Units.of(np.unique(labels[0].nodes), graph)) < len(sets)
    solver = make_solver(graph, 2, "poisson", gaussian=True, alpha=0.99, max_iter=3000, tol=1e-5)
    for some, P in zip(sets, solver.solve(labels), strict=True):
        alone = solved(graph, y, some, "poisson", tol=1e-5, max_iter=3000)
        assert np.allclose(graph.by_id(P), alone, atol=1e-5)


def test_threads_end_when_nobody_waits_for_them():
    told = []
    threads = Threads(2, lambda products, residual: told.append(products))

    def solve(endless):
        if not endless:
            raise KeyboardInterrupt
        while True:
            threads.tell(0, 1.0)

    with pytest.raises(KeyboardInterrupt):
        list(threads.solve(solve, [False, True, True]))
    assert told == list(range(1, len(told) + 1))


def test_one_label_a_class_is_enough_for_poisson():
    X, y = load_digits(return_X_y=True)
    spread = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    graph, right = graph_of((X - X.mean(axis=0)) / spread), {}
    for method in ("propagation", "poisson"):
        right[method] = np.mean(
            [
                (solved(graph, y, some_labels(y, 10, seed), method).argmax(axis=1) == y).mean()
                for seed in range(8)
            ]
        )
    assert right["poisson"] > right["propagation"] + 0.05
