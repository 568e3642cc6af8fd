"""Who makes the models of a run, as its configuration says."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.base import BaseEstimator

from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher, registered_estimator
from spark_pseudolabel.core.teachers.kind import NamedEstimator
from spark_pseudolabel.core.teachers.teacher import Teacher


def teacher_of(
    config: Config, features: Sequence[Feature], own: BaseEstimator | None = None
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
    """
    if config.teacher is not None:
        return config.teacher.build(features, config.random_state)
    return named_by(config, config.model.seed, features, own)


def student_of(
    config: Config, features: Sequence[Feature], own: BaseEstimator | None = None
) -> Teacher | None:
    """Return who makes the models after it; None: who makes the seed model. See `teacher_of`."""
    if config.student is None:
        return None
    # An estimator of one's own is the one that `model` names: the student of a teacher.
    is_own = config.teacher is not None
    return named_by(config, config.student, features, own if is_own else None)


def named_by(
    config: Config,
    named: NamedEstimator,
    features: Sequence[Feature],
    own: BaseEstimator | None = None,
) -> Teacher:
    """Return who makes models with the estimator that a section names, or with one's own."""
    if own is not None:
        return EstimatorTeacher(own)
    return registered_estimator(
        named.estimator,
        named.params,
        features,
        config.random_state,
        like_sklearn=config.mode == "sklearn",
    )
