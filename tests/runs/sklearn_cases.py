"""Cases in which ``mode: sklearn`` is held against ``SelfTrainingClassifier``, on any session."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.semi_supervised import SelfTrainingClassifier

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.teachers.estimators import build_estimator
from spark_pseudolabel.job import run
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.store import RoundStore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_pseudolabel.store.files import Files

LOADERS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
UNLABELED = -1
SVC_WARNING = "The `probability` parameter was deprecated"
"""scikit-learn 1.9 says it at each fit of an SVC that gives probabilities."""
SEED = 0


@dataclass(frozen=True)
class Case:
    """One comparison.

    Parameters
    ----------
    name
        The test's id.
    data
        A data set that ships with scikit-learn; a fifth of its rows is kept for testing.
    estimator, params
        In the registry.
    selection
        Section of the configuration; ``threshold`` may be left out, as both sides default to 0.75.
    max_rounds
        ``rounds.max`` and ``max_iter``.
    strings
        Use the classes' names instead of their numbers.
    unlabeled
        Share of the other rows that loses its label.
    """

    name: str
    data: str
    estimator: str
    params: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=lambda: {"policy": "threshold"})
    max_rounds: int | None = 10
    strings: bool = False
    unlabeled: float = 0.8


def k_best(k: int) -> dict[str, Any]:
    return {"policy": "k_best", "k": k}


def threshold(value: float) -> dict[str, Any]:
    return {"policy": "threshold", "threshold": value}


REGRESSION = {"max_iter": 5000}
# So strongly penalized that no probability comes near to 1.
UNSURE = {"C": 0.001, "max_iter": 5000}

CASES = (
    # Quarters as probabilities: many rows stand exactly at the default threshold of 0.75.
    Case("knn-iris-default", "iris", "KNeighborsClassifier", {"n_neighbors": 4}),
    Case(
        "nb-wine-threshold-strings-no-limit",
        "wine",
        "GaussianNB",
        selection=threshold(0.9),
        max_rounds=None,
        strings=True,
    ),
    Case(
        "forest-digits-threshold-2-rounds",
        "digits",
        "RandomForestClassifier",
        {"n_estimators": 200},
        max_rounds=2,
    ),
    # All pool rows in four rounds: 10, 10, 10 and the rest.
    Case(
        "regression-iris-10-best-no-limit",
        "iris",
        "LogisticRegression",
        REGRESSION,
        k_best(10),
        max_rounds=None,
        unlabeled=0.3,
    ),
    Case(
        "forest-wine-threshold-strings-1-round",
        "wine",
        "RandomForestClassifier",
        {"n_estimators": 25},
        threshold(0.6),
        max_rounds=1,
        strings=True,
    ),
    Case(
        "tree-breast-cancer-threshold",
        "breast_cancer",
        "DecisionTreeClassifier",
        {"max_depth": 4, "min_samples_leaf": 7, "random_state": 1},
        threshold(0.95),
        max_rounds=4,
    ),
    Case(
        "discriminant-breast-cancer-40-best-1-round",
        "breast_cancer",
        "LinearDiscriminantAnalysis",
        {},
        k_best(40),
        max_rounds=1,
        strings=True,
    ),
    Case(
        "svc-wine-threshold-2-rounds",
        "wine",
        "SVC",
        {"probability": True, "random_state": 5},
        threshold(0.6),
        max_rounds=2,
    ),
    # Every fit goes on from the one before it, on one object.
    Case(
        "warm-sgd-iris-threshold",
        "iris",
        "SGDClassifier",
        {"loss": "log_loss", "warm_start": True, "random_state": 3},
        max_rounds=2,
    ),
    Case("zero-rounds", "iris", "LogisticRegression", REGRESSION, max_rounds=0),
    Case("no-change", "iris", "LogisticRegression", UNSURE, threshold(0.99)),
    Case("no-change-at-the-maximum", "iris", "LogisticRegression", UNSURE, threshold(0.99), 1),
    Case("more-than-there-are", "iris", "GaussianNB", selection=k_best(10_000)),
    Case("no-unlabeled", "iris", "DecisionTreeClassifier", {"random_state": 2}, unlabeled=0.0),
)
CLUSTER_CASES = CASES[:8]
"""The cases with a data set in their name: what differs between clusters shows in these."""


@dataclass(frozen=True)
class Data:
    """A data set split into what both sides train on and what they are tested on."""

    X: NDArray[np.float64]
    y: NDArray[Any]
    given: NDArray[np.bool_]
    X_test: NDArray[np.float64]
    y_test: NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """Both sides of a case.

    Parameters
    ----------
    data
        What both saw; the position of a row is its id.
    theirs
        Fitted.
    report, labels, training, model
        Ours: the report, the published tables by pandas, the final model.
    """

    data: Data
    theirs: SelfTrainingClassifier
    report: dict[str, Any]
    labels: pd.DataFrame
    training: pd.DataFrame
    model: Any


def run_case(spark: SparkSession, case: Case, directory: Path) -> Outcome:
    """Run a case on both sides; `directory` must be one that the executors see."""
    data = load(case)
    write_tables(data, directory)
    with _expected_warnings():
        report = run(spark, parse_config(configuration(case, directory))).report.as_json()
    out = directory / "out"
    return Outcome(
        data,
        fit_theirs(case, data),
        report,
        pd.read_parquet(out / "labels"),
        pd.read_parquet(out / "training"),
        load_final(out, report),
    )


def assert_same(outcome: Outcome) -> None:
    """Hold our result against scikit-learn's, row by row."""
    theirs, data = outcome.theirs, outcome.data
    assert outcome.report["n_iter"] == theirs.n_iter_
    assert outcome.report["termination_condition"] == theirs.termination_condition_
    assert _rows(outcome.labels) == _their_rows(theirs)
    given = outcome.training[outcome.training["source"] == "labeled"].set_index("row_id")["label"]
    assert given.to_dict() == dict(zip(np.flatnonzero(data.given), data.y[data.given], strict=True))
    assert outcome.model.classes_.tolist() == theirs.classes_.tolist()
    np.testing.assert_allclose(
        outcome.model.predict_proba(data.X_test),
        theirs.predict_proba(data.X_test),
        rtol=0,
        atol=1e-12,
    )
    assert outcome.model.predict(data.X_test).tolist() == theirs.predict(data.X_test).tolist()


