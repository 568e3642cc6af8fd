"""Where models learn is held against what the estimator that learns can do."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import ConfigError
from tests.config.files import minimal

XGB = "XGBClassifier"
LOGISTIC = "LogisticRegression"


def of(name: str | None, training: dict[str, Any], **params: Any) -> dict[str, Any]:
    model = {} if name is None else {"model": {"estimator": name, "params": params}}
    return minimal(**model, training=training)


def test_on_the_cluster_there_is_no_cap_and_workers_are_settled() -> None:
    training = parse_config(of(XGB, {"on": "cluster"})).training
    assert (training.max_rows, training.workers) == (None, 2)
    training = parse_config(of(XGB, {"on": "cluster", "max_rows": 9, "workers": 5})).training
    assert (training.max_rows, training.workers) == (9, 5)
    assert parse_config(of(XGB, {})).training.workers is None


def test_a_recommended_cap_is_for_the_driver() -> None:
    section = minimal(
        selection={"policy": "auto"}, model={"estimator": LOGISTIC}, training={"on": "cluster"}
    )
    training = parse_config(section).training
    assert (training.rows, training.labels, training.max_rows) == ("all", "soft", None)


@pytest.mark.parametrize(
    ("name", "training", "params", "key", "words"),
    [
        (None, {"on": "cluster"}, {}, "training.on", "XGBClassifier or LogisticRegression"),
        ("GaussianNB", {"on": "cluster"}, {}, "training.on", "Got GaussianNB"),
        (None, {"max_rows": None}, {}, "training.max_rows", "must be a number"),
        ("SVC", {"max_rows": None}, {"probability": True}, "training.max_rows", "SVC"),
        ("MLPClassifier", {"max_rows": None}, {"solver": "lbfgs"}, "training.max_rows", "null is"),
        (
            "MLPClassifier",
            {"max_rows": None},
            {"early_stopping": True},
            "model.params.early_stopping",
            "puts none aside",
        ),
        (LOGISTIC, {"on": "cluster"}, {"tol": 1e-9}, "model.params.tol", "no such"),
        (LOGISTIC, {"on": "cluster"}, {"solver": "saga"}, "model.params.solver", "'lbfgs'"),
        (XGB, {"on": "cluster"}, {"tree_method": "exact"}, "model.params.tree_method", "'hist'"),
        (
            XGB,
            {"on": "cluster"},
            {"early_stopping_rounds": 5},
            "model.params.early_stopping_rounds",
            "left out",
        ),
        (XGB, {"workers": 2}, {}, "training.workers", "training.on: cluster"),
    ],
)
def test_what_an_estimator_cannot_do_there_is_refused_by_name(
    name: str | None, training: dict[str, Any], params: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(of(name, training, **params))
    assert [problem.key for problem in refused.value.problems] == [key]
    assert words in refused.value.problems[0].message


def test_what_is_as_it_would_be_anyway_is_allowed() -> None:
    parse_config(
        of(XGB, {"on": "cluster"}, tree_method="hist", n_jobs=1, early_stopping_rounds=None)
    )
    parse_config(of("SGDClassifier", {"max_rows": None}, loss="log_loss"))
    parse_config(of("GaussianNB", {"max_rows": None, "pseudo_weight": "confidence"}))
    assert parse_config(minimal(mode="sklearn")).training.max_rows is None


def test_the_student_is_who_learns() -> None:
    student = {"estimator": LOGISTIC, "params": {"tol": 1e-9}}
    model = {"estimator": "SVC", "params": {"probability": True}, "student": student}
    with pytest.raises(ConfigError) as refused:
        parse_config(minimal(model=model, training={"on": "cluster"}))
    assert [problem.key for problem in refused.value.problems] == ["model.student.params.tol"]


@pytest.mark.parametrize(
    ("training", "key"),
    [({"on": "cluster"}, "training.on"), ({"max_rows": None}, "training.max_rows")],
)
def test_an_estimator_of_ones_own_learns_from_rows_on_the_driver(
    training: dict[str, Any], key: str
) -> None:
    own = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.raises(ConfigError) as refused:
        parse_config(minimal(training=training), estimator=own)
    assert [problem.key for problem in refused.value.problems] == [key]
