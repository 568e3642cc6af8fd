"""Whether the estimators that a configuration names are there and take what they are given.

Their names are checked without importing anything; classes and parameters where they are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from spark_pseudolabel.config.checks import Parts
from spark_pseudolabel.config.loading import ConfigSource, KeyPath
from spark_pseudolabel.config.numbers import DEFAULT_ESTIMATOR, of_numbers
from spark_pseudolabel.config.sections import Model, Training
from spark_pseudolabel.config.training import cluster_problems, stream_problems
from spark_pseudolabel.core.teachers.kind import NamedEstimator, TeacherKind
from spark_pseudolabel.errors import Problem
from spark_pseudolabel.registry import unknown_name

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def unfit_estimators(
    source: ConfigSource,
    parts: Parts,
    allow_import: Sequence[str],
    own: BaseEstimator | None,
    *,
    look_up: bool,
) -> Iterator[Problem]:
    """Check the estimators of ``model`` by name, and by class and parameters if looked up."""
    numbers, elsewhere = of_numbers(parts), _learns_elsewhere(parts)
    default = Model(estimator=DEFAULT_ESTIMATOR) if numbers else Model()
    if parts.get("model") == default and not elsewhere:
        return  # importing scikit-learn takes seconds, and its own defaults are right

    known = own is None  # an own estimator's weights are looked at when it is about to be fitted
    if look_up and own is not None:
        from spark_pseudolabel.core.teachers.estimators import check_kind

        if message := check_kind(own, numbers=numbers):
            yield source.problem(("model", "estimator"), message)
    # From the source, so that another wrong key of the section does not hide an unknown name.
    named = [("model", "student")] if own is not None else [("model",), ("model", "student")]
    for path in named:
        name = source.value((*path, "estimator")) or (path == ("model",) and default.estimator)
        params = source.value((*path, "params")) or {}
        if not isinstance(name, str) or not isinstance(params, dict):
            known = False if name else known
        elif message := unknown_name(name, allow_import, numbers=numbers):
            known = False
            yield source.problem((*path, "estimator"), message)
        elif look_up and (
            problem := _looked_up(source, path, name, params, allow_import, numbers=numbers)
        ):
            known = False
            yield problem
    if look_up and "model" in parts and "training" in parts:
        learner, student = parts["model"].learner, parts["model"].student
        checks = [_weights(parts["training"], learner)] if known else []
        if elsewhere and numbers:
            checks.append(_numbers_learn_on_driver(parts["training"]))
        elif elsewhere and (known or own is not None):
            checks.append(_place(parts["training"], learner, own if student is None else None))
        section = "model" if student is None else "model.student"
        for key, message in chain(*checks):
            yield source.problem(f"{section}.{key}" if key.startswith("params") else key, message)


def _looked_up(
    source: ConfigSource,
    path: KeyPath,
    name: str,
    params: dict[str, Any],
    allow_import: Sequence[str],
    *,
    numbers: bool,
) -> Problem | None:
    """Check an estimator's class and parameters, which needs its library."""
    from spark_pseudolabel.core.teachers.estimators import check_estimator, check_name

    if message := check_name(name, allow_import, numbers=numbers):
        return source.problem((*path, "estimator"), message)
    if message := check_estimator(name, params, allow_import, numbers=numbers):
        blamed = [str(key) for key in params if repr(key) in message][:1]
        return source.problem((*path, "params", *blamed), message)
    return None


def unfit_members(
    source: ConfigSource, parts: Parts, allow_import: Sequence[str], *, look_up: bool
) -> Iterator[Problem]:
    """Check the estimators of ``teacher``, as :func:`unfit_estimators` does those of ``model``."""
    teacher: TeacherKind | None = parts.get("teacher")
    numbers = of_numbers(parts)
    if teacher is None or not teacher.model_fields_set & {teacher.key}:
        return
    if numbers and not teacher.of_numbers:
        return  # refused as it is
    for path, member in teacher.members.items():
        message = unknown_name(member.estimator, allow_import, numbers=numbers)
        if message is None and look_up:
            from spark_pseudolabel.core.teachers.estimators import check_estimator

            message = check_estimator(
                member.estimator, member.params, allow_import, numbers=numbers
            )
        if message is not None:
            yield source.problem(("teacher", *path), message)


def _learns_elsewhere(parts: Parts) -> bool:
    """Whether models learn from rows that are not all in the driver's memory."""
    training = parts.get("training")
    if training is None or parts.get("mode") == "sklearn":
        return False
    return training.on == "cluster" or training.max_rows is None


def _numbers_learn_on_driver(training: Training) -> Iterator[tuple[str, str]]:
    key = "on" if training.on == "cluster" else "max_rows"
    allowed = "driver" if key == "on" else "a number"
    yield f"training.{key}", f"must be {allowed} with task: regression, which learns on the driver."


def _place(
    training: Training, learner: NamedEstimator, own: BaseEstimator | None
) -> Iterator[tuple[str, str]]:
    """Find what keeps an estimator from learning where it is to learn."""
    if training.on == "driver":
        if training.max_rows is None:
            yield from stream_problems(training, learner, own)
    elif own is None:
        yield from cluster_problems(training, learner)
    else:
        yield (
            "training.on",
            "'cluster' needs a model that the configuration names, not an estimator of one's own.",
        )


def _weights(training: Training, learner: NamedEstimator) -> Iterator[tuple[str, str]]:
    from spark_pseudolabel.core.teachers.estimators import takes_sample_weight

    if not training.weighted or takes_sample_weight(learner.estimator, learner.params):
        return
    if training.labels == "soft":
        yield (
            "training.labels",
            f"'soft' needs an estimator that takes weights, and {learner.estimator} does not.",
        )
    if training.pseudo_weight != 1.0:
        yield (
            "training.pseudo_weight",
            (
                f"must be 1.0 with {learner.estimator}, which takes no weights. "
                f"Got {training.pseudo_weight!r}."
            ),
        )
    if training.max_pseudo_weight is not None:
        yield (
            "training.max_pseudo_weight",
            f"must be null with {learner.estimator}, which takes no weights. Leave it out.",
        )
