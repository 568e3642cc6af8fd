"""Labels spread block by block are those that spread over the whole graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spark_pseudolabel.core.teachers.block_gradients import (
    CellEquations,
    DescentCourse,
    HarmonicBlocks,
    PoissonBlocks,
    Scaled,
)
from spark_pseudolabel.core.teachers.block_labels import LabelSets, Reached
from spark_pseudolabel.core.teachers.block_products import ProductBlocks, ProductsCourse
from spark_pseudolabel.core.teachers.block_scheme import Course, Scheme, parcels, received
from spark_pseudolabel.core.teachers.exact_median import (
    at_rank,
    high_bits,
    low_bits,
    number_of,
    together,
)
from spark_pseudolabel.core.teachers.graph_blocks import (
    Block,
    Edges,
    Numbering,
    build_block,
    groups_of,
    local_components,
    part_key,
    touching,
)
from spark_pseudolabel.core.teachers.graph_solvers import Labels, make_solver
from spark_pseudolabel.core.teachers.neighbor_graph import FoundNeighbors, NeighborGraph

K = 6


def graph_of(X: NDArray[np.float64], n_cells: int) -> NeighborGraph:
    """Return a graph whose cells are ranges of the first column."""
    order = np.argsort(X[:, 0])
    X = X[order]
    squared, near = cKDTree(X).query(X, K + 1)
    n = len(X)
    cells = np.arange(n) * n_cells // n
    found = FoundNeighbors(
        np.arange(n, dtype=np.int32),
        cells.astype(np.int32),
        (np.arange(n) - np.searchsorted(cells, cells)).astype(np.int32),
        near[:, 1:].astype(np.int32),
        (squared[:, 1:] ** 2).astype(np.float32),
        *np.zeros((2, 0), np.int32),
    )
    return NeighborGraph.of(np.arange(n), [found])


def blocks_of(graph: NeighborGraph, gaussian: bool, directed: bool, loops: bool) -> Any:
    """Cut a graph to blocks of at least 100 nodes."""
    numbering = Numbering.of(np.diff(graph.starts), block_nodes=100)
    W = (graph.directed() if directed else graph.symmetric(gaussian)).tocoo()
    left, right = W.coords
    kept = left != right
    left, right, weights = (np.asarray(a)[kept] for a in (left, right, W.data))
    blocks = []
    for number in range(numbering.n_blocks):
        low, high = numbering.blocks[number : number + 2]
        here = ((left >= low) & (left < high)) | ((right >= low) & (right < high))
        edges = Edges(left[here].astype(np.int64), right[here].astype(np.int64), weights[here])
        if directed:
            edges = edges.one_way(np.arange(low, high) if loops else np.zeros(0, np.int64))
        else:
            edges = edges.both_ways()
        blocks.append(build_block(number, numbering, np.arange(low, high, dtype=np.int32), edges))
    return numbering, blocks


def exchanged(blocks: list[Block], values: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Hand values of nodes to the blocks that are to know them."""
    sent: list[list[Any]] = [[] for _ in blocks]
    for number, (block, own) in enumerate(zip(blocks, values, strict=True)):
        for to, part in parcels(block, own):
            sent[to].append((number, part))
    return [received(b, s, values[0].shape[1]) for b, s in zip(blocks, sent, strict=True)]


def solved(blocks: list[Block], scheme: Scheme, course: Course) -> tuple[list[Any], int]:  # type: ignore[type-arg]
    states = [scheme.start(number, block) for number, block in enumerate(blocks)]
    step = None
    while True:
        outside = exchanged(blocks, [scheme.sent(state, step) for state in states])
        states = [
            scheme.advanced(state, block, step, values)
            for state, block, values in zip(states, blocks, outside, strict=True)
        ]
        told = course.after([scheme.told(state) for state in states])
        step, course = told.step, told.course
        if step is None:
            return states, course.made


def reached_by(blocks: list[Block], numbering: Numbering, labels: LabelSets) -> Reached:
    parts = [local_components(block) for block in blocks]
    outside = exchanged(blocks, [part[:, np.newaxis].astype(float) for part in parts])
    pairs = [
        touching(block, n, numbering, parts[n], outside[n][:, 0].astype(np.int64))
        for n, block in enumerate(blocks)
    ]
    of_node = np.concatenate([part_key(np.int64(n), part) for n, part in enumerate(parts)])
    return Reached.of(labels, of_node[labels.nodes], *groups_of(pairs))