def load(case: Case) -> Data:
    bunch = LOADERS[case.data]()
    X, y = bunch.data, bunch.target
    if case.strings:
        y = np.array([f"class {name}" for name in bunch.target_names], dtype=object)[y]
    chance = np.random.default_rng(SEED).permutation(len(y))
    test, rest = chance[: len(y) // 5], chance[len(y) // 5 :]
    given = np.arange(len(rest)) >= round(case.unlabeled * len(rest))
    mixed = np.random.default_rng(SEED + 1).permutation(len(rest))
    return Data(X[rest][mixed], y[rest][mixed], given[mixed], X[test], y[test])


def fit_theirs(case: Case, data: Data) -> SelfTrainingClassifier:
    y = data.y.copy()
    y[~data.given] = UNLABELED
    by_k = case.selection["policy"] == "k_best"
    criterion: dict[str, Any] = {"criterion": "k_best"} if by_k else {}
    criterion |= {"k_best": case.selection["k"]} if by_k else {}
    criterion |= {key: v for key, v in case.selection.items() if key == "threshold"}
    estimator = build_estimator(case.estimator, case.params, random_state=SEED)
    theirs = SelfTrainingClassifier(estimator, max_iter=case.max_rounds, **criterion)
    with _expected_warnings():
        return theirs.fit(data.X, y)


def write_tables(data: Data, directory: Path) -> None:
    """Write labeled rows, and the pool in files whose order is not that of the ids."""
    names = [f"f{i:02d}" for i in range(data.X.shape[1])]
    rows = pd.DataFrame(data.X, columns=names)
    rows["target"] = data.y
    # Of very different lengths as text, so that sorting ids as text would show.
    rows.insert(0, "row_id", np.arange(len(rows)))
    pool = rows[~data.given].drop(columns="target").iloc[::-1]
    (directory / "pool").mkdir(parents=True)
    for part in range(3):
        pool.iloc[part::3].to_parquet(directory / "pool" / f"part-{part}.parquet", index=False)
    rows[data.given].to_parquet(directory / "labeled.parquet", index=False)


def configuration(case: Case, directory: Path) -> dict[str, Any]:
    return {
        "mode": "sklearn",
        "labeled": {"path": str(directory / "labeled.parquet"), "label": "target"},
        "unlabeled": {"path": str(directory / "pool")},
        "id": "row_id",
        "model": {"estimator": case.estimator, "params": case.params},
        "selection": case.selection,
        "rounds": {"max": case.max_rounds},
        "random_state": SEED,
        "output": {"path": str(directory / "out")},
    }


def load_final(out: Path, report: dict[str, Any]) -> Any:
    files: Files
    files, root = open_files(str(out))
    return RoundStore.open(files, root).load_model(report["best_round"] + 1)


def _rows(labels: pd.DataFrame) -> dict[int, tuple[Any, int]]:
    columns = (labels["row_id"], labels["label"], labels["round"])
    return {row: (label, round_) for row, label, round_ in zip(*columns, strict=True)}


def _their_rows(theirs: SelfTrainingClassifier) -> dict[int, tuple[Any, int]]:
    rounds = np.asarray(theirs.labeled_iter_).astype(int)
    accepted = np.flatnonzero(rounds > 0)
    return {int(row): (theirs.transduction_[row], int(rounds[row])) for row in accepted}


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    """Let pass what scikit-learn warns of and our report says in words."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=SVC_WARNING)
        warnings.filterwarnings("ignore", message="k_best is larger than the amount")
        warnings.filterwarnings("ignore", message="y contains no unlabeled samples")
        yield
