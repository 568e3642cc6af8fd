"""What sections of a configuration must hold together, though each is right by itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from spark_pseudolabel.columns import FILE, ROW_INDEX
from spark_pseudolabel.config.loading import KeyPath
from spark_pseudolabel.config.sections import (
    EveryGeneration,
    SparkSettings,
    Training,
    has_one_round,
    is_cross_fitted,
)
from spark_pseudolabel.config.trust import refused_settings
from spark_pseudolabel.core.selection.policies import POLICIES
from spark_pseudolabel.core.selection.policies.auto import Auto
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.core.teachers.kinds.rules import RulesKind

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Parts = dict[str, Any]
"""The sections that are right by themselves, by their name."""
Check = Callable[[Parts], Iterator[tuple[str, str]]]
"""Yields (dotted key, what is wrong) for sections that do not fit together."""


def one_round(parts: Parts) -> bool:
    """Whether model 1 alone labels the pool."""
    return has_one_round(parts.get("selection"), parts.get("teacher"))


def _growing_shares_relabel(parts: Parts) -> Iterator[tuple[str, str]]:
    rounds, selection = parts.get("rounds"), parts.get("selection")
    refused = rounds and "relabel" in rounds.model_fields_set and not rounds.relabel
    if refused and selection and selection.grows:
        yield (
            "rounds.relabel",
            f"must be true with policy {selection.policy!r}, which decides every row anew. Leave "
            "it out.",
        )


def _one_round_is_one(parts: Parts) -> Iterator[tuple[str, str]]:
    rounds = parts.get("rounds")
    if not rounds or not one_round(parts):
        return
    certified = isinstance(parts.get("selection"), Certified)
    by = "policies 'auto' and 'certified'" if certified else "a teacher"
    if "max" in rounds.model_fields_set and rounds.max != 1:
        yield (
            "rounds.max",
            f"must be 1 with {by}: model 1 labels the pool, once. Got {rounds.max}. Leave it out.",
        )
    if rounds.relabel:
        yield "rounds.relabel", f"must be false with {by}: there is one round. Leave it out."


def _students_are_there(parts: Parts) -> Iterator[tuple[str, str]]:
    model, training = parts.get("model"), parts.get("training")
    if (alone := parts.get("teacher")) and not alone.student and model and model.is_named:
        yield (
            "teacher.student",
            "must not be false with a model, which is the student. Leave one of them out.",
        )
    if parts.get("teacher") is not None and model and model.student is not None:
        yield (
            "model.student",
            "must be left out with a teacher: model is the student. Name the student there.",
        )
    teacher = parts.get("teacher")
    has_student = model and model.student is not None if teacher is None else teacher.student
    if training and training.rows != "accepted" and not (one_round(parts) and has_student):
        yield (
            "training.rows",
            "'all', top and threshold need policy 'auto' with a model, a teacher, or policy "
            "'certified' with model.student: a student that learns from another model's "
            "predictions for every row.",
        )
    if training and parts.get("selection") and one_round(parts) and not has_student:
        for key in sorted(training.model_fields_set - {"rows"}):
            yield (
                f"training.{key}",
                "must be left out where no model learns from the labels. Name a student: model "
                "with policy 'auto' or a teacher, model.student with policy 'certified'.",
            )


def _workers_have_work(parts: Parts) -> Iterator[tuple[str, str]]:
    training = parts.get("training")
    if training and training.workers is not None and training.on == "driver":
        yield (
            "training.workers",
            "is for training.on: cluster. Leave it out, or let models learn there.",
        )


def _test_can_be_scored(parts: Parts) -> Iterator[tuple[str, str]]:
    teacher = parts.get("teacher")
    if parts.get("test") is not None and teacher and teacher.transductive and not teacher.student:
        yield (
            "test",
            f"must be left out with teacher {teacher.spelled()} and student: false: the final "
            "model scores the rows of its graph alone, and rows that are only to measure it have "
            "no place there. Name a student, or hold the labels against the truth yourself.",
        )


def _rows_can_be_corrupted(parts: Parts) -> Iterator[tuple[str, str]]:
    selection, teacher = parts.get("selection"), parts.get("teacher")
    if not selection or selection.stable_under is None or teacher is None:
        return
    if teacher.transductive:
        yield (
            "selection.stable_under",
            f"needs a teacher that scores rows by their values, and teacher {teacher.spelled()} "
            "knows the rows that are there, not their copies. Leave it out.",
        )


def _members_may_agree(parts: Parts) -> Iterator[tuple[str, str]]:
    selection = parts.get("selection")
    if not selection or selection.require is None or "teacher" not in parts:
        return
    if parts.get("mode") == "sklearn":
        return  # refused for that
    teacher = parts["teacher"]
    if teacher is None or teacher.voters < 2:
        yield (
            "selection.require",
            f"{selection.require!r} asks members of a model whether they agree, and one model "
            "labels here. Give a teacher of several, as teacher: {} is, or leave it out.",
        )


def _certificate_has_rows(parts: Parts) -> Iterator[tuple[str, str]]:
    selection, validation = parts.get("selection"), parts.get("validation")
    if not validation:
        return
    none = validation.fraction == 0 and not validation.is_table
    if none and isinstance(selection, Certified) and selection.scores == "held_out":
        yield (
            "selection.scores",
            "'held_out' tests on validation rows, and there are none. Give validation a fraction "
            "or a table, or say out_of_fold.",
        )


def _group_has_one_meaning(parts: Parts) -> Iterator[tuple[str, str]]:
    labeled, validation = parts.get("labeled"), parts.get("validation")
    if not labeled or not validation or labeled.group is None or validation.group is None:
        return
    if labeled.group != validation.group:
        yield (
            "validation.group",
            f"must be the column that labeled.group names, {labeled.group!r}, or be left out. "
            f"Got {validation.group!r}.",
        )


def _no_labels_is_allowed(parts: Parts) -> Iterator[tuple[str, str]]:
    """Find what takes labeled rows where there are none."""
    if "labeled" not in parts or parts["labeled"] is not None:
        return
    if "teacher" not in parts:
        return  # a section with a problem of its own; what it means is not known
    teacher = parts["teacher"]
    if teacher is None or teacher.needs_labels:
        yield (
            "labeled",
            "must name the labeled rows: null is for teacher: {rules: [...]}, which needs none.",
        )
        return
    selection, training = parts.get("selection"), parts.get("training")
    if isinstance(selection, Certified):
        yield (
            "selection.policy",
            "must be one that takes no labeled rows, such as threshold: 'auto' and 'certified' "
            "test labels on them, and labeled is null.",
        )
    validation, shift = parts.get("validation"), parts.get("shift")
    if validation and (validation.is_table or validation.fraction) and validation.model_fields_set:
        yield "validation", "must be left out where labeled is null. Give a test table instead."
    if shift and shift.action != "off":
        yield "shift", "must be left out where labeled is null: it compares labeled rows."
    if training and training.max_pseudo_weight is not None:
        yield (
            "training.max_pseudo_weight",
            "must be null where labeled is null: it is a multiple of the labeled rows' weight.",
        )
    unlabeled = parts.get("unlabeled")
    if unlabeled and unlabeled.from_ == "labeled":
        yield "unlabeled.from", "must name a table: labeled is null."


def _labels_have_one_column(parts: Parts) -> Iterator[tuple[str, str]]:
    labeled, test = parts.get("labeled"), parts.get("test")
    if labeled and test and test.label not in (None, labeled.label):
        yield (
            "test.label",
            f"must be the column that labeled.label names, {labeled.label!r}, or be left out. Got "
            f"{test.label!r}.",
        )


def _rules_have_labels(parts: Parts) -> Iterator[tuple[str, str]]:
    teacher = parts.get("teacher")
    if not isinstance(teacher, RulesKind):
        return
    shift = parts.get("shift")
    if shift and shift.action == "withhold":
        yield (
            "shift.action",
            "must be 'warn', 'stop' or 'off' with teacher: {rules: ...}: how near a row is to a "
            "labeled one is no matter of votes.",
        )
    if (selection := parts.get("selection")) and selection.stable_under is not None:
        yield (
            "selection.stable_under",
            "must be left out with teacher: {rules: ...}: whether a rule votes on a row does not "
            "change by degrees.",
        )
    if "labeled" not in parts or parts["labeled"] is not None:
        return
    for number, rule in enumerate(teacher.rules):
        if not isinstance(rule.label, str):
            yield (
                f"teacher.rules.{number}.label",
                f"must be text where labeled is null. Got {spelled(rule.label)}. Put it in quotes.",
            )
    if len(teacher.labels) < 2:
        yield (
            "teacher.rules",
            "must name two labels at least where labeled is null: they are all classes there "
            f"are. Got {', '.join(map(repr, teacher.labels))} only.",
        )


def spelled(label: str | int | bool) -> str:
    """Spell a label as YAML does.

    Examples
    --------
    >>> spelled(False), spelled(3)
    ('false', '3')
    """
    return str(label).lower() if isinstance(label, bool) else str(label)


_FEIGNS = ("class_weight", "class_prior", "priors", "scale_pos_weight", "is_unbalance")


def feigned(params: Mapping[str, Any]) -> list[str]:
    """Return the parameters by which a model learns other class shares than those of its rows.

    Those of a pipeline's steps are spelled ``step__name``.

    Examples
    --------
    >>> feigned({"clf__class_weight": "balanced", "class_weight": None, "is_unbalance": False})
    ['clf__class_weight']
    """
    return [
        name
        for name, value in params.items()
        if name.split("__")[-1] in _FEIGNS
        and value is not None
        and value is not False
        and not (type(value) in (int, float) and value == 1)  # boosting then weighs nothing
    ]


def prior_is_of_the_rows(
    parts: Parts, estimator: BaseEstimator | None = None
) -> Iterator[tuple[str, str]]:
    unlabeled, model, teacher = (parts.get(name) for name in ("unlabeled", "model", "teacher"))
    if not unlabeled or unlabeled.prior is None:
        return
    named = {"model": model, "model.student": model and model.student}
    if teacher is not None:
        named |= {".".join(("teacher", *path)): m for path, m in teacher.members.items()}
    params = {key: section.params for key, section in named.items() if section}
    if estimator is not None and model:
        params["model"] = estimator.get_params(deep=True)  # the section holds their text
    for key, params_of_section in params.items():
        for name in feigned(params_of_section):
            yield (
                f"{key}.params.{name}",
                "must be left out with unlabeled.prior: scores are corrected from the class shares "
                f"of the rows that a model has learned from, and {name} pretends others.",
            )


def _calibration_has_scores(parts: Parts) -> Iterator[tuple[str, str]]:
    method, selection = parts.get("calibration"), parts.get("selection")
    # A section with a problem of its own is not among the parts; what it means is not known.
    if method in (None, "auto", "none") or selection is None or "teacher" not in parts:
        return
    has_labels = "labeled" not in parts or parts["labeled"] is not None
    teacher = parts["teacher"]
    if parts.get("mode") != "sklearn" and not is_cross_fitted(
        selection, teacher, has_labels=has_labels
    ):
        yield (
            "calibration",
            f"{method!r} is fitted on out-of-fold scores, and there are none. Give policy 'auto', "
            "a teacher, or policy 'certified' with scores: out_of_fold, or say none.",
        )


def _rows_have_ids(parts: Parts) -> Iterator[tuple[str, str]]:
    if "id" not in parts or parts["id"] is not None:
        return
    for name in ("labeled", "unlabeled"):
        table = parts.get(name)
        if table and table.from_ != "labeled" and not table.is_parquet_path:
            yield (
                "id",
                (
                    "must name the column with the rows' ids; it may be left out only where "
                    f"labeled and unlabeled are Parquet by path, and {name} is not."
                ),
            )
            return


def _dropped_rows_have_ids(parts: Parts) -> Iterator[tuple[str, str]]:
    unlabeled = parts.get("unlabeled")
    if unlabeled and unlabeled.drop_labeled and "id" in parts and parts["id"] is None:
        yield (
            "unlabeled.drop_labeled",
            "needs id: a row's place in a file says nothing about its place elsewhere.",
        )


def _reviews_fit(parts: Parts) -> Iterator[tuple[str, str]]:
    labeled, output = parts.get("labeled"), parts.get("output")
    if not labeled or not labeled.reviews:
        return
    if "id" in parts and parts["id"] is None:
        yield "labeled.reviews", "needs id: answers are about rows of the pool, found by their id."
    if parts.get("mode") == "sklearn":
        yield "labeled.reviews", "must be left out with mode: sklearn, which knows one table."
    if output and output.path.rstrip("/") in {path.rstrip("/") for path in labeled.reviews}:
        yield (
            "labeled.reviews",
            f"must be the output of another run. Got {output.path!r}, where this one writes: give "
            "output.path another directory.",
        )


def _relabeling_ends(parts: Parts) -> Iterator[tuple[str, str]]:
    rounds, selection = parts.get("rounds"), parts.get("selection")
    endless = rounds and rounds.relabel and rounds.max is None
    if endless and selection and not selection.grows and not one_round(parts):
        yield (
            "rounds.max",
            "must be a number with rounds.relabel: labels that are decided anew may swing forever. "
            "Got null.",
        )


def _label_is_no_feature(parts: Parts) -> Iterator[tuple[str, str]]:
    labeled, features = parts.get("labeled"), parts.get("features")
    role_of = {labeled.label: "the label"} if labeled else {}
    if "id" in parts and parts["id"] is None:
        role_of |= dict.fromkeys((FILE, ROW_INDEX), "what identifies a row without an id")
    elif parts.get("id"):
        role_of[parts["id"]] = "the id"
    named = {f"features.{key}": getattr(features, key, None) or () for key in ("include", "text")}
    if (teacher := parts.get("teacher")) is not None:
        named[f"teacher.{teacher.key}"] = teacher.columns
    for key, names in named.items():
        for name in names:
            if name in role_of:
                yield key, f"must not name {name!r}, which is {role_of[name]}."
    if labeled and "id" in parts and parts["id"] == labeled.label:
        yield (
            "id",
            f"must be another column than labeled.label. Both are {labeled.label!r}.",
        )


def _named_columns_are_features(parts: Parts) -> Iterator[tuple[str, str]]:
    features, teacher = parts.get("features"), parts.get("teacher")
    if not features or teacher is None:
        return
    for name in teacher.columns:
        left_out = features.include is not None and name not in features.include
        if left_out or name in features.exclude:
            key = "exclude" if name in features.exclude else "include"
            yield (
                f"teacher.{teacher.key}",
                f"must name columns that models see. features.{key} leaves out {name!r}.",
            )


def _output_is_no_input(parts: Parts) -> Iterator[tuple[str, str]]:
    """Refuse an output among the files of a table, where the next start would read it."""
    output = parts.get("output")
    for name in ("labeled", "unlabeled", "validation", "test"):
        table = parts.get(name)
        if not output or not table or table.path is None:
            continue
        inside, folder = (_full(path) for path in (output.path, table.path))
        if inside == folder or inside.startswith(f"{folder}/"):
            yield (
                "output.path",
                f"must not lie in {name}.path {table.path!r}, whose files are all read. Got "
                f"{output.path!r}: choose another directory.",
            )


def _full(path: str) -> str:
    """Return a path as it can be compared: absolute and without links, where it is local."""
    local = path.removeprefix("file://").removeprefix("file:")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", local):
        return path.rstrip("/")
    return os.path.realpath(local)


def _new_rows_can_be_labeled(parts: Parts) -> Iterator[tuple[str, str]]:
    """Find what a later generation could not do."""
    incremental, selection = parts.get("incremental"), parts.get("selection")
    if incremental is None:
        return
    unlabeled, teacher = parts.get("unlabeled"), parts.get("teacher")
    if unlabeled and unlabeled.from_ == "labeled":
        yield (
            "incremental",
            "needs a table of unlabeled rows of its own: with unlabeled: {from: labeled} a new "
            "file would bring labels, too. Put rows without a label into other files.",
        )
    each_time = isinstance(incremental.refit, EveryGeneration) and incremental.refit.every == 1
    if each_time or not selection:
        return
    if selection.new_rows == "never" and not isinstance(selection, Auto):
        yield (
            "incremental.refit",
            f"must be {{every: 1}} with policy {selection.policy!r}, which takes a share of a pool "
            "and says nothing of other rows. Write that, or choose policy threshold or auto.",
        )
    if teacher is not None and teacher.transductive and not teacher.student:
        yield (
            "incremental.refit",
            f"must be {{every: 1}} with teacher {teacher.spelled()} alone, which knows the rows of "
            "one pool. Write that, or let a student learn from it.",
        )


def _sklearn_mode(parts: Parts) -> Iterator[tuple[str, str]]:
    """Find keys that say something else than ``mode: sklearn`` does."""
    if parts.get("mode") != "sklearn":
        return
    implied: dict[str, dict[str, Any]] = {
        "validation": {"fraction": 0.0},
        "training": Training(max_rows=None).model_dump(),
        "model": {"student": None},
        "rounds": {"relabel": False},
        "features": {"text": ()},
    }
    for name, keys in implied.items():
        section = parts.get(name)
        # The format may follow from the path, which is reported as well.
        for key in sorted(section.model_fields_set - {"format"}) if section else ():
            value = getattr(section, key)
            if (name == "validation" or key in keys) and keys.get(key, object()) != value:
                spelled = "from" if key == "from_" else key
                yield f"{name}.{spelled}", "conflicts with mode: sklearn. Leave it out."
    if parts.get("teacher") is not None:
        yield "teacher", "conflicts with mode: sklearn. Leave it out."
    if parts.get("calibration", "none") not in ("auto", "none"):
        yield "calibration", "conflicts with mode: sklearn. Leave it out."
    if (unlabeled := parts.get("unlabeled")) and unlabeled.prior is not None:
        yield "unlabeled.prior", "conflicts with mode: sklearn. Leave it out."
    shift = parts.get("shift")
    if shift and shift.action in ("stop", "withhold"):
        yield "shift.action", "must be 'warn' or 'off' with mode: sklearn, which labels anyway."
    selection = parts.get("selection")
    for key in ("stable_under", "require"):
        if selection and getattr(selection, key) is not None:
            yield f"selection.{key}", "conflicts with mode: sklearn. Leave it out."
    if selection and not selection.like_sklearn:
        yield (
            "selection.policy",
            f"must be one of {_like_sklearn()} with mode: sklearn. Got {selection.policy!r}.",
        )


def _like_sklearn() -> str:
    return ", ".join(repr(name) for name, policy in POLICIES.items() if policy.like_sklearn)


CHECKS: tuple[Check, ...] = (
    _growing_shares_relabel,
    _one_round_is_one,
    _students_are_there,
    _workers_have_work,
    _test_can_be_scored,
    _rows_can_be_corrupted,
    _members_may_agree,
    _certificate_has_rows,
    _group_has_one_meaning,
    _labels_have_one_column,
    _no_labels_is_allowed,
    _rules_have_labels,
    _calibration_has_scores,
    _rows_have_ids,
    _dropped_rows_have_ids,
    _reviews_fit,
    _relabeling_ends,
    _label_is_no_feature,
    _named_columns_are_features,
    _output_is_no_input,
    _new_rows_can_be_labeled,
    _sklearn_mode,
)


def no_code(parts: Parts, *, overridden: frozenset[KeyPath]) -> Iterator[tuple[str, str]]:
    """Report settings in a file that could run code; a command line may hold them."""
    spark = parts.get("spark")
    conf = spark.conf if isinstance(spark, SparkSettings) else {}
    in_file = {k: v for k, v in conf.items() if not _is_typed(("spark", "conf", k), overridden)}
    for key in refused_settings(in_file):
        yield (
            f"spark.conf.{key}",
            "must not be in a file, where only settings of size, speed and storage may: others "
            f"can run code. Give it on the command line: --set spark.conf.{key}=..., or to "
            "spark-submit by --conf.",
        )


def _is_typed(path: KeyPath, overridden: frozenset[KeyPath]) -> bool:
    return any(path[: len(prefix)] == prefix for prefix in overridden)


def no_dataframes(parts: Parts) -> Iterator[tuple[str, str]]:
    """Report in a file what only Python can give: frames and functions."""
    for name in ("labeled", "unlabeled", "validation", "test"):
        table = parts.get(name)
        if table and table.from_ == "dataframe":
            yield (
                f"{name}.from",
                "'dataframe' is for the Python API. Name a path, table or query.",
            )
    teacher = parts.get("teacher")
    for number, rule in enumerate(teacher.rules if isinstance(teacher, RulesKind) else ()):
        if rule.function is not None:
            yield (
                f"teacher.rules.{number}.function",
                "is for the Python API. Give when, a condition in Spark's SQL.",
            )