@pytest.fixture(scope="module")
def rows() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return three clusters that touch, one alone of one class, and one without a label."""
    rng = np.random.default_rng(3)
    centers = np.array([[0, 0], [3, 0], [1.5, 2.5], [40, 0], [80, 0]], dtype=float)
    X = np.concatenate([rng.normal(center, 0.9, (160, 2)) for center in centers])
    return X[np.argsort(X[:, 0])], np.repeat([0, 1, 2, 1, -1], 160)[np.argsort(X[:, 0])]


def label_sets(y: NDArray[np.int64]) -> tuple[Labels, ...]:
    rng = np.random.default_rng(0)
    labeled = np.sort(rng.permutation(np.flatnonzero(y >= 0))[:40])
    every = labeled, labeled[::2], labeled[1::3]
    # A node may have two labels.
    return tuple(
        Labels(np.append(n, n[0]).astype(np.int32), np.append(y[n], 0).astype(np.int32))
        for n in every
    )


@pytest.mark.parametrize(
    ("method", "gaussian"), [("propagation", True), ("poisson", True), ("poisson", False)]
)
def test_equations_have_the_solution_of_the_whole_graph(
    rows: tuple[NDArray[np.float64], NDArray[np.int64]], method: str, gaussian: bool
) -> None:
    X, y = rows
    graph, sets = graph_of(X, 20), label_sets(y)
    tol = 1e-3
    products: list[int] = []
    solver = make_solver(
        graph,
        3,
        method,
        gaussian=gaussian,
        alpha=0.9,
        max_iter=500,
        tol=tol,
        tell=lambda made, change: products.append(made),
    )
    expected = list(solver.solve(sets))
    numbering, blocks = blocks_of(graph, gaussian, directed=False, loops=False)
    assert len(blocks) >= 4
    labels = LabelSets(
        3, tuple(s.nodes.astype(np.int64) for s in sets), tuple(s.codes for s in sets)
    )
    reached = reached_by(blocks, numbering, labels)
    kind = HarmonicBlocks if method == "propagation" else PoissonBlocks
    scheme = kind(numbering, labels, reached)
    parts = [scheme.cell_sums(n, block) for n, block in enumerate(blocks)]
    cells = CellEquations.of(len(numbering.cells) - 1, parts)
    states, made = solved(blocks, scheme, DescentCourse(cells, tol / 1000, 500))
    assert made <= max(products) + 3
    if isinstance(scheme, PoissonBlocks):
        scaled = scaled_by(scheme, states, blocks)
        P = [scheme.scores(s, b, scaled) for s, b in zip(states, blocks, strict=True)]
    else:
        assert isinstance(scheme, HarmonicBlocks)
        P = [scheme.scores(s, b) for s, b in zip(states, blocks, strict=True)]
    found = np.concatenate(P)
    for place, whole in enumerate(expected):
        np.testing.assert_allclose(found[:, place], whole, atol=2e-5)
        assert (~whole.any(axis=1)).sum() == 160  # the cluster without a label


@pytest.mark.parametrize("n", [1, 2, 999, 1000])
def test_the_median_of_parts_is_that_of_all(n: int) -> None:
    rng = np.random.default_rng(n)
    values = np.abs(rng.normal(size=n) * 10.0 ** rng.integers(-12, 3, n)).astype(np.float32)
    values[: n // 3] = values[0]
    parts = np.array_split(values, 4)
    upper, rank = at_rank(together([high_bits(part) for part in parts]), (n - 1) // 2)
    lower, _ = at_rank(together([low_bits(part, upper) for part in parts]), rank)
    assert number_of(upper, lower) == np.sort(values)[(n - 1) // 2]


def scaled_by(scheme: PoissonBlocks, states: list[Any], blocks: list[Block]) -> Scaled:
    sums = [scheme.component_sums(s, b) for s, b in zip(states, blocks, strict=True)]
    total = np.zeros((len(scheme.reached.has), states[0].x.shape[1] + 1))
    for components, values in sums:
        total[components] += values
    means = total[:, 1:] / total[:, :1]
    apart = [scheme.apart(s, b, means) for s, b in zip(states, blocks, strict=True)]
    each = [np.concatenate([part[n] for part in apart]) for n in range(scheme.labels.n_sets)]
    return Scaled(means, np.array([np.log(9.0) / np.median(values) for values in each]))


@pytest.mark.parametrize(("alpha", "gaussian"), [(None, False), (0.9, False), (0.9, True)])
def test_products_have_the_bits_of_the_whole_graph_but_for_rounding(
    rows: tuple[NDArray[np.float64], NDArray[np.int64]], alpha: float | None, gaussian: bool
) -> None:
    X, y = rows
    graph, sets = graph_of(X, 20), label_sets(y)
    method = "propagation" if alpha is None else "spreading"
    # So few products that labels have not come to rest: a step too much would show.
    solver = make_solver(
        graph, 3, method, gaussian=gaussian, alpha=alpha or 0.9, max_iter=7, tol=1e-3
    )
    expected = list(solver.solve(sets))
    _, blocks = blocks_of(graph, gaussian, directed=not gaussian, loops=alpha is None)
    labels = LabelSets(
        3, tuple(s.nodes.astype(np.int64) for s in sets), tuple(s.codes for s in sets)
    )
    scheme = ProductBlocks(labels, alpha)
    states, made = solved(blocks, scheme, ProductsCourse(1e-3, 7))
    assert made == 7
    found = np.concatenate([scheme.scores(s, b) for s, b in zip(states, blocks, strict=True)])
    for place, whole in enumerate(expected):
        np.testing.assert_allclose(found[:, place], whole, atol=1e-6)
