import numpy as np
import pytest

from spark_pseudolabel.core.teachers.graph_solvers import Labels, normalized_adjacency
from spark_pseudolabel.core.teachers.smoothing import STRENGTHS, Smoother, Strength
from tests.core.teachers.test_graph_solvers import moons


def dense(W, P, rows, given, missing, strength):
    """Correct and smooth as the paper writes it, by inverses (equations 2 to 6)."""
    np.fill_diagonal(W, 0)
    scale = np.diag(W.sum(axis=1) ** -0.5)
    near, one = scale @ W @ scale, np.eye(len(W))
    errors = np.zeros_like(P)
    errors[rows] = missing
    errors = 0.2 * np.linalg.solve(one - 0.8 * near, errors)
    if strength.scaled:
        mean, size = np.abs(missing).sum() / len(rows), np.abs(errors).sum(axis=1, keepdims=True)
        factor = np.where(size > 0, mean / np.where(size > 0, size, 1), 0)
        errors = errors * np.where(factor > 1000, 1, factor)
    corrected = np.maximum(P + errors, 0)
    corrected[rows] = given
    corrected /= corrected.sum(axis=1, keepdims=True)
    smoothed = (1 - strength.smooth) * np.linalg.solve(one - strength.smooth * near, corrected)
    smoothed[rows] = given
    return smoothed / smoothed.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def small():
    graph, y = moons(300, noise=0.3)
    draw = np.random.default_rng(2)
    rows = np.sort(draw.choice(len(y), 40, replace=False))
    of_class = np.where(draw.random(len(y)) < 0.7, y, 1 - y)
    P = np.where(np.eye(2)[of_class] == 1, 0.8, 0.2)
    nodes = graph.nodes(graph.ids[rows])
    return graph, y, rows, P, Labels(nodes, y[rows].astype(np.int32))


@pytest.mark.parametrize("strength", [*STRENGTHS, Strength(0.95, scaled=True)])
def test_it_is_what_the_paper_writes(small, strength):
    graph, y, rows, P, labels = small
    W = graph.symmetric(True)
    smoother = Smoother(normalized_adjacency(W), 2000, 1e-10)
    by_node = np.empty_like(P)
    by_node[graph.node_of] = P
    missing = np.eye(2)[y[rows]] - P[rows]
    found = smoother.smooth(by_node, smoother.spread(labels, missing), strength)
    given = np.eye(2)[labels.codes]
    expected = dense(W.toarray(), by_node, labels.nodes, given, missing, strength)
    assert np.abs(found - expected).max() < 1e-6
    assert np.array_equal(found[labels.nodes], given)
    assert np.allclose(found.sum(axis=1), 1)
    if strength in STRENGTHS:
        truth = np.empty_like(y)
        truth[graph.node_of] = y
        right = [(Q.argmax(axis=1) == truth).mean() for Q in (by_node, found)]
        assert right[1] > right[0] + 0.05


def test_without_a_residual_nothing_is_corrected(small):
    graph, _, _, _, labels = small
    smoother = Smoother(normalized_adjacency(graph.symmetric(True)), 100, 1e-6)
    nothing = smoother.spread(labels, np.zeros((len(labels.codes), 2)))
    assert not nothing.everywhere.any()
    assert not nothing.scaled.any()


def test_a_row_that_the_model_cannot_score_gets_its_neighbors_labels(small):
    graph, _, _, P, labels = small
    smoother = Smoother(normalized_adjacency(graph.symmetric(True)), 200, 1e-6)
    unknown = np.zeros_like(P)
    nothing = smoother.spread(labels, np.zeros((len(labels.codes), 2)))
    found = smoother.smooth(unknown, nothing, STRENGTHS[1])
    reached = found.any(axis=1)
    assert reached.mean() > 0.9
    assert np.allclose(found[reached].sum(axis=1), 1)
