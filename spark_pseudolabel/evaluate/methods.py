"""The methods that are compared, each by its probabilities on the test rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import SelfTrainingClassifier

from spark_pseudolabel.core.facts import LossComparison
from spark_pseudolabel.core.teachers.committee import Committee, registered_committee
from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    fold_of,
    probabilities,
)
from spark_pseudolabel.core.teachers.distillation import cross_fit_student, fit_student
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.estimators import final_step
from spark_pseudolabel.core.teachers.kind import PeerEstimator, TeacherKind
from spark_pseudolabel.core.teachers.kinds.tri_training import TriTrainingKind
from spark_pseudolabel.core.teachers.kinds.views import ViewsKind
from spark_pseudolabel.core.teachers.training_frame import joined_rows
from spark_pseudolabel.core.teachers.tri_training import TriTraining
from spark_pseudolabel.core.teachers.vote import members_of, weights_of
from spark_pseudolabel.core.teachers.weights import PseudoWeights
from spark_pseudolabel.core.trust.certificate import CalibrationRows
from spark_pseudolabel.core.trust.guard import compare_scores
from spark_pseudolabel.evaluate.certificates import counts_of
from spark_pseudolabel.evaluate.graphs import around, with_anchors
from spark_pseudolabel.evaluate.task import Task
from spark_pseudolabel.registry import DEFAULT_COMMITTEE, DEFAULT_PEER

Matrix = NDArray[np.float64]
STUDENTS = ("LogisticRegression", "ExtraTreesClassifier", "HistGradientBoostingClassifier")
"""Members of the committee that are tried as its students."""

STUDENT_ROWS = 1500
"""Pool rows that a student learns from."""


@dataclass(frozen=True)
class Ours:
    """Everything that methods make of a task, step by step and each step once.

    Parameters
    ----------
    task
        The rows.
    weights
        Of the student's pseudo-labeled rows.
    """

    task: Task
    weights: PseudoWeights = field(default_factory=PseudoWeights)

    @cached_property
    def committee(self) -> Committee:
        teacher = registered_committee(DEFAULT_COMMITTEE, self.task.data.features, self.task.seed)
        return teacher.prepared(self.task.reference)

    @cached_property
    def learners(self) -> Mapping[str, EstimatorTeacher]:
        """The members of the committee, by the name of the estimator."""
        return {name.split("_")[1]: learner for name, learner in self.committee.members.items()}

    @cached_property
    def bases(self) -> Mapping[str, BaseEstimator]:
        fitted = self.committee.fit(self.task.labeled, self.task.data.classes)
        return dict(zip(self.learners, members_of(fitted), strict=True))

    @cached_property
    def picked(self) -> str:
        """The base with the best accuracy out of fold."""
        right = dict.fromkeys(self.learners, 0)
        for fold, committee in enumerate(self.teacher.models):
            held_out = self.teacher.folds == fold
            X, codes = self.task.labeled.X[held_out], self.task.labeled.codes[held_out]
            for name, model in zip(right, members_of(committee), strict=True):
                right[name] += int((probabilities(model, X).argmax(axis=1) == codes).sum())
        return max(right, key=lambda name: right[name])

    @cached_property
    def teacher(self) -> CrossFit:
        folds = fold_of(self.task.labeled.codes, self.task.hashes)
        return self.committee.cross_fit(self.task.labeled, folds, self.task.data.classes, mean=True)

    @cached_property
    def mean_model(self) -> BaseEstimator:
        return self.teacher.mean_model(self.task.data.classes)

    @cached_property
    def sample(self) -> pd.DataFrame:
        return self.task.pool.head(STUDENT_ROWS)

    @cached_property
    def pseudo_weights(self) -> Matrix:
        P = probabilities(self.mean_model, self.sample)
        rows = CalibrationRows.from_scores(P, P.argmax(axis=1).astype(np.int32))
        counts = counts_of(rows, P.shape[1])
        return self.weights.of(rows.confidence, counts, len(self.task.labeled.codes))

    @cached_property
    def students(self) -> Mapping[str, BaseEstimator]:
        """The students, each fitted on labeled rows and on the teacher's scores of the sample."""
        task = self.task
        rows = (task.labeled, self.sample, self.pseudo_weights, task.data.classes)
        return {
            name: fit_student(self.learners[name].fit, self.mean_model, *rows) for name in STUDENTS
        }

    @cached_property
    def guards(self) -> Mapping[str, LossComparison]:
        """Each student against the teacher, on labeled rows that neither has seen."""
        task, known = self.task, self.teacher.held_out
        rows = (task.labeled, self.sample, self.pseudo_weights, task.data.classes)
        codes, seed = task.labeled.codes[known], self.teacher.P[known]
        return {
            name: compare_scores(
                seed, cross_fit_student(self.learners[name].fit, self.teacher, *rows)[known], codes
            )
            for name in STUDENTS
        }

    @property
    def weights_by_fold(self) -> list[list[float]]:
        """What each member weighs in the committee of each fold."""
        return [weights_of(model) for model in self.teacher.models]


