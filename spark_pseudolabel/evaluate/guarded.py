"""What a guard keeps: every model of a run, on the rows that the guard sees and on test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.facts import LossComparison
from spark_pseudolabel.core.rounds import ModelFacts, best_model
from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    fold_of,
    probabilities,
    subset,
)
from spark_pseudolabel.core.teachers.distillation import cross_fit_student, fit_student
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training_frame import joined_rows
from spark_pseudolabel.core.trust.guard import (
    MARGIN,
    Losses,
    compare,
    compare_losses,
)
from spark_pseudolabel.evaluate.measured import Guarded, PoolRuns, Seen
from spark_pseudolabel.evaluate.shift import gate
from spark_pseudolabel.evaluate.task import SHIFTS, Task

Matrix = NDArray[np.float64]
Models = Sequence[Seen]
Guard = Callable[[Models, bool], int]
"""Models of a run and whether the gate fired: the position of the one that is kept."""

THRESHOLD, ROUNDS, STUDENT_ROWS = 0.9, 3, 1500


def runs_of(learner: Teacher, task: Task) -> Guarded:
    """Run a student and rounds by threshold, on the pool and on pools unlike the labeled rows."""
    teacher = teacher_of(learner, task)
    pools = {"none": task} | {name: change(task) for name, change in SHIFTS.items()}
    runs = {
        name: PoolRuns(
            shifted=gate(changed).shifted,
            student=student_of(learner, teacher, changed),
            rounds=rounds_of(learner, teacher.folds, changed),
        )
        for name, changed in pools.items()
    }
    return Guarded(n_test=len(task.test_codes), pools=runs)


def teacher_of(learner: Teacher, task: Task) -> CrossFit:
    """Cross-fit a teacher."""
    folds = fold_of(task.labeled.codes, task.hashes)
    return learner.cross_fit(task.labeled, folds, task.data.classes, mean=True)


def student_of(learner: Teacher, teacher: CrossFit, task: Task) -> list[Seen]:
    """Measure a cross-fitted teacher, and a student that learned from all it says about the pool.

    `learner` makes the student.
    """
    classes, X = task.data.classes, task.pool.head(STUDENT_ROWS)
    seed, ones = teacher.mean_model(classes), np.ones(len(X))
    student = fit_student(learner.fit, seed, task.labeled, X, ones, classes)
    out_of_fold = cross_fit_student(learner.fit, teacher, task.labeled, X, ones, classes)
    known = teacher.held_out
    codes = task.labeled.codes[known]
    return [
        _measured(model, task, P[known], codes)
        for model, P in ((seed, teacher.P), (student, out_of_fold))
    ]


def rounds_of(learner: Teacher, folds: NDArray[np.int32], task: Task) -> list[Seen]:
    """Measure the models of rounds that add confident rows; the rows of fold 0 validate them."""
    own, classes = subset(task.labeled, folds != 0), task.data.classes
    held_out = subset(task.labeled, folds == 0)
    labels = np.full(len(task.pool), -1)
    models = [learner.fit(own, classes)]
    while len(models) <= ROUNDS:
        P = probabilities(models[-1], task.pool)
        new = (labels < 0) & (P.max(axis=1) > THRESHOLD)
        if not new.any():
            break
        labels[new] = P.argmax(axis=1)[new]
        accepted = labels >= 0
        hard = np.eye(len(classes))[labels[accepted]]
        X = task.pool[accepted]
        rows = joined_rows(own, X, hard, np.ones(len(X)), soft=False)
        models.append(learner.fit(rows, classes))
    return [
        _measured(model, task, probabilities(model, held_out.X), held_out.codes) for model in models
    ]


def _measured(model: BaseEstimator, task: Task, P: Matrix, codes: NDArray[np.int32]) -> Seen:
    right = probabilities(model, task.test).argmax(axis=1) == task.test_codes
    seen = Losses.of(P, codes)
    return Seen(
        accuracy=float(100 * right.mean()),
        log_loss=seen.log.round(6).tolist(),
        squared=seen.squared.round(6).tolist(),
        right=seen.right.astype(int).tolist(),
    )


def _student(used: Callable[[LossComparison], bool], *, gated: bool = False) -> Guard:
    return lambda models, shifted: int(used(_losses(*models)) and not (gated and shifted))


def _rounds(dropped: Callable[[Seen, Seen], bool]) -> Guard:
    """Stop at the first model that drops against the best before it, and keep that one."""

    def kept(models: Models, shifted: bool) -> int:
        facts = [_facts(number, model) for number, model in enumerate(models)]
        for number, model in enumerate(models[1:], start=1):
            best = best_model(facts[:number]).number
            if dropped(models[best], model):
                return best
        return len(models) - 1

    return kept


GUARDS: Mapping[str, Mapping[str, Guard]] = {
    "student": {
        "none": _student(lambda losses: True),
        "lower loss": _student(lambda losses: losses.improved),
        "lower by a standard error": _student(
            lambda losses: losses.best - losses.new > MARGIN * losses.standard_error
        ),
        "as often right": _student(lambda losses: losses.better >= losses.worse),
        "surely better": _student(lambda losses: losses.usable),
        "surely better, and the gate": _student(lambda losses: losses.usable, gated=True),
    },
    "rounds": {
        "none": lambda models, shifted: len(models) - 1,
        "paired test": _rounds(lambda best, new: compare(0, *_right(best, new)).dropped),
        "loss not higher": _rounds(lambda best, new: not _losses(best, new).improved),
        "paired test, and the gate": lambda models, shifted: (
            0 if shifted else GUARDS["rounds"]["paired test"](models, shifted)
        ),
    },
}
"""What is compared: "surely better, and the gate" is what runs do with a student, "paired test"
what they do with rounds that validation rows measure."""


def _facts(number: int, model: Seen) -> ModelFacts:
    return ModelFacts(number, float(np.mean(model.right)), float(np.mean(model.log_loss)))


def _losses(best: Seen, new: Seen) -> LossComparison:
    return compare_losses(_losses_of(best), _losses_of(new))


def _losses_of(model: Seen) -> Losses:
    return Losses(np.array(model.log_loss), np.array(model.squared), *_right(model))


def _right(*models: Seen) -> list[NDArray[np.bool_]]:
    return [np.array(model.right, dtype=bool) for model in models]
