"""The closed registry of estimators that a configuration may name; it imports none of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


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
    """

    path: str
    scaled: bool = True
    condensed: bool = False
    encoded_labels: bool = False
    extra: str | None = None
    any_name: bool = True


_TREES = ("DecisionTreeClassifier",)
_TREE_ENSEMBLES = (
    "RandomForestClassifier",
    "ExtraTreesClassifier",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "AdaBoostClassifier",
    "BaggingClassifier",
)

REGISTRY: Mapping[str, EstimatorInfo] = {
    "LogisticRegression": EstimatorInfo("sklearn.linear_model.LogisticRegression"),
    "SGDClassifier": EstimatorInfo("sklearn.linear_model.SGDClassifier"),
    "LinearDiscriminantAnalysis": EstimatorInfo(
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"
    ),
    "GaussianNB": EstimatorInfo("sklearn.naive_bayes.GaussianNB"),
    "KNeighborsClassifier": EstimatorInfo("sklearn.neighbors.KNeighborsClassifier"),
    "MLPClassifier": EstimatorInfo("sklearn.neural_network.MLPClassifier", condensed=True),
    "SVC": EstimatorInfo("sklearn.svm.SVC"),
    **{name: EstimatorInfo(f"sklearn.tree.{name}", scaled=False) for name in _TREES},
    **{name: EstimatorInfo(f"sklearn.ensemble.{name}", scaled=False) for name in _TREE_ENSEMBLES},
    "XGBClassifier": EstimatorInfo(
        "xgboost.XGBClassifier",
        scaled=False,
        encoded_labels=True,
        extra="xgboost",
        any_name=False,
    ),
    "LGBMClassifier": EstimatorInfo(
        "lightgbm.LGBMClassifier", scaled=False, extra="lightgbm", any_name=False
    ),
}


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
