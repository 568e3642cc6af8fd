"""How right an anchor graph is with few labels, beside scikit-learn's propagation and a line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.anchors import AnchorsTeacher, anchors_teacher
from spark_pseudolabel.core.teachers.training import TrainingRows

SETS = {
    "digits": load_digits,
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
}
Codes = NDArray[np.int64]


def cells(draws: int) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield set, labels a class and the share that each method has right, a mean over draws."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # scikit-learn's waits for the last rows
    for name, load in SETS.items():
        X, y = load(return_X_y=True)
        frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
        graphs = {"anchors": _seen(frame), "class mass": _seen(frame, class_mass=True)}
        for per_class in (1, 2, 5, 10):
            each = [_methods(frame, y, _draw(y, per_class, seed), graphs) for seed in range(draws)]
            yield name, per_class, pd.DataFrame(each).mean().to_dict()


def _seen(frame: pd.DataFrame, *, class_mass: bool = False) -> AnchorsTeacher:
    features = [Feature(name, "numeric", "double") for name in frame]
    teacher = anchors_teacher(features, 1000, 3, 0, class_mass=class_mass).placed(frame)
    wanted = teacher.pool_pass
    assert wanted is not None
    return teacher.informed(wanted.look([pa.RecordBatch.from_pandas(frame)]))


def _draw(y: Codes, per_class: int, seed: int) -> Codes:
    chance = np.random.default_rng(seed)
    of_class = [chance.permutation(np.flatnonzero(y == code))[:per_class] for code in np.unique(y)]
    return np.concatenate(of_class)


def _methods(
    frame: pd.DataFrame, y: Codes, rows: Codes, graphs: dict[str, AnchorsTeacher]
) -> dict[str, float]:
    """Return the share of the other rows that each method has right; none of an abstention is."""
    rest, classes = np.setdiff1d(np.arange(len(y)), rows), np.unique(y)
    labeled = TrainingRows(frame.iloc[rows].reset_index(drop=True), y[rows], None, 0)
    right = {}
    for name, teacher in graphs.items():
        P = teacher.fit(labeled, classes.tolist()).predict_proba(frame)
        right[name] = (P.argmax(axis=1) == y) & P.any(axis=1)
    given = np.full(len(y), -1)
    given[rows] = y[rows]
    raw, scaled = frame.to_numpy(), StandardScaler().fit_transform(frame.to_numpy())
    for name, model in (
        ("propagation", LabelPropagation(kernel="knn", max_iter=1000)),
        ("spreading", LabelSpreading(kernel="knn", max_iter=100)),
    ):
        right[name] = model.fit(raw, given).transduction_ == y
        right[f"{name}, scaled"] = model.fit(scaled, given).transduction_ == y
    linear = LogisticRegression(max_iter=1000).fit(scaled[rows], y[rows])
    right["linear"] = linear.predict(scaled) == y
    return {name: float(correct[rest].mean()) for name, correct in right.items()}
