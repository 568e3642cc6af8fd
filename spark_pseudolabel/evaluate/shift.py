"""Whether what voids a certificate is noticed, and how often it is where it is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.cross_fitting import fold_of
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.trust.shift import SAMPLE, prior_shift, representativeness
from spark_pseudolabel.core.trust.units import first_of
from spark_pseudolabel.evaluate.measured import Alarm, Gate
from spark_pseudolabel.evaluate.task import Task

GATE_ROWS = 1000


LINEAR = ("LogisticRegression", {"max_iter": 1000})


def alarm(task: Task, estimator: tuple[str, Mapping[str, Any]] = LINEAR) -> Alarm:
    """Ask whether labels look like a class-balanced sample, by a model's predictions."""
    n_classes = len(task.data.classes)
    name, params = estimator
    learner = registered_estimator(name, params, task.data.features, task.seed)
    learner = learner.prepared(task.reference)
    folds = fold_of(task.labeled.codes, task.hashes)
    fitted = learner.cross_fit(task.labeled, folds, task.data.classes, mean=True)
    sample = task.pool.head(SAMPLE)
    hashes = np.random.default_rng(task.seed).permutation(len(sample)).astype(np.int64)
    pool = fitted.score_apart(sample, hashes).argmax(axis=1)
    own = fitted.P[fitted.held_out].argmax(axis=1)
    shift = prior_shift(
        *(np.bincount(codes, minlength=n_classes) for codes in (task.labeled.codes, own, pool))
    )
    return Alarm(alarm=shift.drawn_per_class, p_value=shift.p_value)


def gate(
    task: Task,
    units: NDArray[np.int64] | None = None,
    mixed: NDArray[np.bool_] | None = None,
) -> Gate:
    """Ask whether the labeled rows stand for the pool: one row of each unit and of each group.

    With a prior those that are `mixed` as it says.
    """
    chance = np.random.default_rng(task.seed)
    labeled, pool, hashes = task.labeled.X, task.pool.head(GATE_ROWS), task.hashes
    if mixed is not None:
        labeled, hashes = labeled[mixed].reset_index(drop=True), hashes[mixed]
        units = None if units is None else units[mixed]
    if units is not None:
        labeled = labeled[first_of(units, hashes)].reset_index(drop=True)
    if task.pool_groups is not None:
        sampled = np.sort(chance.permutation(len(task.pool))[:GATE_ROWS])
        once = first_of(task.pool_groups[sampled], np.arange(len(sampled)))
        pool = task.pool.iloc[sampled[once]].reset_index(drop=True)
    hashes = chance.permutation(len(labeled) + len(pool)).astype(np.int64)
    shift = representativeness(labeled, pool, task.data.features, hashes, task.seed)
    return Gate(shifted=shift.shifted, auc=shift.auc, outside=shift.outside)
