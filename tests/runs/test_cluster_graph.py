"""Labels spread by the executors are those that the driver finds, and a killed run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.teachers import neighbors
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
from spark_pseudolabel.core.teachers.graph_solvers import Labels, make_solver
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import cluster_graph, run
from spark_pseudolabel.job.cluster_graph import ClusterGraph
from spark_pseudolabel.job.spreading import read_graph
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.spark import block_spreading, graph_blocks
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.store import RoundStore
from tests.runs.test_graph import published, sections

TOL = 1e-2
"""Near enough: each step is a job of Spark's."""


@pytest.fixture
def on_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No graph is small enough for the driver, and blocks and milestones are many."""
    monkeypatch.setattr(neighbors, "MAX_EDGES", 0)
    monkeypatch.setattr(cluster_graph, "BLOCK_NODES", 600)
    monkeypatch.setattr(block_spreading, "KEPT_EVERY", 4)


@pytest.fixture(scope="module")
def solved(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run whose graph the driver has solved."""
    folder = tmp_path_factory.mktemp("solved")
    teacher = {"graph": "neighbors", "method": "poisson", "student": False}
    run(spark, parse_config(sections(folder, teacher=teacher)))
    return folder


def test_a_run_ends_with_the_labels_of_one_on_the_driver(
    spark: SparkSession, solved: Path, on_workers: None
) -> None:
    teacher = {"graph": "neighbors", "method": "poisson", "student": False}
    (solved / "again").mkdir()
    given = sections(solved / "again", teacher=teacher)
    report = run(spark, parse_config(given)).report
    assert report.rows.abstained == 30  # far from all labels
    of_driver, found = (published(str(out)) for out in (solved / "out", given["output"]["path"]))
    near = ["confidence"]
    pd.testing.assert_frame_equal(of_driver.drop(columns=near), found.drop(columns=near))
    np.testing.assert_allclose(of_driver[near], found[near], atol=1e-5)
    assert not check_output(given["output"]["path"], deep=True).problems
    around = {"graph": "neighbors", "around": "committee", "student": False}
    given = {**given, "teacher": around, "output": {"path": str(solved / "refused")}}
    with pytest.raises(InputError, match="graph: neighbors alone"):
        run(spark, parse_config(given))


@pytest.mark.parametrize(
    "settings",
    [
        GraphSettings(method="spreading", tol=TOL, max_iter=6),
        *(
            # Conjugate gradients take dozens of jobs; the test above solves by them, too.
            pytest.param(settings, marks=pytest.mark.long)
            for settings in (
                GraphSettings(method="propagation", tol=TOL),
                GraphSettings(method="poisson", tol=TOL),
                GraphSettings(method="propagation", weights="connectivity", tol=TOL, max_iter=6),
            )
        ),
    ],
    ids=lambda settings: f"{settings.method}-{settings.weights}",
)
def test_killed_or_dealt_otherwise_labels_have_the_same_bits(
    spark: SparkSession,
    solved: Path,
    on_workers: None,
    settings: GraphSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = committed(spark, solved)
    sets, told = label_sets(graph), list[int]()

    def spread() -> NDArray[Any]:
        return np.stack(graph.spread(sets, 2, settings, lambda made, change: told.append(made)))

    with monkeypatch.context() as killed:
        killed.setattr(block_spreading, "failpoint", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            spread()
    assert max(told) < 4
    told.clear()
    resumed = spread()
    assert min(told) >= 4
    np.testing.assert_allclose(resumed, by_driver(graph, sets, settings), atol=1e-3)
    shutil.rmtree(spreading(graph))
    monkeypatch.setattr(graph_blocks, "ROWS_PER_TASK", 200)
    assert np.array_equal(spread(), resumed)


def _interrupted(name: str) -> None:
    raise KeyboardInterrupt


def committed(spark: SparkSession, folder: Path) -> ClusterGraph:
    root = str(folder / "out")
    store = RoundStore.open(LocalFiles(), root)
    assert store.graph is not None
    return ClusterGraph(spark, store, store.graph)


def spreading(graph: ClusterGraph) -> Path:
    (found,) = Path(graph.store.root).glob("_attempts/*/graph-0001/*/spreading")
    return found


def label_sets(graph: ClusterGraph) -> list[Labels]:
    """Return two sets, with labels of copies of one row that differ."""
    copied = np.flatnonzero(np.bincount(read_graph(graph.store, graph.manifest).node_of) > 1)
    node_of = read_graph(graph.store, graph.manifest).node_of
    twins = np.flatnonzero(node_of == copied[0])[:2]
    rng = np.random.default_rng(0)
    some = np.append(rng.permutation(len(graph.ids))[:400], twins).astype(np.int32)
    codes = rng.integers(0, 2, len(some)).astype(np.int32)
    codes[-2:] = 0, 1
    return [Labels(some, codes), Labels(some[::2], codes[::2])]


def by_driver(
    graph: ClusterGraph, sets: list[Labels], settings: GraphSettings
) -> NDArray[np.float32]:
    whole = read_graph(graph.store, graph.manifest)
    solver = make_solver(
        whole,
        2,
        settings.method,
        gaussian=settings.weights == "gaussian",
        alpha=settings.alpha,
        max_iter=settings.max_iter,
        tol=settings.tol,
    )
    labels = [Labels(whole.node_of[some.nodes], some.codes) for some in sets]
    return np.stack([whole.by_id(P) for P in solver.solve(labels)])
