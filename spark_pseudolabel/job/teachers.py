"""Who makes the models of a run, as its configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CODE, VALUE
from spark_pseudolabel.config import Config
from spark_pseudolabel.config.checks import feigned
from spark_pseudolabel.core.facts import TeacherFacts, TeacherMember
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.kind import NamedEstimator
from spark_pseudolabel.core.teachers.numbers import number_teacher, own_number_teacher
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.store.artifact import check_storable

_SAMPLE = 20


def teacher_of(
    config: Config,
    features: Sequence[Feature],
    own: BaseEstimator | None = None,
    numbers: NumberTask | None = None,
) -> Teacher:
    """Return who makes the seed model.

    Parameters
    ----------
    config
        The configuration.
    features
        What models are fitted on.
    own
        An estimator that is used as it is, in place of the one that `model` names.
    numbers
        What is asked of labels that are numbers; None: they are classes.
    """
    if config.teacher is None:
        return named_by(config, config.model.seed, features, own, numbers)
    if numbers is None:
        return config.teacher.build(features, config.random_state)
    return config.teacher.build_for_numbers(features, config.random_state, numbers)


def student_of(
    config: Config,
    features: Sequence[Feature],
    own: BaseEstimator | None = None,
    numbers: NumberTask | None = None,
) -> Teacher | None:
    """Return who makes the models after it; None: who makes the seed model. See `teacher_of`."""
    if config.student is None:
        return None
    # An estimator of one's own is the one that `model` names: the student of a teacher.
    is_own = config.teacher is not None
    return named_by(config, config.student, features, own if is_own else None, numbers)


def named_by(
    config: Config,
    named: NamedEstimator,
    features: Sequence[Feature],
    own: BaseEstimator | None = None,
    numbers: NumberTask | None = None,
) -> Teacher:
    """Return who makes models with the estimator that a section names, or with one's own."""
    like_sklearn = config.mode == "sklearn"
    if numbers is not None:
        if own is not None:
            return own_number_teacher(own, features, config.random_state, numbers)
        member = (named.estimator, named.params)
        return number_teacher([member], features, config.random_state, numbers)
    if own is not None:
        return EstimatorTeacher(own, named=not like_sklearn)
    return registered_estimator(
        named.estimator,
        named.params,
        features,
        config.random_state,
        like_sklearn=like_sklearn,
    )


def taught_by(config: Config, teacher: Teacher, fitted: CrossFit) -> TeacherFacts | None:
    """Return who has made a first model; None where no section ``teacher`` says so.

    Parameters
    ----------
    config
        The configuration.
    teacher
        As it was when it made the models.
    fitted
        The models of the folds.
    """
    kind = config.teacher
    if kind is None:
        return None
    scores = fitted.members or [None] * max(len(teacher.member_names), 1)
    names = teacher.member_names or [kind.name]
    if len(names) < len(scores):  # of one estimator, taught by each other
        names = [f"{kind.name} {number}" for number in range(1, len(scores) + 1)]
    voters = fitted.voters or len(names)
    members = tuple(
        TeacherMember(name, 1 / voters if number < voters else 0.0, None, None)
        if score is None
        else TeacherMember(name, round(score.weight, 6), score.coverage, score.accuracy)
        for number, (name, score) in enumerate(zip(names, scores, strict=True))
    )
    settings = {**kind.parameters, **teacher.adapted, **fitted.settled}
    return TeacherFacts(kind.name, settings, members)


def require_usable(
    teacher: Teacher,
    student: Teacher,
    setting: Setting,
    own: BaseEstimator | None = None,
    trusted: Sequence[str] = (),
) -> None:
    """Refuse, before anything is fitted, estimators that can't be stored or weighted.

    Parameters
    ----------
    teacher, student
        Who makes models.
    setting
        Of the run.
    own, trusted
        An estimator of the user's own, and further types that it may hold.

    Raises
    ------
    InputError
        Naming the type that is not trusted, the parameter that feigns other class shares than
        those a correction starts from, or the estimator without ``sample_weight``.
    """
    makers = [teacher] if student is teacher else [teacher, student]
    for estimator in (estimator for maker in makers for estimator in maker.estimators):
        # An estimator of the user's own may hold types that show only once it is fitted.
        check_storable(estimator, trusted, _sample(setting.inputs) if estimator is own else None)
        if setting.estimates_prior and (params := feigned(estimator.get_params(deep=True))):
            raise InputError(
                f"{params[0]} must be left out with labeled.drawn: per_class: scores are "
                "corrected from the class shares of the rows that a model has learned from, "
                "and it pretends others.",
                code="feigned_shares",
            )
    if setting.weighting.needed and not student.takes_weights:
        raise InputError(
            f"{student.name} takes no sample_weight, which training.pseudo_weight, "
            "training.max_pseudo_weight and soft labels need. Choose another estimator.",
            code="no_sample_weight",
        )


def _sample(inputs: Inputs) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Return a few labeled rows of every class, to fit a throw-away copy on."""
    codes = inputs.labeled.column(CODE).to_numpy()
    rows = [np.flatnonzero(codes == code)[:_SAMPLE] for code in range(len(inputs.classes))]
    few = inputs.labeled.take(np.concatenate(rows))
    if inputs.numbers is not None:
        return to_frame(few, inputs.features), few.column(VALUE).to_numpy()
    y = np.asarray(inputs.classes)[few.column(CODE).to_numpy()]
    return to_frame(few, inputs.features), y
