"""The teachers that are measured, each with all it learns from rows without labels, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spark_pseudolabel.core.nodes import node_frame
from spark_pseudolabel.core.teachers.anchor_graph import AnchorGraph
from spark_pseudolabel.core.teachers.anchors import AnchorsTeacher, anchors_teacher
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.distant_graph import GraphSettings, Method
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.kind import PeerEstimator
from spark_pseudolabel.core.teachers.kinds.tri_training import TriTrainingKind
from spark_pseudolabel.core.teachers.neighbor_graph import FoundNeighbors, NeighborGraph
from spark_pseudolabel.core.teachers.neighbor_search import (
    Grid,
    distinct_rows,
    nearest,
    spatial_order,
)
from spark_pseudolabel.core.teachers.neighbors import NeighborTeacher
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.evaluate.known import MemoryTeacher
from spark_pseudolabel.evaluate.quick import QuickTeacher
from spark_pseudolabel.evaluate.task import Task
from spark_pseudolabel.registry import DEFAULT_COMMITTEE, Member

ESTIMATORS: Mapping[str, Sequence[Member]] = {
    "lr": (("LogisticRegression", {"max_iter": 1000}),),
    "et": (("ExtraTreesClassifier", {"n_estimators": 50}),),
    "tree": (("DecisionTreeClassifier", {}),),
    "knn": (("KNeighborsClassifier", {}),),
    "svc": (("SVC", {"probability": True}),),
    "hgb": (("HistGradientBoostingClassifier", {}),),
    "auto": DEFAULT_COMMITTEE,
}


@dataclass(frozen=True)
class Learner:
    """A teacher, and the rows as its models see them.

    Parameters
    ----------
    teacher
        Ready to be fitted.
    task
        The task itself, or with node ids in place of features; then test rows can't be scored.
    """

    teacher: Teacher
    task: Task


def learner_of(name: str, task: Task) -> Learner:
    """Return one of :data:`LEARNERS`, made for a task."""
    if name in ESTIMATORS:
        return Learner(estimator_of(name, task), task)
    return _OTHERS[name](task)


def estimator_of(name: str, task: Task) -> Teacher:
    """Return one of :data:`ESTIMATORS`: an estimator, or a committee of several."""
    members = ESTIMATORS[name]
    if len(members) == 1:
        learner = registered_estimator(*members[0], task.data.features, task.seed)
        return learner.prepared(task.reference)
    return registered_committee(members, task.data.features, task.seed).prepared(task.reference)


def _memory(task: Task) -> Learner:
    return Learner(MemoryTeacher(), task)


def _quick(task: Task) -> Learner:
    return Learner(QuickTeacher(), task)


def _tri_training(task: Task, estimator: PeerEstimator) -> Learner:
    teacher = TriTrainingKind(tri_training=estimator).build(task.data.features, task.seed)
    return Learner(teacher.prepared(task.reference).shown(task.pool), task)


def _anchors(task: Task) -> Learner:
    teacher = anchors_teacher(task.data.features, 1000, 3, task.seed)
    placed = teacher.prepared(task.reference).placed(task.spread)
    assert isinstance(placed, AnchorsTeacher)
    assert placed.columns is not None
    with hold_threads(1):
        graph = AnchorGraph.of(placed.columns.transform(task.pool))
    return Learner(placed.informed(graph), task)


def _neighbors(task: Task, method: Method) -> Learner:
    teacher = NeighborTeacher(GraphSettings(method=method), task.data.features, task.seed)
    placed = teacher.prepared(task.reference).placed(task.spread)
    assert placed.vectors is not None
    tables = (task.labeled.X, task.pool)
    with hold_threads(1):
        X = np.concatenate([placed.vectors.of(rows) for rows in tables])
    graph = graph_of(X, placed.settings.k)
    labeled, pool = (node_frame(ids) for ids in np.split(graph.ids, [len(task.labeled.codes)]))
    seen = replace(task, labeled=replace(task.labeled, X=labeled), pool=pool)
    return Learner(placed.joined(graph), seen)


def graph_of(X: Grid, k: int) -> NeighborGraph:
    """Return the graph of some vectors, whose ids are their numbers."""
    first, like = distinct_rows(X)
    some = min(k, len(first) - 1)
    places, distances = nearest(X[first], X[first], some, np.arange(len(first)))
    neighbors = np.full((len(first), k), -1, dtype=np.int32)
    squared = np.full((len(first), k), np.inf, dtype=np.float32)
    neighbors[:, :some], squared[:, :some] = first[places], distances
    in_order = np.empty(len(first), dtype=np.int32)
    in_order[spatial_order(X[first])] = np.arange(len(first))
    copies = np.setdiff1d(np.arange(len(X)), first)
    originals = first[like[copies]]
    found = FoundNeighbors(
        first.astype(np.int32),
        np.zeros(len(first), np.int32),
        in_order,
        neighbors,
        squared,
        copies.astype(np.int32),
        originals.astype(np.int32),
    )
    return NeighborGraph.of(np.arange(len(X), dtype=np.int64), [found])


_FEW_TREES = PeerEstimator(estimator="ExtraTreesClassifier", params={"n_estimators": 10})
_OTHERS: Mapping[str, Callable[[Task], Learner]] = {
    "memory": _memory,
    "quick": _quick,
    "tri": lambda task: _tri_training(task, PeerEstimator()),
    "tri_few": lambda task: _tri_training(task, _FEW_TREES),
    "tri_tree": lambda task: _tri_training(task, PeerEstimator(estimator="DecisionTreeClassifier")),
    "tri_lr": lambda task: _tri_training(task, PeerEstimator(estimator="LogisticRegression")),
    "anchors": _anchors,
    "propagation": lambda task: _neighbors(task, "propagation"),
    "spreading": lambda task: _neighbors(task, "spreading"),
    "poisson": lambda task: _neighbors(task, "poisson"),
}
LEARNERS = (*ESTIMATORS, *_OTHERS)
"""Names of all teachers."""
