"""Estimators that a configuration names: looked up, checked against their libraries, made."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from spark_pseudolabel.registry import info_of, module_of, unknown_name


def check_estimator(
    name: str,
    params: Mapping[str, Any],
    allow_import: Sequence[str] = (),
    *,
    numbers: bool = False,
) -> str | None:
    """Say what is wrong with an estimator named in a configuration.

    Parameters
    ----------
    name
        Name in the registry, or an import path below one of `allow_import`.
    params
        Keyword arguments of its constructor.
    allow_import
        Packages from which import paths are allowed, such as ``mypackage``.
    numbers
        Whether labels are numbers.

    Returns
    -------
    str or None
        One sentence, or None when the estimator can be built.
    """
    if message := check_name(name, allow_import, numbers=numbers):
        return message
    return _check_params(name, _class_of(name), params, numbers)


def check_name(name: str, allow_import: Sequence[str] = (), *, numbers: bool = False) -> str | None:
    """Say what is wrong with an estimator's name alone; see :func:`check_estimator`."""
    if message := unknown_name(name, allow_import, numbers=numbers):
        return message
    try:
        estimator = _class_of(name)
    except ImportError as error:
        extra = info_of(name).extra
        hint = f" Install it: pip install 'spark-pseudolabel[{extra}]'." if extra else ""
        return f"{name} can't be imported ({error}).{hint}"
    except Exception as error:  # noqa: BLE001 - a library may fail to load in any way it likes
        return f"{name} cannot be loaded: {_first_line(error)}.{_load_hint(error)}"
    is_estimator = isinstance(estimator, type) and issubclass(estimator, BaseEstimator)
    return None if is_estimator else f"{name} must be a {_kind(numbers)}."


def _kind(numbers: bool) -> str:
    return "regressor" if numbers else "classifier"


def _load_hint(error: Exception) -> str:
    """Say how to get a shared library that a Python package does not bring along."""
    if "libgomp" in str(error):
        return (
            " It needs the GNU OpenMP library: apt-get install libgomp1, or dnf install libgomp; "
            "or choose another estimator, such as histogram gradient boosting."
        )
    return " Install what it needs, or choose another estimator."


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def build_estimator(name: str, params: Mapping[str, Any], random_state: int) -> BaseEstimator:
    """Make an unfitted estimator.

    Parameters
    ----------
    name, params
        As checked by :func:`check_estimator`.
    random_state
        Given to the estimator when it takes one and `params` names none: a run must be repeatable.
    """
    estimator_class = _class_of(name)
    known = inspect.signature(estimator_class).parameters
    seed = {"random_state": random_state} if "random_state" in known else {}
    # LightGBM prints a line per fit unless told not to, and takes its seed as **kwargs.
    quiet = {"verbose": -1} if info_of(name).extra == "lightgbm" else {}
    return estimator_class(**{**seed, **quiet, **params})


def takes_sample_weight(name: str, params: Mapping[str, Any] | None = None) -> bool:
    """Whether rows can be weighted in this estimator's fit."""
    return weights_supported(build_estimator(name, params or {}, random_state=0))


def weights_supported(estimator: BaseEstimator) -> bool:
    """Whether the estimator, or the last step of a pipeline, takes ``sample_weight``.

    An estimator that is made of others hands the weights on, so that these must take them, too.
    """
    last = final_step(estimator)
    members = [member for _, member in getattr(last, "estimators", None) or ()]
    parts = [last, getattr(last, "estimator", None), *members]
    return all(has_fit_parameter(part, "sample_weight") for part in parts if hasattr(part, "fit"))


def final_step(estimator: BaseEstimator) -> BaseEstimator:
    """Return the estimator itself, or the last step of a pipeline, be it inside another one."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def allows_nan(estimator: BaseEstimator) -> bool:
    """Whether missing values may reach the estimator or pipeline, by scikit-learn's tags."""
    return bool(get_tags(estimator).input_tags.allow_nan)


def _class_of(name: str) -> type[BaseEstimator]:
    module, attribute = module_of(name), info_of(name).path.rpartition(".")[2]
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except AttributeError as error:
        raise ImportError(f"{module} has no {attribute}") from error


def _check_params(
    name: str, estimator_class: type[BaseEstimator], params: Mapping[str, Any], numbers: bool
) -> str | None:
    try:
        known = estimator_class().get_params(deep=False)
    except TypeError as error:
        return f"{name} can't be built from plain parameters: {error}"
    for key in params:
        if key not in known and info_of(name).extra != "lightgbm":
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            return f"{name} has no parameter {key!r}.{hint}"
    estimator = build_estimator(name, params, random_state=0)
    # XGBoost and LightGBM inherit scikit-learn's check without declaring what it checks against.
    if hasattr(estimator, "_parameter_constraints"):
        try:
            estimator._validate_params()
        except ValueError as error:
            return str(error)
    return _kind_problem(name, estimator, numbers)


def check_kind(estimator: BaseEstimator, *, numbers: bool) -> str | None:
    """Say that an unfitted estimator does not predict what labels are; None if it does.

    Parameters
    ----------
    estimator
        With or without steps before it.
    numbers
        Whether labels are numbers.

    Examples
    --------
    >>> from sklearn.svm import SVR, LinearSVC
    >>> check_kind(SVR(), numbers=False)
    'SVR must be a classifier.'
    >>> check_kind(LinearSVC(), numbers=True)
    'LinearSVC must be a regressor: labels are numbers.'
    """
    return _kind_problem(type(final_step(estimator)).__name__, estimator, numbers)


def _kind_problem(name: str, estimator: BaseEstimator, numbers: bool) -> str | None:
    if numbers:
        regressor = is_regressor(estimator)
        return None if regressor else f"{name} must be a regressor: labels are numbers."
    if not is_classifier(estimator):
        return f"{name} must be a classifier."
    return check_probabilities(estimator)


def check_probabilities(estimator: BaseEstimator) -> str | None:
    """Say that an unfitted estimator gives no probabilities, in one sentence; None if it does.

    Examples
    --------
    >>> from sklearn.svm import LinearSVC
    >>> check_probabilities(LinearSVC())
    'LinearSVC with these parameters has no predict_proba, which a confidence needs.'
    """
    if hasattr(estimator, "predict_proba"):
        return None
    name = type(final_step(estimator)).__name__
    return f"{name} with these parameters has no predict_proba, which a confidence needs."
