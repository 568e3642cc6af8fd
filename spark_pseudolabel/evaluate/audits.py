"""How often bounds of audits fail, and how many answers they need."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spark_pseudolabel.core.teachers.cross_fitting import probabilities
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.trust.audit import Prior, level_of, limit_of, log_ratio
from spark_pseudolabel.core.trust.finite_population import allowed_wrong
from spark_pseudolabel.evaluate.measured import Audited
from spark_pseudolabel.evaluate.task import SHIFTS, Task

PRECISION = 0.95
ROUNDS = 50
_ROWS = 400
_MOST, _LARGE = 2000, 20_000
_ACCEPTED = 0.9


class _Peeked(NamedTuple):
    """Answers looked at one by one: whether a bound ever failed, and when it was settled."""

    broken: bool
    answers: int
    shown: bool | None


def audit_rounds(seed: int) -> Audited:
    """Audit fifty rounds of one run, whose model learns from every answer.

    Two normal classes that drift from round to round, a model of class means. Each round labels
    what it is sure of, and its rows are asked to the last one in an order of chance, looked at
    after each answer: nobody can look more often. Answers are trained on.
    """
    chance, prior = np.random.default_rng([seed, ROUNDS]), Prior()
    drift = chance.normal(size=2) * 0.03
    X, y = _two_classes(chance, 40, np.zeros(2))
    n_answers, broken = 0, False
    for number in range(1, ROUNDS + 1):
        pool, truth = _two_classes(chance, _ROWS, number * drift)
        direction = X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)
        score = (pool - (X[y == 1].mean(axis=0) + X[y == 0].mean(axis=0)) / 2) @ direction
        sure = np.abs(score) > np.quantile(np.abs(score), 0.2)
        rows = chance.permutation(np.flatnonzero(sure))
        wrong = (score[rows] > 0) != (truth[rows] == 1)
        peeked = _peek(wrong, len(wrong), level_of(number), prior, stop=False)
        n_answers += peeked.answers
        broken = broken or peeked.broken
        answered = rows[: peeked.answers]
        X, y = np.concatenate([X, pool[answered]]), np.concatenate([y, truth[answered]])
    return Audited(broken=broken, answers=n_answers, shown=None)


def _two_classes(
    chance: np.random.Generator, n: int, moved: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    y = chance.integers(2, size=n)
    return chance.normal(size=(n, 2)) + (2 * y[:, np.newaxis] - 1) + moved, y


def audit_large(percent: float, seed: int) -> Audited:
    """Audit 20,000 labels of which so many per cent are wrong, by the output's first audit."""
    chance = np.random.default_rng([seed, round(100 * percent)])
    wrong = np.zeros(_LARGE, dtype=np.bool_)
    wrong[: round(percent / 100 * _LARGE)] = True
    peeked = _peek(chance.permutation(wrong), _MOST, level_of(1), Prior())
    return Audited(broken=peeked.broken, answers=peeked.answers, shown=peeked.shown)


def audit_task(learner: Teacher, task: Task) -> Audited:
    """Audit what a model is sure of in a pool that has moved away from its labeled rows."""
    moved = SHIFTS["moved"](task)
    P = probabilities(learner.fit(task.labeled, task.data.classes), moved.pool)
    sure = P.max(axis=1) > _ACCEPTED
    wrong = (P.argmax(axis=1) != moved.pool_codes)[sure]
    order = np.random.default_rng([task.seed, 2]).permutation(len(wrong))
    peeked = _peek(wrong[order], _MOST, level_of(1), Prior())
    return Audited(
        broken=peeked.broken,
        answers=peeked.answers,
        shown=peeked.shown,
        precision=float(1 - wrong.mean()) if len(wrong) else None,
    )


def _peek(
    wrong: NDArray[np.bool_], most: int, level: float, prior: Prior, *, stop: bool = True
) -> _Peeked:
    """Look after each answer; stop where it is settled whether 0.95 is right."""
    rows, in_all = len(wrong), int(wrong.sum())
    if not rows:
        return _Peeked(broken=False, answers=0, shown=None)
    answers = np.arange(1, min(most, rows) + 1)
    errors = np.cumsum(wrong.astype(np.int64))[: len(answers)]
    limit, allowed = limit_of(level, rows), allowed_wrong(1 - PRECISION, rows)
    right = _ruled_out(allowed + 1, rows, answers, errors, prior) >= limit
    refuted = _ruled_out(allowed, rows, answers, errors, prior) >= limit
    likeliest = errors * (rows + 1) // answers
    settled = np.flatnonzero((right & (likeliest <= allowed)) | (refuted & (likeliest > allowed)))
    n = int(settled[0]) + 1 if len(settled) and stop else len(answers)
    ratios = log_ratio(in_all, rows, answers[:n], errors[:n], prior)
    shown = bool(likeliest[n - 1] <= allowed) if len(settled) else None
    return _Peeked(bool((ratios >= limit).any()), n, shown)


def _ruled_out(
    number: int,
    rows: int,
    answers: NDArray[np.int64],
    errors: NDArray[np.int64],
    prior: Prior,
) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = log_ratio(number, rows, answers, errors, prior)
    return ratios
