"""What goes together with labels that are numbers, and what they are by default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from spark_pseudolabel.config.checks import Parts
from spark_pseudolabel.config.sections import Model
from spark_pseudolabel.core.selection.policies import POLICIES
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.teachers.kind import NamedEstimator, TeacherKind
from spark_pseudolabel.core.teachers.kinds.anchors import AnchorsKind
from spark_pseudolabel.core.teachers.kinds.committee import CommitteeKind
from spark_pseudolabel.core.teachers.kinds.neighbors import NeighborsKind
from spark_pseudolabel.registry import DEFAULT_NUMBER_COMMITTEE

S = TypeVar("S", Model, CommitteeKind)

REGRESSION = "regression"
DEFAULT_ESTIMATOR = "HistGradientBoostingRegressor"


def of_numbers(parts: Parts) -> bool:
    """Whether labels are numbers."""
    return parts.get("task") == REGRESSION


def with_regressors(parts: Parts) -> Parts:
    """Name estimators for numbers where a configuration leaves them open."""
    if not of_numbers(parts):
        return parts
    model, teacher = parts.get("model"), parts.get("teacher")
    if isinstance(model, Model) and "estimator" not in model.model_fields_set:
        parts = parts | {"model": _said_otherwise(model, estimator=DEFAULT_ESTIMATOR)}
    if isinstance(teacher, CommitteeKind) and CommitteeKind.key not in teacher.model_fields_set:
        parts = parts | {"teacher": default_committee(teacher)}
    return parts


def default_committee(teacher: CommitteeKind | None = None) -> CommitteeKind:
    """Return a committee of those who vote on numbers where nobody has named them."""
    members = tuple(
        NamedEstimator(estimator=name, params=dict(params))
        for name, params in DEFAULT_NUMBER_COMMITTEE
    )
    return _said_otherwise(teacher or CommitteeKind(), committee=members)


def _said_otherwise(section: S, **values: Any) -> S:
    """Return a section with other defaults: what it was given is what it was."""
    fields = {name: getattr(section, name) for name in type(section).model_fields}
    return type(section).model_construct(
        _fields_set=set(section.model_fields_set), **{**fields, **values}
    )


def numbers_fit(parts: Parts) -> Iterator[tuple[str, str]]:
    """Find what does not go together with the task."""
    if "task" not in parts:
        return
    if not of_numbers(parts):
        if parts.get("tolerance") is not None:
            yield "tolerance", "is for task: regression, whose labels are numbers. Leave it out."
        if parts.get("interval") is not None:
            yield "interval", "is for task: regression, whose labels are numbers. Leave it out."
        return
    if "tolerance" in parts and parts["tolerance"] is None:
        yield (
            "tolerance",
            "is needed with task: regression: a label is right when it is no farther from the true "
            "number. Write a number in units of the label, '5 %' or '0.25 sd'.",
        )
    yield from _of_classes(parts)
    yield from _not_yet(parts)


def _of_classes(parts: Parts) -> Iterator[tuple[str, str]]:
    """Find what is asked of classes, which numbers have none of."""
    with_numbers = "with task: regression"
    if parts.get("mode") == "sklearn":
        yield "mode", f"must be left out {with_numbers}: SelfTrainingClassifier knows classes only."
    selection = parts.get("selection")
    if selection is not None and selection.by_class:
        fitting = ", ".join(repr(name) for name, policy in POLICIES.items() if not policy.by_class)
        yield (
            "selection.policy",
            f"must be one of {fitting} {with_numbers}, whose labels are no classes. Got "
            f"{selection.policy!r}.",
        )
    if isinstance(selection, Certified) and selection.per == "class":
        yield "selection.per", f"must be 'all' {with_numbers}, whose labels are no classes."
    if selection is not None and selection.stable_under is not None:
        yield (
            "selection.stable_under",
            f"must be left out {with_numbers}: corrupted copies of a row nearly always get another "
            "number.",
        )
    if selection is not None and selection.require is not None:
        yield (
            "selection.require",
            f"must be left out {with_numbers}: how far members differ is in the confidence.",
        )
    unlabeled, labeled = parts.get("unlabeled"), parts.get("labeled")
    if unlabeled and unlabeled.prior is not None:
        yield "unlabeled.prior", f"must be left out {with_numbers}: numbers have no class shares."
    if labeled and labeled.drawn == "per_class":
        yield "labeled.drawn", f"must be 'random' {with_numbers}, whose labels are no classes."
    if parts.get("calibration") not in (None, "auto", "none"):
        yield (
            "calibration",
            f"must be left out {with_numbers}: a confidence is made of errors out of fold, and "
            "says what it means.",
        )
    training, output = parts.get("training"), parts.get("output")
    if training and training.labels == "soft":
        yield "training.labels", f"must be 'hard' {with_numbers}: a number is one label."
    if output and output.probabilities:
        yield (
            "output.probabilities",
            f"must be left out {with_numbers}: lower and upper bounds are published instead.",
        )


def _not_yet(parts: Parts) -> Iterator[tuple[str, str]]:
    """Find what says something about numbers, and is not made for them."""
    if "labeled" in parts and parts["labeled"] is None:
        yield "labeled", "must name rows with numbers with task: regression."
    if (labeled := parts.get("labeled")) and labeled.reviews:
        yield "labeled.reviews", "must be left out with task: regression."
    teacher = parts.get("teacher")
    if isinstance(teacher, TeacherKind) and not teacher.of_numbers:
        yield (
            f"teacher.{teacher.key}",
            f"{teacher.spelled()!r} labels with classes only. With task: regression say "
            "teacher: {committee: [...]}, {graph: anchors} or {graph: neighbors}, or leave it out.",
        )
    elif isinstance(teacher, CommitteeKind) and teacher.graph is not None:
        yield "teacher.graph", "labels with classes only. Leave it out with task: regression."
    elif isinstance(teacher, AnchorsKind) and teacher.class_mass:
        yield (
            "teacher.class_mass",
            "must be false with task: regression, whose labels are no classes.",
        )
    elif isinstance(teacher, NeighborsKind):
        if teacher.around is not None:
            yield (
                "teacher.around",
                "must be left out with task: regression: what it corrects are classes.",
            )
        elif teacher.method != "propagation":
            yield (
                "teacher.method",
                "must be 'propagation' with task: regression, by which a number is the mean of its "
                f"neighbors'. Got {teacher.method!r}.",
            )
