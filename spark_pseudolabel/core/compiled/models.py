"""Which fitted models are predicted by compiled loops, when that pays, and the proof that it holds.

What is said is what the library's own ``predict_proba`` or ``predict`` says, bit for bit, so that
it decides nothing whether numba is installed, or how many rows a process has seen.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spark_pseudolabel.core.compiled.library_model import CompiledTrees, LibraryModel

_KINDS = {
    ("sklearn", "HistGradientBoostingClassifier"): ("sklearn_trees", "HistGradientBoosting"),
    ("sklearn", "HistGradientBoostingRegressor"): (
        "sklearn_trees",
        "HistGradientBoostingRegression",
    ),
    ("sklearn", "GradientBoostingClassifier"): ("sklearn_trees", "GradientBoosting"),
    ("sklearn", "GradientBoostingRegressor"): ("sklearn_trees", "GradientBoostingRegression"),
    ("sklearn", "ExtraTreesClassifier"): ("sklearn_forests", "Forest"),
    ("sklearn", "ExtraTreesRegressor"): ("sklearn_forests", "ForestRegression"),
    ("sklearn", "RandomForestClassifier"): ("sklearn_forests", "Forest"),
    ("sklearn", "RandomForestRegressor"): ("sklearn_forests", "ForestRegression"),
    ("xgboost", "XGBClassifier"): ("xgboost_trees", "XGBoost"),
    ("xgboost", "XGBRegressor"): ("xgboost_trees", "XGBoostRegression"),
    ("lightgbm", "LGBMClassifier"): ("lightgbm_trees", "LightGBM"),
    ("lightgbm", "LGBMRegressor"): ("lightgbm_trees", "LightGBMRegression"),
}

WORTH = 3_000_000
"""Rows times trees of which a library takes longer than numba does to load."""

_TRIED_ROWS = 256
_DENSE = (np.ndarray, pd.DataFrame)

Own = Callable[[Any], NDArray[Any]]
"""A library's own way to predict."""


@dataclass
class _Seen:
    """What this process knows about a fitted model, which itself it must not keep."""

    fitted: object
    n_trees: int
    work: int = 0
    tried: bool = False
    tables: CompiledTrees | None = None


_seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()
_by_library_alone = False


def predict_proba(model: Any, X: Any) -> NDArray[Any]:
    """Return what ``model.predict_proba(X)`` does, of many trees in less time.

    Parameters
    ----------
    model
        Fitted classifier.
    X
        Model input of shape (n_rows, n_features).

    Returns
    -------
    ndarray of shape (n_rows, n_classes)

    Raises
    ------
    Exception
        What the model raises on these rows.
    """
    return _said(model, X, model.predict_proba)


def predict(model: Any, X: Any, own: Own | None = None) -> NDArray[Any]:
    """Return what ``model.predict(X)`` does, of trees in less time.

    Parameters
    ----------
    model
        Fitted regressor.
    X
        Model input of shape (n_rows, n_features).
    own
        What to call in place of the model's own method.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    Exception
        What the model raises on these rows.
    """
    return _said(model, X, own or model.predict)


def _said(model: Any, X: Any, own: Own) -> NDArray[Any]:
    kind = None if _by_library_alone or not isinstance(X, _DENSE) else _kind(model)
    tables = None if kind is None else _tables(model, kind, X, own)
    said = None if kind is None or tables is None else _predicted(kind, tables, X)
    return own(X) if said is None else said


def is_compiled(model: Any) -> bool:
    """Whether a model was found to be worth compiling, and equal to its library in a trial."""
    return model in _seen and _seen[model].tables is not None


@contextlib.contextmanager
def by_library_alone() -> Iterator[None]:
    """Leave all predictions to the libraries inside a block."""
    global _by_library_alone
    before, _by_library_alone = _by_library_alone, True
    try:
        yield
    finally:
        _by_library_alone = before


def _tables(model: Any, kind: LibraryModel, X: Any, own: Own) -> CompiledTrees | None:
    seen = _seen.get(model)
    # A model that is fitted again is another one.
    if seen is None or seen.fitted is not kind.fitted or seen.n_trees != kind.n_trees:
        seen = _seen[model] = _Seen(kind.fitted, kind.n_trees)
    if not seen.tried:
        seen.work += seen.n_trees * len(X)
        if seen.work >= WORTH and len(X):
            some = X[:_TRIED_ROWS]
            seen.tables = _tried(kind, some, own(some))
            seen.tried = True
    return seen.tables


def _predicted(kind: LibraryModel, tables: CompiledTrees, X: Any) -> NDArray[Any] | None:
    """Return what the model says; None where it has to say it itself."""
    numbers = kind.numbers(X)
    if numbers is None:
        return None
    total = kind.start(numbers)
    tables.add_to(numbers, total)
    return kind.prediction(total)


def _tried(kind: LibraryModel, X: Any, expected: NDArray[Any]) -> CompiledTrees | None:
    """Make a model's tables; None where that can't be, or if they do not say what is expected."""
    if compiled_loops() is None:
        return None
    try:
        tables = kind.tables()
        P = None if tables is None else _predicted(kind, tables, X)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - another version of a library may keep its trees in any way
        return None
    same = P is not None and P.dtype == expected.dtype and np.array_equal(P, expected)
    return tables if same else None


def _kind(model: Any) -> LibraryModel | None:
    of = type(model)
    names = _KINDS.get((of.__module__.partition(".")[0], of.__name__))
    if names is None:
        return None
    module = importlib.import_module(f"{__package__}.{names[0]}")
    kind: LibraryModel = getattr(module, names[1])(model)
    try:
        return kind if kind.n_trees > 0 else None
    except AttributeError:  # of another version of the library
        return None


@lru_cache(maxsize=1)
def compiled_loops() -> Any:
    """Return the compiled loops; None without numba."""
    try:
        numba = importlib.import_module("numba")
        loops = importlib.import_module(f"{__package__}.loops")
    except Exception:  # noqa: BLE001 - numba refuses versions of numpy in several ways
        return None
    return None if numba.config.DISABLE_JIT else loops
