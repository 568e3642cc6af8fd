"""What a configuration leaves open, filled in from what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spark_pseudolabel.config.checks import Parts, one_round
from spark_pseudolabel.config.loading import ConfigSource
from spark_pseudolabel.config.numbers import default_committee, of_numbers
from spark_pseudolabel.config.sections import Model, Training, Validation, is_cross_fitted
from spark_pseudolabel.core.selection.policies.auto import Auto
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.selection.policies.threshold import Threshold
from spark_pseudolabel.core.selection.policy import Policy
from spark_pseudolabel.core.teachers.kind import TeacherKind
from spark_pseudolabel.core.teachers.kinds import DEFAULT
from spark_pseudolabel.core.teachers.kinds.anchors import AnchorSettings
from spark_pseudolabel.registry import unknown_name

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

DEFAULT_WORKERS = 2
"""Of training on the cluster: with two, every engine gives the same model each time."""

_RECOMMENDED_TRAINING = {"rows": "all", "max_rows": 5000}
_SELF_TRAINING = (
    ("rounds",),
    ("training",),
    ("model", "student"),
    ("validation", "group"),
)
"""Keys that say how a model learns from its own labels: with them, no ``selection`` is no auto."""
_TAKE_WEIGHTS = frozenset(
    {
        "LogisticRegression",
        "SGDClassifier",
        "GaussianNB",
        "SVC",
        "DecisionTreeClassifier",
        "RandomForestClassifier",
        "ExtraTreesClassifier",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
        "XGBClassifier",
        "LGBMClassifier",
    }
)
"""Estimators known to do so without importing them, which takes seconds."""
_INTERVAL = 0.95
_AUTO_IN_WORDS = "a committee labels the pool, and labels of certified precision are published"


def chosen_selection(source: ConfigSource, parts: Parts) -> tuple[Parts, str | None]:
    """Fill in a missing selection; also tell why, where the section does not say it itself."""
    like_sklearn = source.value(("mode",)) == "sklearn"
    if "selection" in source.data:
        is_auto = isinstance(parts.get("selection"), Auto) and not like_sklearn
        return {}, f"auto: {_AUTO_IN_WORDS}" if is_auto else None
    if like_sklearn:
        return {"selection": Threshold()}, "threshold, as scikit-learn's: mode is sklearn"
    if source.value(("labeled",)) is None and "labeled" in source.data:
        why = "threshold, since no labeled row can tell how precise labels are"
        return {"selection": Threshold()}, why
    about = next((".".join(path) for path in _SELF_TRAINING if source.value(path)), None)
    if about is not None:
        return {"selection": Threshold()}, (
            f"threshold, since {about} is given and selection is not; "
            "selection: {policy: auto} publishes labels of certified precision"
        )
    return {"selection": Auto()}, f"auto, since there is no selection: {_AUTO_IN_WORDS}"


def recommended(
    parts: Parts, allow_import: Sequence[str], estimator: BaseEstimator | None
) -> Parts:
    """Write out policy auto, around what the other sections say for themselves."""
    selection = parts.get("selection")
    if not isinstance(selection, Auto) or parts.get("mode") == "sklearn":
        return parts
    certified = Certified(
        policy="certified",
        precision=selection.precision,
        certainty=selection.certainty,
        min_coverage=selection.min_coverage,
        required=False,
        stable_under=selection.stable_under,
        require=selection.require,
    )
    parts = parts | {"selection": certified}
    has_student = "model" in parts and parts["model"].is_named
    if "teacher" in parts:
        teacher = parts["teacher"]
        if of_numbers(parts):
            teacher = teacher or default_committee()
        else:
            teacher = _with_graph(teacher or DEFAULT())
        if "student" not in teacher.model_fields_set:
            student = has_student or teacher.transductive or teacher.student_by_default
            teacher = teacher.model_copy(update={"student": student})
        parts, has_student = parts | {"teacher": teacher}, teacher.student
    if "training" in parts and has_student:
        settings = parts["training"].model_dump(include=parts["training"].model_fields_set)
        if "labels" not in settings and "model" in parts and not of_numbers(parts):
            soft = _may_take_weights(parts["model"], allow_import, estimator)
            settings["labels"] = "soft" if soft else "hard"
        everywhere = {"max_rows": None} if settings.get("on") == "cluster" else {}
        recommended = {**_RECOMMENDED_TRAINING, **everywhere}
        parts = parts | {"training": Training(**{**recommended, **settings})}
    return parts


def _with_graph(teacher: TeacherKind) -> TeacherKind:
    """Add an anchor graph to a committee that nobody has named."""
    named = teacher.model_fields_set & {"committee", "graph"}
    if not isinstance(teacher, DEFAULT) or named:
        return teacher
    return teacher.model_copy(update={"graph": AnchorSettings(graph="anchors")})


def _may_take_weights(
    model: Model, allow_import: Sequence[str], estimator: BaseEstimator | None
) -> bool:
    """Whether soft labels suit a student; so too one that is wrong, which is reported elsewhere."""
    if estimator is None and model.estimator in _TAKE_WEIGHTS:
        return True
    if estimator is None and unknown_name(model.estimator, allow_import):
        return True
    from spark_pseudolabel.core.teachers.estimators import (
        check_estimator,
        takes_sample_weight,
        weights_supported,
    )

    if estimator is not None:
        return weights_supported(estimator)
    wrong = check_estimator(model.estimator, model.params, allow_import)
    return wrong is not None or takes_sample_weight(model.estimator, model.params)


def resolved(parts: Parts) -> Parts:
    """Fill in what one section implies for another."""
    if parts["selection"].grows:
        parts = parts | {"rounds": parts["rounds"].model_copy(update={"relabel": True})}
    if one_round(parts):
        parts = parts | {"rounds": parts["rounds"].model_copy(update={"max": 1})}
    if parts["training"].on == "cluster":
        parts = parts | {"training": _on_cluster(parts["training"])}
    has_labels = parts["labeled"] is not None
    cross_fitted = is_cross_fitted(parts["selection"], parts["teacher"])
    if (
        (cross_fitted or not has_labels)
        and not parts["validation"].model_fields_set
        and not _tests_held_out(parts["selection"])
    ):
        parts = parts | {"validation": Validation(fraction=0.0)}
    if of_numbers(parts) and parts["interval"] is None:
        parts = parts | {"interval": _INTERVAL}
    teacher = parts["teacher"]
    scaled = teacher is None or not teacher.without_scale or of_numbers(parts)
    if parts["calibration"] == "auto" and scaled:
        parts = parts | {"calibration": "none"}
    if parts["mode"] != "sklearn":
        return parts
    selection = parts["selection"]
    if "threshold" not in selection.model_fields_set and selection.policy == "threshold":
        selection = Threshold(threshold=0.75)
    return parts | {
        "selection": selection,
        "validation": Validation(fraction=0.0),
        "training": Training(max_rows=None),
    }


def _on_cluster(training: Training) -> Training:
    settings: dict[str, object] = {"workers": training.workers or DEFAULT_WORKERS}
    if "max_rows" not in training.model_fields_set:
        settings["max_rows"] = None
    return training.model_copy(update=settings)


def _tests_held_out(selection: Policy) -> bool:
    return isinstance(selection, Certified) and selection.scores == "held_out"
