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
    """

    path: str
    scaled: bool = True
    condensed: bool = False
    encoded_labels: bool = False
    extra: str | None = None
    any_name: bool = True
    weighted: bool = False


def _tree(path: str, *, weighted: bool = True) -> EstimatorInfo:
    return EstimatorInfo(path, scaled=False, weighted=weighted)


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

# Leaves are bounded for the size of what is stored: each of them is fitted on thousands of rows.
DEFAULT_PEER: Member = ("ExtraTreesClassifier", {"n_estimators": 50, "max_leaf_nodes": 512})
"""Who is taught where models teach each other and none is named."""


def unknown_name(name: str, allow_import: Sequence[str] = ()) -> str | None:
    """Say that a name is neither in the registry nor an allowed import path; None if it is.

    Parameters
    ----------
    name
        As a configuration has it.
    allow_import
        Packages from which import paths are allowed, such as ``mypackage``.

    Examples
    --------
    >>> unknown_name("SVM").split(". ")[0]
    "unknown estimator 'SVM'"
    """
    if name in REGISTRY or _import_allowed(name, allow_import):
        return None
    near = difflib.get_close_matches(name, REGISTRY, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if "." in name:
        hint = f" Import paths need --allow-import {name.split('.')[0]} on the command line."
    return f"unknown estimator {name!r}.{hint} There are: {', '.join(REGISTRY)}."


def info_of(name: str) -> EstimatorInfo:
    """Return the registry's facts; an imported estimator is taken to need scaled input."""
    return REGISTRY.get(name) or EstimatorInfo(name)


def module_of(name: str) -> str:
    """Return the module in which an estimator is."""
    return (REGISTRY[name].path if name in REGISTRY else name).rpartition(".")[0]


def extras_of(names: Iterable[str]) -> list[str]:
    """Return the distributions beside scikit-learn that estimators come from."""
    return sorted({info.extra for info in map(info_of, names) if info.extra is not None})


def _import_allowed(name: str, allow_import: Sequence[str]) -> bool:
    packages = (package.removesuffix(".*") for package in allow_import)
    return any(name.startswith(f"{package}.") for package in packages)
