"""What a certificate may come to, estimated from the labeled rows alone, before a run.

Nothing of the pool is scored: a linear model is fitted in folds, and its scores of the labeled rows
stand for those of the pool. The run's own models are mostly better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.selection.counts import BINS, Counts, bin_of
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.teachers.cross_fitting import fold_of, probabilities, rounded
from spark_pseudolabel.core.teachers.estimator import registered_estimator
from spark_pseudolabel.core.teachers.numbers import number_teacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import labeled_rows
from spark_pseudolabel.core.trust.evidence import CalibrationRows, dependence_of
from spark_pseudolabel.core.trust.priors import correct, shares
from spark_pseudolabel.core.trust.survey import Survey, survey
from spark_pseudolabel.core.trust.units import GroupSizes
from spark_pseudolabel.job.decide import given_rows, promise_of, untested_labels
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.spark.groups import group_numbers

ESTIMATOR, OF_NUMBERS = "LogisticRegression", "Ridge"
_MOST_ROWS = 5_000
_MOST_STEPS = 200


@dataclass(frozen=True)
class Expected:
    """An estimate of what could be promised.

    Parameters
    ----------
    rows
        Labeled rows that it rests on, copies and groups counted once.
    estimator
        Whose scores of them stand for the pool's.
    survey
        Of a pool that is scored as they are.
    """

    rows: int
    estimator: str
    survey: Survey


def expected(setting: Setting) -> Expected | None:
    """Estimate what a run could promise; None where it may not, or nothing can be said.

    Of many labeled rows, those with the lowest hash count.
    """
    config, inputs = setting.config, setting.inputs
    chosen = config.certified
    if chosen is None or not inputs.pool_rows or _refused(setting):
        return None
    rows = _calibration(setting, chosen)
    if rows is None:
        return None
    counts = _as_pool(rows, len(inputs.classes), inputs.pool_rows)
    found = survey(promise_of(chosen), counts, rows, given_rows(setting, chosen))
    return Expected(len(rows), ESTIMATOR if inputs.numbers is None else OF_NUMBERS, found)


def _refused(setting: Setting) -> bool:
    """Whether a run would claim nothing, by what is known already."""
    groups, per_class = setting.inputs.groups, setting.config.drawn == "per_class"
    return (
        (per_class and setting.given_prior is None)
        or (groups is not None and groups.pool is None)
        or bool(untested_labels(setting))
    )


def _calibration(setting: Setting, chosen: Certified) -> CalibrationRows | None:
    """Return the rows to test, scored by a linear model that has not seen them."""
    inputs, prior = setting.inputs, setting.given_prior
    hashes = setting.row_hashes(inputs.labeled)
    some = np.sort(np.argsort(hashes, kind="stable")[:_MOST_ROWS])
    table = inputs.labeled.take(some)
    labeled, units, hashes = (
        labeled_rows(table, inputs.features),
        setting.units.labeled[some],
        hashes[some],
    )
    folds = fold_of(labeled.codes, hashes, units=units)
    if folds.max(initial=-1) < 1:
        return None
    if inputs.numbers is not None:
        return _of_numbers(setting, replace(labeled, folds=folds), units, hashes, inputs.numbers)
    if len(np.unique(labeled.codes)) < 2:
        return None
    learner = registered_estimator(
        ESTIMATOR, {"max_iter": _MOST_STEPS}, inputs.features, setting.config.random_state
    )
    seen: NDArray[np.bool_] | None = None
    if chosen.scores == "out_of_fold":
        fitted = learner.cross_fit(labeled, folds, inputs.classes, mean=False)
        codes, P, known = labeled.codes, fitted.P, fitted.held_out
    else:
        table, units = inputs.validation, setting.units.validation
        hashes, seen = setting.row_hashes(table), setting.units.seen
        codes = labeled_rows(table, inputs.features).codes
        model = learner.fit(labeled, inputs.classes)
        P = probabilities(model, to_frame(table, inputs.features))
        known = np.ones(len(codes), dtype=bool)
    if not known.any():
        return None
    if prior is not None:
        P = rounded(correct(P, shares(labeled.codes, len(inputs.classes)), prior))
    tested = setting.mixed_as(prior, table, known)
    return CalibrationRows.from_scores(
        P[tested],
        codes[tested],
        0 if prior is not None or seen is not None else len(np.unique(units[~known])),
        dependence_of(
            units[tested],
            hashes[tested],
            _group_sizes(setting),
            None if seen is None else seen[tested],
        ),
    )


def _of_numbers(
    setting: Setting,
    labeled: TrainingRows,
    units: NDArray[np.int64],
    hashes: NDArray[np.int64],
    task: NumberTask,
) -> CalibrationRows:
    """Return labeled rows to test, their numbers said by linear models that have not seen them."""
    inputs, config = setting.inputs, setting.config
    assert labeled.values is not None
    assert labeled.folds is not None
    learner = number_teacher([(OF_NUMBERS, {})], inputs.features, config.random_state, task)
    fitted = learner.cross_fit(labeled, labeled.folds, inputs.classes)
    assert fitted.numbers is not None
    codes, known = task.codes(labeled.values, fitted.numbers[:, 0]), fitted.held_out
    dependence = dependence_of(units[known], hashes[known], _group_sizes(setting))
    return CalibrationRows.from_scores(fitted.P[known], codes[known], 0, dependence)


def _group_sizes(setting: Setting) -> GroupSizes | None:
    """Return the sizes of the pool's groups, if they are those of the labeled ones."""
    groups = setting.inputs.groups
    if groups is None:
        return None
    sizes, counts = np.unique(np.bincount(group_numbers(groups.labeled)), return_counts=True)
    times = setting.inputs.pool_rows / max(1, setting.inputs.labeled.num_rows)
    return GroupSizes(
        {int(size): max(1, round(n * times)) for size, n in zip(sizes, counts, strict=True)}
    )


def _as_pool(rows: CalibrationRows, n_classes: int, n_pool: int) -> Counts:
    """Return a pool of so many rows that is scored as these."""
    n = np.zeros((n_classes, BINS), dtype=np.int64)
    np.add.at(n, (rows.codes, bin_of(rows.confidence)), 1)
    flat = n[:, ::-1].ravel()
    # Rounded as they add up, so that all of them are as many as the pool has.
    upto = np.round(np.cumsum(flat) * (n_pool / max(1, flat.sum()))).astype(np.int64)
    scaled = np.diff(upto, prepend=0).reshape(n.shape)[:, ::-1]
    return Counts(np.ascontiguousarray(scaled))
