"""Data sets with all labels known: scikit-learn's own, generated ones, and files by a flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification

from spark_pseudolabel.core.features import Feature

SEED = 0
_FEWEST_ROWS = 150
# As in each data set's own description.
_ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
)


@dataclass(frozen=True)
class DataSet:
    """Rows with true labels.

    Parameters
    ----------
    name
        As on the command line.
    X
        Model input as :func:`spark_pseudolabel.core.features.to_frame` gives it.
    codes
        ndarray of shape (n,), class indices.
    """

    name: str
    X: pd.DataFrame
    codes: NDArray[np.int32]

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels, which are their indices here."""
        return tuple(range(int(self.codes.max()) + 1))

    @property
    def features(self) -> tuple[Feature, ...]:
        """The input columns: floats are numbers, strings categories or, called text, texts."""
        return tuple(_feature(str(name), self.X[name]) for name in self.X)


def load(name: str, directory: Path | None) -> DataSet:
    """Make a data set, or read it from the original files below a directory.

    Raises
    ------
    ValueError
        If there is no such set, or it needs the directory.
    """
    if name in BUILT_IN:
        return _data_set(name, *BUILT_IN[name]())
    if name not in FILES:
        raise ValueError(f"data set must be one of {[*BUILT_IN, *FILES]}. Got {name!r}.")
    if directory is None:
        raise ValueError(f"{name} is read from its original files: name their folder by --data.")
    return _data_set(name, *FILES[name](directory))


def _data_set(name: str, X: pd.DataFrame, labels: Any) -> DataSet:
    """Leave out classes with few rows, order the columns, number the classes."""
    labels = pd.Series(np.asarray(labels))
    kept = labels.map(labels.value_counts()) >= min(_FEWEST_ROWS, len(labels) // 10)
    X, labels = X[kept.to_numpy()].reset_index(drop=True), labels[kept]
    numeric = [column for column in X if X[column].dtype != object]
    strings = [column for column in X if X[column].dtype == object]
    X = pd.concat([X[numeric].astype("float64"), X[strings]], axis=1)
    return DataSet(name, X, np.unique(labels, return_inverse=True)[1].astype(np.int32))


def _feature(name: str, column: pd.Series) -> Feature:
    if column.dtype != object:
        return Feature(name, "numeric", "double")
    return Feature(name, "text" if name == "text" else "category", "string")


Loaded = tuple[pd.DataFrame, Any]


def _numbers(X: Any) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(X), columns=[f"x{i}" for i in range(X.shape[1])])


def _generated(**settings: Any) -> Callable[[], Loaded]:
    """Return a maker of 16 columns, 8 of them informative."""
    defaults = {
        "n_samples": 12_000,
        "n_features": 16,
        "n_informative": 8,
        "n_redundant": 4,
        "random_state": SEED,
    }

    def make() -> Loaded:
        X, y = make_classification(**(defaults | settings))
        return _numbers(X), y

    return make


def _of(bunch: Callable[..., Any]) -> Callable[[], Loaded]:
    def make() -> Loaded:
        X, y = bunch(return_X_y=True)
        return _numbers(X), y

    return make


def _adult(directory: Path) -> Loaded:
    rows = pd.read_csv(
        directory / "adult/adult.data", names=_ADULT.split(), skipinitialspace=True, na_values="?"
    )
    X = rows.drop(columns="income")
    return X.astype(object).where(X.notna(), None).astype(
        {name: float for name in X if X[name].dtype != object}
    ), rows["income"]


def _bank(directory: Path) -> Loaded:
    rows = pd.read_csv(directory / "bank_marketing/bank-full.csv", sep=";")
    return rows.drop(columns=["y", "duration"]), rows["y"]


def _letter(directory: Path) -> Loaded:
    rows = pd.read_csv(directory / "letter/letter-recognition.data", header=None)
    return _numbers(rows.iloc[:, 1:].to_numpy(float)), rows[0]


def _covertype(directory: Path) -> Loaded:
    file = next((directory / "covertype").glob("*.csv.gz"))
    rows = pd.read_csv(file, low_memory=False)
    return _numbers(rows.iloc[:, :-1].to_numpy(float)), rows.iloc[:, -1].astype(int)


def _sms(directory: Path) -> Loaded:
    lines = (directory / "sms_spam/SMSSpamCollection").read_text(encoding="utf-8").splitlines()
    label, text = zip(*(line.split("\t", 1) for line in lines), strict=True)
    return pd.DataFrame({"text": pd.Series(text, dtype=object)}), label


BUILT_IN: Mapping[str, Callable[[], Loaded]] = {
    "digits": _of(load_digits),
    "breast_cancer": _of(load_breast_cancer),
    "wine": _of(load_wine),
    "clean": _generated(n_classes=4, class_sep=1.5, flip_y=0.0),
    "noise": _generated(flip_y=0.2),
    "imbalance": _generated(weights=[0.9], class_sep=0.8),
    "overlap": _generated(n_classes=3, class_sep=0.6, n_clusters_per_class=1),
}
FILES: Mapping[str, Callable[[Path], Loaded]] = {
    "adult": _adult,
    "bank": _bank,
    "letter": _letter,
    "covertype": _covertype,
    "sms": _sms,
}