def distilled(steps: Ours) -> dict[str, Matrix]:
    """Score the test rows with each student, and with what the guard makes of it."""
    test, scored = steps.task.test, {}
    seed = probabilities(steps.mean_model, test)
    for name, model in steps.students.items():
        P = probabilities(model, test)
        scored[f"student {name}"] = P
        scored[f"guarded {name}"] = P if steps.guards[name].usable else seed
    return scored


def supervised(steps: Ours) -> dict[str, Matrix]:
    """Score the test rows with every base, the one that does best in folds, and committees of them.

    The members of the teacher's fold models are the bases, fitted on the same folds.
    """
    test = steps.task.test
    bases = {name: probabilities(model, test) for name, model in steps.bases.items()}
    of_folds = [
        probabilities(member, test)
        for committee in steps.teacher.models
        for member in members_of(committee)
    ]
    return bases | {
        "cv_pick": bases[steps.picked],
        "committee": np.mean(list(bases.values()), axis=0),
        "equal": np.mean(of_folds, axis=0),
        "auto": probabilities(steps.mean_model, test),
    }


def self_training(steps: Ours, threshold: float) -> Matrix:
    """Score the test rows with scikit-learn's own loop around the picked base.

    It takes no table with text in it, so that the preprocessing stands before the loop.
    """
    task, base = steps.task, steps.learners[steps.picked]
    columns = base.columns or FunctionTransformer(np.asarray)
    estimator = final_step(base.estimator)
    labeled = columns.transform(task.labeled.X)
    pool = columns.transform(task.pool)
    X = vstack([labeled, pool]) if issparse(labeled) else np.concatenate([labeled, pool])
    y = np.concatenate([task.labeled.codes, np.full(len(task.pool), -1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop = SelfTrainingClassifier(estimator, threshold=threshold).fit(X, y)
    return probabilities(loop, columns.transform(task.test))


def one_shot(steps: Ours) -> Matrix:
    """Score the test rows with the picked base, fitted again on all its own hard labels."""
    task, learner = steps.task, steps.learners[steps.picked]
    P = probabilities(steps.bases[steps.picked], task.pool)
    rows = joined_rows(task.labeled, task.pool, P, np.ones(len(P)), soft=False)
    return probabilities(learner.fit(rows, task.data.classes), task.test)


def agreement(steps: Ours) -> Matrix:
    """Score the test rows with a committee that also learned the rows its members agree on."""
    task = steps.task
    each = [probabilities(model, task.pool).argmax(axis=1) for model in steps.bases.values()]
    agreed = np.all([codes == each[0] for codes in each], axis=0)
    P = np.eye(len(task.data.classes))[each[0][agreed]]
    X = task.pool[agreed]
    rows = joined_rows(task.labeled, X, P, np.ones(len(X)), soft=False)
    return probabilities(steps.committee.fit(rows, task.data.classes), task.test)


def three_learners(steps: Ours) -> Matrix:
    """Score the test rows with the committee's first three kinds of model, tri-trained."""
    task, first = steps.task, dict(list(steps.committee.members.items())[:3])
    teacher = TriTraining(first, task.seed, task.pool)
    return probabilities(teacher.fit(task.labeled, task.data.classes), task.test)


def peers(steps: Ours) -> dict[str, Matrix]:
    """Score the test rows with teachers of one estimator that is taught on the pool, and with it.

    Each as a run makes it: the mean of the models of five folds. One view has every second column.
    """
    task = steps.task
    data, folds = task.data, fold_of(task.labeled.codes, task.hashes)
    names = [feature.name for feature in data.features]
    kinds: dict[str, TeacherKind] = {"tri trees": TriTrainingKind(tri_training=PeerEstimator())}
    if len(names) > 1:
        kinds["co trees"] = ViewsKind(views=(tuple(names[::2]), tuple(names[1::2])))
    teachers = {name: kind.build(data.features, task.seed) for name, kind in kinds.items()}
    teachers["trees"] = registered_estimator(*DEFAULT_PEER, data.features, task.seed)
    scored = {}
    for name, teacher in teachers.items():
        ready = teacher.prepared(task.reference).shown(task.pool)
        fitted = ready.cross_fit(task.labeled, folds, data.classes)
        scored[name] = probabilities(fitted.mean_model(data.classes), task.test)
    return scored


def graphs(steps: Ours) -> dict[str, Matrix]:
    """Score the test rows with the committee, and with an anchor graph as one more member."""
    return dict(with_anchors(steps.task, steps.committee))


def correct_and_smooth(steps: Ours) -> dict[str, Matrix]:
    """Score the test rows with the committee as it is, and corrected and smoothed."""
    return dict(around(steps.task, steps.committee))
