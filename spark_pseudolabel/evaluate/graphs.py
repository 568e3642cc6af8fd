"""A committee with a graph and without one, from the same fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.nodes import NodeIds, node_frame
from spark_pseudolabel.core.teachers.committee import Committee
from spark_pseudolabel.core.teachers.correct_and_smooth import CorrectAndSmooth
from spark_pseudolabel.core.teachers.cross_fitting import (
    Once,
    Weigh,
    by_mixture,
    cross_fit,
    fold_of,
    probabilities,
)
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings
from spark_pseudolabel.core.teachers.gate import gated_weights
from spark_pseudolabel.core.teachers.graph_member import CommitteeWithAnchors
from spark_pseudolabel.core.teachers.kinds.anchors import AnchorSettings
from spark_pseudolabel.core.teachers.neighbor_graph import FoundNeighbors, NeighborGraph
from spark_pseudolabel.core.teachers.neighbor_search import Grid, nearest
from spark_pseudolabel.core.teachers.node_votes import GraphRows
from spark_pseudolabel.core.teachers.reference import Reference, rows_to_draw
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote
from spark_pseudolabel.evaluate.task import Task

Matrix = NDArray[np.float64]
_ROW = "row"


def _spread(task: Task) -> pd.DataFrame:
    """Return the rows that anchors are put among, as far as they spread."""
    labeled = task.labeled.X
    return Reference.of(labeled, task.pool.head(rows_to_draw(labeled))).spread


def with_anchors(task: Task, committee: Committee) -> Mapping[str, Matrix]:
    """Score the test rows with a committee, with an anchor graph in it, and with the graph alone.

    Parameters
    ----------
    task
        The rows.
    committee
        Prepared.
    """
    classes, folds = task.data.classes, fold_of(task.labeled.codes, task.hashes)
    settings = AnchorSettings(graph="anchors")
    graph = settings.made(task.data.features, task.seed)
    both = Once(CommitteeWithAnchors(committee.members, graph).placed(_spread(task)).fit)

    def some(parts: slice) -> Callable[[TrainingRows, Sequence[Label]], BaseEstimator]:
        def fit(rows: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
            members = members_of(both(rows, classes))[parts]
            return soft_vote({f"m{i}": member for i, member in enumerate(members)}, classes)

        return fit

    wanted: Mapping[str, tuple[slice, Weigh]] = {
        "auto": (slice(-1), by_mixture),
        "anchors": (slice(-1, None), by_mixture),
        "auto + anchors": (slice(None), gated_weights),
        "auto + anchors always": (slice(None), by_mixture),
    }
    scored = {}
    for name, (parts, weigh) in wanted.items():
        fitted = cross_fit(some(parts), task.labeled, folds, classes, weigh)
        scored[name] = probabilities(fitted.mean_model(classes), task.test)
    return scored


def around(task: Task, committee: Committee) -> Mapping[str, Matrix]:
    """Score the test rows with a committee, and corrected and smoothed as a run does it.

    They are rows of the graph like those of the pool, as far as any method may know.

    Parameters
    ----------
    task
        The rows.
    committee
        Prepared.
    """
    features, classes = task.data.features, task.data.classes
    X = pd.concat([task.labeled.X, task.pool, task.test], ignore_index=True)
    rows = pa.RecordBatch.from_pandas(X.assign(**{_ROW: np.arange(len(X))}), preserve_index=False)
    nodes = NodeIds((_ROW,), task.seed)
    ids = nodes.of(rows)
    teacher = CorrectAndSmooth(GraphSettings(), features, task.seed, committee=committee)
    labeled, teacher = task.labeled.X, teacher.placed(_spread(task))
    assert teacher.vectors is not None
    by_id = np.argsort(ids)
    graph = _graph(ids[by_id], teacher.vectors.of(X)[by_id], teacher.settings.k)
    of_graph = GraphRows(lambda look, together: look([rows]), nodes, ())
    n = len(labeled)
    given = replace(task.labeled, X=labeled.assign(**{NODE: ids[:n]}))
    folds = fold_of(given.codes, task.hashes)
    fitted = teacher.joined(graph, None, of_graph).cross_fit(given, folds, classes, mean=True)
    test = node_frame(ids[n + len(task.pool) :])
    alone = committee.cross_fit(task.labeled, folds, classes).mean_model(classes)
    return {
        "auto": probabilities(alone, task.test),
        "correct and smooth": probabilities(fitted.mean_model(classes), test),
    }


def _graph(ids: NDArray[np.int64], vectors: Grid, k: int) -> NeighborGraph:
    """Return the exact graph of rows in the order of their ids."""
    places, nobody = np.arange(len(ids)), np.zeros(0, dtype=np.int32)
    found, squared = nearest(vectors, vectors, k, places)
    own = places.astype(np.int32)
    neighbors = FoundNeighbors(
        own,
        np.zeros_like(own),
        own,
        found.astype(np.int32),
        squared.astype(np.float32),
        copies=nobody,
        originals=nobody,
    )
    return NeighborGraph.of(ids, [neighbors])
