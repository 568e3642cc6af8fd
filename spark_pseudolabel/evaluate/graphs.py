"""A committee with a graph and without one, from the same fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.teachers.anchor_graph import AnchorGraph
from spark_pseudolabel.core.teachers.anchors import AnchorsTeacher, anchors_teacher
from spark_pseudolabel.core.teachers.committee import Committee
from spark_pseudolabel.core.teachers.cross_fitting import (
    Weigh,
    by_mixture,
    cross_fit,
    fold_of,
    probabilities,
)
from spark_pseudolabel.core.teachers.gate import gated_weights
from spark_pseudolabel.core.teachers.graph_member import CommitteeWithAnchors
from spark_pseudolabel.core.teachers.kinds.anchors import AnchorSettings
from spark_pseudolabel.core.teachers.reference import Reference, rows_to_draw
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote
from spark_pseudolabel.evaluate.task import Task

Matrix = NDArray[np.float64]


def anchors_of(task: Task) -> AnchorsTeacher:
    """Return an anchor graph over the pool, with the settings that it has by default."""
    data, settings = task.data, AnchorSettings(graph="anchors")
    labeled = task.labeled.X
    spread = Reference.of(labeled, task.pool.head(rows_to_draw(labeled))).spread
    teacher = anchors_teacher(data.features, settings.anchors, settings.neighbors, task.seed)
    teacher = teacher.placed(spread)
    assert teacher.columns is not None
    return teacher.informed(AnchorGraph.of(teacher.columns.transform(task.pool)))


@dataclass
class _Fits:
    """Fits of one teacher, each made once."""

    teacher: Teacher
    known: dict[bytes, BaseEstimator] = field(default_factory=dict)

    def __call__(self, rows: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
        key = rows.X.index.to_numpy().tobytes()
        if key not in self.known:
            self.known[key] = self.teacher.fit(rows, classes)
        return self.known[key]


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
    both = _Fits(CommitteeWithAnchors(committee.members, anchors_of(task)))

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
