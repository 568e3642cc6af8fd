"""Data sets whose labels are numbers: generated ones, scikit-learn's own, and files by a flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman2, make_friedman3

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.evaluate.data import SEED, adult_rows, features_of

_ROWS = 12_000


@dataclass(frozen=True)
class NumberSet:
    """Rows with true numbers.

    Parameters
    ----------
    name
        As on the command line.
    X
        Model input.
    y
        ndarray of shape (n,): the numbers.
    tolerance
        How far a label may be off, in their unit.
    """

    name: str
    X: pd.DataFrame
    y: NDArray[np.float64]
    tolerance: float

    @property
    def features(self) -> tuple[Feature, ...]:
        """The input columns."""
        return features_of(self.X)

    @property
    def integer(self) -> bool:
        """Whether all numbers are whole."""
        return bool((self.y == np.rint(self.y)).all())


Loaded = tuple[pd.DataFrame, NDArray[np.float64]]


def load_numbers(name: str, directory: Path | None) -> NumberSet:
    """Make a data set, or read it from the original files below a directory.

    Raises
    ------
    ValueError
        If there is no such set, or it needs the directory.
    """
    if name in NUMBERS:
        tolerance, make = NUMBERS[name]
        X, y = make()
    elif name not in NUMBER_FILES:
        raise ValueError(f"data set must be one of {[*NUMBERS, *NUMBER_FILES]}. Got {name!r}.")
    elif directory is None:
        raise ValueError(f"{name} is read from its original files: name their folder by --data.")
    else:
        tolerance, read = NUMBER_FILES[name]
        X, y = read(directory)
    numeric = [column for column in X if X[column].dtype != object]
    strings = [column for column in X if X[column].dtype == object]
    X = pd.concat([X[numeric].astype("float64"), X[strings]], axis=1)
    return NumberSet(name, X, np.asarray(y, dtype=np.float64), tolerance)


def _columns(X: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])


def _friedman() -> Loaded:
    X, y = make_friedman1(_ROWS, n_features=10, noise=1.0, random_state=SEED)
    return _columns(X), y


def _friedman2() -> Loaded:
    X, y = make_friedman2(_ROWS, noise=100.0, random_state=SEED)
    return _columns(X), y


def _friedman3() -> Loaded:
    X, y = make_friedman3(_ROWS, noise=0.1, random_state=SEED)
    return _columns(X), y


def _heteroscedastic() -> Loaded:
    """Make a smooth function of four columns, with noise that two others multiply by 0.03 to 4."""
    chance = np.random.default_rng(SEED)
    X = chance.uniform(-1, 1, size=(_ROWS, 8))
    size = np.exp(1.2 * (X[:, 4] + X[:, 5]) - 1)
    y = 3 * np.sin(2 * X[:, 0]) + 2 * X[:, 1] * X[:, 2] + X[:, 3]
    return _columns(X), y + size * chance.normal(size=_ROWS)


def _steps() -> Loaded:
    """Make jumps at thresholds that interact, with heavy tails around them."""
    chance = np.random.default_rng(SEED)
    X = chance.normal(size=(_ROWS, 10))
    first, second, third, fourth = X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 0.5, X[:, 3] < -0.3
    y = 4 * (first & second) + 2 * third - 3 * (fourth & first)
    return _columns(X), y + 0.5 * chance.standard_t(4, size=_ROWS)


def _linear() -> Loaded:
    chance = np.random.default_rng(SEED)
    X = chance.normal(size=(_ROWS, 16))
    return _columns(X), X @ chance.normal(size=16) + 2 * chance.normal(size=_ROWS)


def _prices() -> Loaded:
    """Make products of numbers, missing numbers and categories, as prices are."""
    chance = np.random.default_rng(SEED)
    numbers = _columns(chance.normal(size=(_ROWS, 5)))
    sizes = {"region": 5, "brand": 30}
    drawn = {name: chance.zipf(1.5, _ROWS) % size for name, size in sizes.items()}
    effect = {name: chance.normal(size=size) for name, size in sizes.items()}
    log = 0.5 * numbers["x0"] + 0.3 * np.abs(numbers["x1"]) * effect["region"][drawn["region"]]
    log += 0.4 * effect["brand"][drawn["brand"]] + 0.2 * chance.normal(size=_ROWS)
    X = numbers.mask(pd.DataFrame(chance.random(numbers.shape) < 0.05, columns=numbers.columns))
    for name, values in drawn.items():
        X[name] = pd.Series([f"{name[0]}{value}" for value in values], dtype=object)
    return X, np.exp(log.to_numpy() + 3)


def _diabetes() -> Loaded:
    X, y = load_diabetes(return_X_y=True)
    return _columns(X), y


def _hours(directory: Path) -> Loaded:
    rows = adult_rows(directory)
    return rows.drop(columns="hours_per_week"), rows["hours_per_week"].to_numpy(np.float64)


def _balance(directory: Path) -> Loaded:
    rows = pd.read_csv(directory / "bank_marketing/bank-full.csv", sep=";")
    X = rows.drop(columns="balance")
    strings = [column for column in X if not pd.api.types.is_numeric_dtype(X[column])]
    return X.astype(dict.fromkeys(strings, object)), rows["balance"].to_numpy(np.float64)


NUMBERS: Mapping[str, tuple[float, Callable[[], Loaded]]] = {
    "friedman": (2.5, _friedman),
    "friedman2": (200.0, _friedman2),
    "friedman3": (0.2, _friedman3),
    "heteroscedastic": (1.0, _heteroscedastic),
    "steps": (1.5, _steps),
    "linear": (4.0, _linear),
    "prices": (8.0, _prices),
    "diabetes": (90.0, _diabetes),
}
"""Tolerance and maker of each."""

NUMBER_FILES: Mapping[str, tuple[float, Callable[[Path], Loaded]]] = {
    "hours": (10.0, _hours),
    "balance": (1500.0, _balance),
}
