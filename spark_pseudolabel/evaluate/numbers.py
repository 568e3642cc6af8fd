"""How good numbers are: errors of models, and what is published of a pool at what promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.numbers import RIGHT
from spark_pseudolabel.core.teachers.cross_fitting import NEVER_HELD_OUT, rounded
from spark_pseudolabel.core.teachers.number_model import LEAST, NumberModel
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.training_frame import joined_rows
from spark_pseudolabel.core.trust.certificate import CalibrationRows, Promise, certify
from spark_pseudolabel.evaluate.certificates import counts_of
from spark_pseudolabel.evaluate.measured import (
    NumberConfidence,
    NumberErrors,
    NumberPromises,
    Realized,
)
from spark_pseudolabel.evaluate.number_confidences import FEW, OTHERS, Said, known_of
from spark_pseudolabel.evaluate.number_task import CLASSES, NumberDraw
from spark_pseudolabel.registry import DEFAULT_NUMBER_COMMITTEE, Member

PROMISE = Promise(0.9, 0.95)
STUDENT_ROWS = 1500
"""Pool rows that a student learns from."""

STUDENTS = ("Ridge", "HistGradientBoostingRegressor")
_SUPERVISED: dict[str, Member] = {
    "HGB": ("HistGradientBoostingRegressor", {}),
    "ridge": ("Ridge", {}),
}
"""As scikit-learn has them, but for preprocessing."""


def errors_of(draw: NumberDraw) -> NumberErrors:
    """Return test errors of the committee, its members, students of it, a graph and the mean."""
    committee = draw.teacher(DEFAULT_NUMBER_COMMITTEE)
    fitted = committee.cross_fit(draw.labeled, draw.folds, CLASSES, mean=True)
    squared = np.nanmean((fitted.each - draw.y) ** 2, axis=1)
    names = [name for name, _ in DEFAULT_NUMBER_COMMITTEE]
    picked = names[int(squared.argmin())]
    auto = fitted.mean_model(CLASSES)
    rmse = {"auto": _rmse(draw, auto)}
    for name, params in DEFAULT_NUMBER_COMMITTEE:
        rmse[name] = _rmse(draw, _supervised(draw, (name, params)))
    rmse["cv_pick"] = rmse[picked]
    rmse["anchors"] = _rmse(draw, draw.anchors().fit(_unmeasured(draw.labeled), CLASSES))
    rmse["mean"] = float(np.sqrt(((draw.task.mean - draw.test_y) ** 2).mean()))
    for name, member in _SUPERVISED.items():
        rmse[f"sklearn {name}"] = _rmse(draw, _supervised(draw, member))
    taught = draw.pool.head(STUDENT_ROWS)
    numbers = auto.predict(taught)
    rows = joined_rows(
        draw.labeled,
        taught,
        np.ones((len(taught), 1)),
        np.ones(len(taught)),
        soft=False,
        values=numbers,
    )
    for name, params in DEFAULT_NUMBER_COMMITTEE:
        if name in STUDENTS:
            student = draw.teacher(((name, params),)).fit(_unmeasured(rows), CLASSES)
            rmse[f"student {name}"] = _rmse(draw, student)
    return NumberErrors(picked=picked, n_test=len(draw.test_y), rmse=rmse)


def _supervised(draw: NumberDraw, member: Member) -> NumberModel:
    return draw.teacher((member,)).fit(_unmeasured(draw.labeled), CLASSES)


def _unmeasured(rows: TrainingRows) -> TrainingRows:
    """Leave out what is learned of errors: only numbers are wanted."""
    return replace(rows, folds=np.full(len(rows.codes), NEVER_HELD_OUT, dtype=np.int32))


def _rmse(draw: NumberDraw, model: NumberModel) -> float:
    return float(np.sqrt(((model.predict(draw.test) - draw.test_y) ** 2).mean()))


def promises_of(draw: NumberDraw, learner: str = "few", *, others: bool = False) -> NumberPromises:
    """Certify a pool by out-of-fold confidences as runs do, and hold it against the truth.

    Parameters
    ----------
    draw
        The rows.
    learner
        As :meth:`.number_task.NumberDraw.learner` takes it.
    others
        Whether all other confidences are measured, too; else only :data:`.number_confidences.FEW`.
    """
    teacher = draw.learner(learner)
    fitted = teacher.cross_fit(draw.labeled, draw.folds, CLASSES, mean=True)
    says = fitted.mean_model(CLASSES).says(draw.pool)
    known = known_of(fitted, draw)
    methods = {"kept": Said(fitted.numbers[:, 1], says[:, 1])}
    for name in OTHERS if others else FEW:
        methods[name] = OTHERS[name](known, draw.task.interval)
    right = draw.task.codes(draw.y, fitted.numbers[:, 0])
    right_pool = draw.task.codes(draw.pool_y, says[:, 0])
    found = {name: _held(said, right, right_pool) for name, said in methods.items()}
    bounds = {"kept": (says[:, 2], says[:, 3])}
    bounds |= {
        name: (known.pool_value - said.away, known.pool_value + said.away)
        for name, said in methods.items()
        if said.away is not None
    }
    for name, (lower, upper) in bounds.items():
        inside = (lower <= draw.pool_y) & (draw.pool_y <= upper)
        width = float((upper - lower).mean() / draw.pool_y.std())
        found[name] = found[name].model_copy(
            update={"interval": float(inside.mean()), "width": width}
        )
    return NumberPromises(within=float((right_pool == RIGHT).mean()), methods=found)


def _held(said: Said, codes: NDArray[np.int32], pool_codes: NDArray[np.int32]) -> NumberConfidence:
    """Hold confidences, and what is certified by them, against the truth."""
    P = _rounded(said.pool)
    pool = CalibrationRows.from_scores(P, pool_codes)
    rows = CalibrationRows.from_scores(_rounded(said.labeled), codes)
    certificate = certify(PROMISE, counts_of(pool, 1), rows)
    (cut,) = certificate.plan({}, 1).cuts
    published = pool.confidence >= (np.inf if cut is None else cut.confidence)
    precision = float(pool.right[published].mean()) if published.any() else None
    order = np.argsort(-pool.confidence, kind="stable")
    enough = np.cumsum(pool.right[order]) >= PROMISE.precision * np.arange(1, len(order) + 1)
    return NumberConfidence(
        certified=Realized(
            coverage=float(published.mean()),
            precision=precision,
            broken=precision is not None and precision < PROMISE.precision,
        ),
        best=float((np.flatnonzero(enough).max(initial=-1) + 1) / len(order)),
        brier=float(((P[:, 0] - pool.right) ** 2).mean()),
        ece=_ece(P[:, 0], pool.right),
    )


def _rounded(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return confidences as one column of rounded probabilities."""
    return rounded(np.maximum(confidence, LEAST))[:, np.newaxis]


def _ece(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the mean distance of confidence and share of right labels over ten bins."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    apart = np.bincount(bins, weights=confidence - right, minlength=10)
    return float(np.abs(apart).sum() / len(right))
