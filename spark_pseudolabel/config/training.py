"""Where models learn, and whether the estimator that learns can do so there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spark_pseudolabel.config.sections import Training
from spark_pseudolabel.core.teachers.kind import NamedEstimator

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Problems = Iterator[tuple[str, str]]
"""Dotted keys, and what is wrong with them."""


@dataclass(frozen=True)
class EngineParams:
    """Which parameters of an estimator an engine of the cluster keeps to.

    Parameters
    ----------
    taken
        All others are refused; empty: all but `refused` are taken.
    refused
        By name, and why.
    fixed
        Parameters that must have this value, if they are given.
    """

    taken: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)


CLUSTER_ENGINES: Mapping[str, EngineParams] = {
    "XGBClassifier": EngineParams(
        refused={
            "early_stopping_rounds": "it puts rows aside, and the engine is given none to put",
            "callbacks": "they are code of the driver",
            "enable_categorical": "the preprocessing has made numbers of categories",
            "feature_types": "the preprocessing decides what columns are",
            "feature_weights": "it is of columns before the preprocessing",
            "objective": "it follows from the number of classes",
            "nthread": "it is Spark's spark.task.cpus",
            "num_parallel_tree": "the engine grows one tree a round",
        },
        fixed={"tree_method": "hist", "device": "cpu", "booster": "gbtree"},
    ),
    "LogisticRegression": EngineParams(
        taken=frozenset(
            (
                *("C", "penalty", "l1_ratio", "fit_intercept", "class_weight", "max_iter"),
                *("random_state", "n_jobs", "verbose", "solver"),
            )
        ),
        fixed={"solver": "lbfgs"},
    ),
}
"""Estimators that an engine fits on the cluster."""


def cluster_problems(training: Training, learner: NamedEstimator) -> Problems:
    """Find what keeps an estimator from learning on the cluster."""
    name, engine = learner.estimator, CLUSTER_ENGINES.get(learner.estimator)
    if engine is None:
        yield (
            "training.on",
            f"'cluster' needs a model that is fitted there: {' or '.join(CLUSTER_ENGINES)}. Got "
            f"{name}. Choose one of them, or on: driver.",
        )
        return
    for key, value in learner.params.items():
        if key in engine.refused and value is not None and value is not False:
            why = engine.refused[key]
            yield f"params.{key}", f"must be left out with training.on: cluster: {why}."
        elif key in engine.fixed and value not in (None, "auto", engine.fixed[key]):
            yield (
                f"params.{key}",
                f"must be {engine.fixed[key]!r} with training.on: cluster, whose engine has no "
                f"other. Got {value!r}.",
            )
        elif engine.taken and key not in engine.taken:
            yield (
                f"params.{key}",
                f"must be left out with training.on: cluster: Spark ML's {name} has no such "
                "parameter.",
            )


def stream_problems(
    training: Training, learner: NamedEstimator, own: BaseEstimator | None
) -> Problems:
    """Find what keeps an estimator from learning on the driver from any number of rows.

    Raises
    ------
    ImportError
        If the estimator's library is not there; names and parameters have been checked before.
    """
    from spark_pseudolabel.core.teachers.estimators import build_estimator
    from spark_pseudolabel.core.teachers.streaming import stops_early, streams, takes_weights

    name = learner.estimator
    if own is not None or not streams(estimator := build_estimator(name, learner.params, 0)):
        who = "an estimator of one's own" if own is not None else f"{name} with these parameters"
        yield (
            "training.max_rows",
            f"must be a number with {who}, which learns from all rows at once, and these have to "
            "fit the driver. null is for what learns from rows as they come (SGDClassifier, "
            "GaussianNB, MLPClassifier), and for on: cluster.",
        )
        return
    if stops_early(estimator):
        yield (
            "params.early_stopping",
            f"conflicts with training.max_rows: null, where {name} learns from rows as they come "
            "and puts none aside. Leave it out.",
        )
    if training.weighted and not takes_weights(estimator):
        key = "labels" if training.labels == "soft" else "pseudo_weight"
        key = key if training.pseudo_weight != 1.0 or key == "labels" else "max_pseudo_weight"
        yield (
            f"training.{key}",
            f"needs weights, and {name} takes none of rows that come one after another "
            "(training.max_rows: null). Leave it out, or give max_rows a number.",
        )
