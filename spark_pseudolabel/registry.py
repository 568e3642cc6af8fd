"""The closed registry of estimators that a configuration may name; it imports none of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EstimatorInfo:
    """What the default preprocessing and the fit need to know about an estimator.

    Parameters
    ----------
    path
        Import path of the class.
    scaled
        True where distances or penalties make the features' scale matter: numbers are
        standardized, categories one-hot encoded. False for trees: categories become ordinals.
    condensed
        True where the number of columns is what fitting costs: texts become few components.
    encoded_labels
        True where ``fit`` wants classes numbered 0..K-1 instead of the labels themselves.
    extra
        The optional extra of this package that installs it.
    any_name
        False where it refuses columns for characters in their names; it is given none then.
    weighted
        True where ``fit`` is known to take ``sample_weight``; False: its class has to be asked,
        and importing it takes seconds.
    numbers
        True where it predicts numbers and no classes.
    standard_labels
        True where penalties or the order of steps depend on the scale of numeric labels: it is
        fitted on standardized ones.
    """

    path: str
    scaled: bool = True
    condensed: bool = False
    encoded_labels: bool = False
    extra: str | None = None
    any_name: bool = True
    weighted: bool = False
    numbers: bool = False
    standard_labels: bool = False


def _tree(path: str, *, weighted: bool = True, numbers: bool = False) -> EstimatorInfo:
    return EstimatorInfo(path, scaled=False, weighted=weighted, numbers=numbers)


REGISTRY: Mapping[str, EstimatorInfo] = {
    "LogisticRegression": EstimatorInfo("sklearn.linear_model.LogisticRegression", weighted=True),
    "SGDClassifier": EstimatorInfo("sklearn.linear_model.SGDClassifier", weighted=True),
    "LinearDiscriminantAnalysis": EstimatorInfo(
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"
    ),
    "GaussianNB": EstimatorInfo("sklearn.naive_bayes.GaussianNB", weighted=True),
    "KNeighborsClassifier": EstimatorInfo("sklearn.neighbors.KNeighborsClassifier"),
    "MLPClassifier": EstimatorInfo("sklearn.neural_network.MLPClassifier", condensed=True),
    "SVC": EstimatorInfo("sklearn.svm.SVC", weighted=True),
    "DecisionTreeClassifier": _tree("sklearn.tree.DecisionTreeClassifier"),
    "RandomForestClassifier": _tree("sklearn.ensemble.RandomForestClassifier"),
    "ExtraTreesClassifier": _tree("sklearn.ensemble.ExtraTreesClassifier"),
    "GradientBoostingClassifier": _tree("sklearn.ensemble.GradientBoostingClassifier"),
    "HistGradientBoostingClassifier": _tree("sklearn.ensemble.HistGradientBoostingClassifier"),
    # What they boost or bag may take none.
    "AdaBoostClassifier": _tree("sklearn.ensemble.AdaBoostClassifier", weighted=False),
    "BaggingClassifier": _tree("sklearn.ensemble.BaggingClassifier", weighted=False),
    "XGBClassifier": EstimatorInfo(
        "xgboost.XGBClassifier",
        scaled=False,
        encoded_labels=True,
        extra="xgboost",
        any_name=False,
        weighted=True,
    ),
    "LGBMClassifier": EstimatorInfo(
        "lightgbm.LGBMClassifier", scaled=False, extra="lightgbm", any_name=False, weighted=True
    ),
}


def _smooth(path: str, *, weighted: bool = True, standard_labels: bool = False) -> EstimatorInfo:
    return EstimatorInfo(path, weighted=weighted, numbers=True, standard_labels=standard_labels)


NUMBER_REGISTRY: Mapping[str, EstimatorInfo] = {
    "Ridge": _smooth("sklearn.linear_model.Ridge"),
    "ElasticNet": _smooth("sklearn.linear_model.ElasticNet", standard_labels=True),
    "HuberRegressor": _smooth("sklearn.linear_model.HuberRegressor", standard_labels=True),
    "KNeighborsRegressor": _smooth("sklearn.neighbors.KNeighborsRegressor", weighted=False),
    "MLPRegressor": EstimatorInfo(
        "sklearn.neural_network.MLPRegressor", condensed=True, numbers=True, standard_labels=True
    ),
    "RandomForestRegressor": _tree("sklearn.ensemble.RandomForestRegressor", numbers=True),
    "ExtraTreesRegressor": _tree("sklearn.ensemble.ExtraTreesRegressor", numbers=True),
    "GradientBoostingRegressor": _tree("sklearn.ensemble.GradientBoostingRegressor", numbers=True),
    "HistGradientBoostingRegressor": _tree(
        "sklearn.ensemble.HistGradientBoostingRegressor", numbers=True
    ),
    "XGBRegressor": EstimatorInfo(
        "xgboost.XGBRegressor",
        scaled=False,
        extra="xgboost",
        any_name=False,
        weighted=True,
        numbers=True,
    ),
    "LGBMRegressor": EstimatorInfo(
        "lightgbm.LGBMRegressor",
        scaled=False,
        extra="lightgbm",
        any_name=False,
        weighted=True,
        numbers=True,
    ),
}
"""Those that predict numbers."""

_ALL = {**REGISTRY, **NUMBER_REGISTRY}

Member = tuple[str, Mapping[str, Any]]
"""The name of an estimator, and its parameters."""

DEFAULT_COMMITTEE: tuple[Member, ...] = (
    ("LogisticRegression", {"max_iter": 1000}),
    # Leaves are bounded for the size of what is stored, which grows with the rows otherwise.
    ("ExtraTreesClassifier", {"n_estimators": 100, "max_leaf_nodes": 4096}),
    (
        "HistGradientBoostingClassifier",
        {"early_stopping": False, "max_iter": 50, "min_samples_leaf": 10},
    ),
    # So many steps and no more: the penalty and the vote's weights take care of what is left.
    (
        "MLPClassifier",
        {"hidden_layer_sizes": [64], "solver": "lbfgs", "max_iter": 100, "alpha": 1.0},
    ),
)
"""Who votes where a committee is asked for and not named: ``teacher: {}``."""

DEFAULT_NUMBER_COMMITTEE: tuple[Member, ...] = (
    ("Ridge", {}),
    ("ExtraTreesRegressor", {"n_estimators": 100, "max_leaf_nodes": 4096}),
    (
        "HistGradientBoostingRegressor",
        {"early_stopping": False, "max_iter": 50, "min_samples_leaf": 10},
    ),
    (
        "MLPRegressor",
        {"hidden_layer_sizes": [64], "solver": "lbfgs", "max_iter": 100, "alpha": 1.0},
    ),
)
"""The same four kinds of models for labels that are numbers."""

# Leaves are bounded for the size of what is stored: each of them is fitted on thousands of rows.
DEFAULT_PEER: Member = ("ExtraTreesClassifier", {"n_estimators": 50, "max_leaf_nodes": 512})
"""Who is taught where models teach each other and none is named."""


def unknown_name(
    name: str, allow_import: Sequence[str] = (), *, numbers: bool = False
) -> str | None:
    """Say that a name is neither in the registry nor an allowed import path; None if it is.

    Parameters
    ----------
    name
        As a configuration has it.
    allow_import
        Packages from which import paths are allowed, such as ``mypackage``.
    numbers
        Whether labels are numbers, so that only what predicts numbers is known.

    Examples
    --------
    >>> unknown_name("SVM").split(". ")[0]
    "unknown estimator 'SVM'"
    >>> unknown_name("MLPClassifier", numbers=True).split(". ")[:2]
    ['MLPClassifier predicts classes, and labels are numbers', "Did you mean 'MLPRegressor'?"]
    """
    known, others = (NUMBER_REGISTRY, REGISTRY) if numbers else (REGISTRY, NUMBER_REGISTRY)
    if name in known or _import_allowed(name, allow_import):
        return None
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if "." in name:
        hint = f" Import paths need --allow-import {name.split('.')[0]} on the command line."
    what = f"unknown estimator {name!r}"
    if name in others:
        kinds = ("classes", "numbers") if numbers else ("numbers", "classes")
        what = f"{name} predicts {kinds[0]}, and labels are {kinds[1]}"
    return f"{what}.{hint} There are: {', '.join(known)}."


def info_of(name: str) -> EstimatorInfo:
    """Return the registry's facts; an imported estimator is taken to need scaled input."""
    return _ALL.get(name) or EstimatorInfo(name)


def module_of(name: str) -> str:
    """Return the module in which an estimator is."""
    return info_of(name).path.rpartition(".")[0]


def extras_of(names: Iterable[str]) -> list[str]:
    """Return the distributions beside scikit-learn that estimators come from."""
    return sorted({info.extra for info in map(info_of, names) if info.extra is not None})


def _import_allowed(name: str, allow_import: Sequence[str]) -> bool:
    packages = (package.removesuffix(".*") for package in allow_import)
    return any(name.startswith(f"{package}.") for package in packages)
