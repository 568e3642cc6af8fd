"""Which fitted models are predicted by compiled loops, when that pays, and the proof that it holds.

The probabilities are those of the library's own ``predict_proba``, bit for bit, so that it decides
nothing whether numba is installed, or how many rows a process has seen.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spark_pseudolabel.core.compiled.forest import Tables, tables_of
from spark_pseudolabel.core.compiled.library_model import LibraryModel

_KINDS = {
    ("sklearn", "HistGradientBoostingClassifier"): ("sklearn_trees", "HistGradientBoosting"),
    ("sklearn", "GradientBoostingClassifier"): ("sklearn_trees", "GradientBoosting"),
    ("xgboost", "XGBClassifier"): ("xgboost_trees", "XGBoost"),
    ("lightgbm", "LGBMClassifier"): ("lightgbm_trees", "LightGBM"),
}

WORTH = 3_000_000
"""Rows times trees of which a library takes longer than numba does to load."""

_TRIED_ROWS = 256
_DENSE = (np.ndarray, pd.DataFrame)


@dataclass
class _Seen:
    """What this process knows about a fitted model, which itself it must not keep."""

    fitted: object
    n_trees: int
    work: int = 0
    tried: bool = False
    tables: Tables | None = None


_seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()
_by_library_alone = False


def predict_proba(model: Any, X: Any) -> NDArray[Any]:
    """Return what ``model.predict_proba(X)`` does, of boosted trees in less time.

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
    kind = None if _by_library_alone or not isinstance(X, _DENSE) else _kind(model)
    tables = None if kind is None else _tables(model, kind, X)
    P = None if kind is None or tables is None else _predicted(kind, tables, X)
    return model.predict_proba(X) if P is None else P


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


def _tables(model: Any, kind: LibraryModel, X: Any) -> Tables | None:
    seen = _seen.get(model)
    # A model that is fitted again is another one.
    if seen is None or seen.fitted is not kind.fitted or seen.n_trees != kind.n_trees:
        seen = _seen[model] = _Seen(kind.fitted, kind.n_trees)
    if not seen.tried:
        seen.work += seen.n_trees * len(X)
        if seen.work >= WORTH and len(X):
            some = X[:_TRIED_ROWS]
            seen.tables = _tried(kind, some, model.predict_proba(some))
            seen.tried = True
    return seen.tables


def _predicted(kind: LibraryModel, tables: Tables, X: Any) -> NDArray[Any] | None:
    """Return the classifier's probabilities; None where it has to say them itself."""
    numbers = kind.numbers(X)
    if numbers is None:
        return None
    total = kind.start(numbers)
    compiled_loops().add_all(numbers, *tables, total)
    return kind.probabilities(total)


def _tried(kind: LibraryModel, X: Any, expected: NDArray[Any]) -> Tables | None:
    """Make a model's tables; None where that can't be, or if they do not say what is expected."""
    if compiled_loops() is None:
        return None
    try:
        tables = tables_of(list(kind.trees()))
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
