"""``mode: sklearn`` is scikit-learn's ``SelfTrainingClassifier``; see ``sklearn_cases.py``.

What each test is called after is a behaviour of scikit-learn's own test file, or one that it
leaves open: strictness at the threshold, and which reason to stop wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.teachers.estimators import build_estimator
from spark_pseudolabel.errors import ConfigError
from spark_pseudolabel.job import run
from tests.runs.sklearn_cases import (
    CASES,
    SEED,
    Case,
    Outcome,
    assert_same,
    configuration,
    k_best,
    load,
    run_case,
    threshold,
    write_tables,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

BY_NAME = {case.name: case for case in CASES}
Runs = Callable[[str], Outcome]


@pytest.fixture(scope="module")
def outcome(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run each case once, whichever test asks first."""
    known: dict[str, Outcome] = {}

    def get(name: str) -> Outcome:
        if name not in known:
            known[name] = run_case(spark, BY_NAME[name], tmp_path_factory.mktemp(name))
        return known[name]

    return get


def accepted_per_round(found: Outcome) -> list[int]:
    return [round_["accepted"] for round_ in found.report["rounds"]]


@pytest.mark.parametrize("name", BY_NAME)
def test_equals_self_training_classifier(outcome: Runs, name: str) -> None:
    assert_same(outcome(name))


@pytest.mark.parametrize("name", BY_NAME)
def test_round_0_is_given_and_no_round_is_beyond_the_last(outcome: Runs, name: str) -> None:
    found = outcome(name)
    given = found.training[found.training["source"] == "labeled"]
    assert (given["round"] == 0).all()
    assert set(given["row_id"]) == set(np.flatnonzero(found.data.given))
    assert found.labels["round"].between(1, max(1, found.report["n_iter"])).all()
    limit = BY_NAME[name].max_rounds
    assert limit is None or found.report["n_iter"] <= limit
    assert len(found.report["rounds"]) == found.report["n_iter"]


def test_probability_at_the_threshold_is_not_taken(outcome: Runs) -> None:
    found = outcome("knn-iris-default")
    assert found.report["config"]["selection"]["threshold"] == 0.75
    assert found.labels["confidence"].min() > 0.75
    # Four neighbors give quarters: above 0.75 there is only 1.
    assert set(found.labels["confidence"]) == {1.0}
    assert found.report["rows"]["rejected"] > 0


def test_k_best_takes_k_per_round_until_the_pool_is_empty(outcome: Runs) -> None:
    found = outcome("regression-iris-10-best-no-limit")
    pool = int((~found.data.given).sum())
    assert accepted_per_round(found) == [10, 10, 10, pool - 30]
    assert found.report["n_iter"] == -(-pool // 10)
    assert found.report["termination_condition"] == "all_labeled"


def test_k_best_takes_the_most_confident_rows(outcome: Runs) -> None:
    name = "discriminant-breast-cancer-40-best-1-round"
    found, case = outcome(name), BY_NAME[name]
    given = found.data.given
    seed = build_estimator(case.estimator, case.params, SEED)
    confidence = seed.fit(found.data.X[given], found.data.y[given]).predict_proba(found.data.X)
    of_pool = pd.Series(confidence.max(axis=1))[~given]
    np.testing.assert_allclose(
        np.sort(found.labels["confidence"]), np.sort(of_pool)[-40:], rtol=0, atol=1e-12
    )
    # Where rows tie, scikit-learn leaves the choice open; here the lower id is taken.
    assert not of_pool.duplicated().any()


def test_k_larger_than_the_pool_takes_all_at_once_and_warns(outcome: Runs) -> None:
    found = outcome("more-than-there-are")
    assert accepted_per_round(found) == [int((~found.data.given).sum())]
    assert found.report["termination_condition"] == "all_labeled"
    assert [w["code"] for w in found.report["warnings"]] == ["k_best_too_large"]


def test_without_a_limit_all_rows_are_labeled(outcome: Runs) -> None:
    found = outcome("nb-wine-threshold-strings-no-limit")
    assert found.report["termination_condition"] == found.theirs.termination_condition_
    assert found.report["n_iter"] < 10


@pytest.mark.parametrize("name", ["zero-rounds", "no-unlabeled"])
def test_without_rounds_the_model_is_the_supervised_one(outcome: Runs, name: str) -> None:
    found, case = outcome(name), BY_NAME[name]
    given = found.data.given
    supervised = build_estimator(case.estimator, case.params, SEED)
    supervised.fit(found.data.X[given], found.data.y[given])
    np.testing.assert_array_equal(
        found.model.predict_proba(found.data.X_test), supervised.predict_proba(found.data.X_test)
    )
    assert found.labels.empty
    assert found.report["n_iter"] == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero-rounds", "max_iter"),
        ("no-unlabeled", "all_labeled"),
        ("no-change", "no_change"),
        ("no-change-at-the-maximum", "max_iter"),
        ("more-than-there-are", "all_labeled"),
        ("forest-wine-threshold-strings-1-round", "max_iter"),
    ],
)
def test_reason_to_stop(outcome: Runs, name: str, reason: str) -> None:
    assert outcome(name).report["termination_condition"] == reason


def test_round_without_new_labels_counts(outcome: Runs) -> None:
    found = outcome("no-change")
    assert found.report["n_iter"] == 1
    assert accepted_per_round(found) == [0]


def test_labels_come_back_in_their_type(outcome: Runs) -> None:
    assert outcome("knn-iris-default").labels["label"].dtype == np.int64
    strings = outcome("forest-wine-threshold-strings-1-round").labels["label"]
    assert set(strings) <= {"class class_0", "class class_1", "class class_2"}


def test_digits_with_80_percent_unlabeled_get_no_worse(outcome: Runs) -> None:
    name = "forest-digits-threshold-2-rounds"
    found, case = outcome(name), BY_NAME[name]
    data = found.data
    seed = build_estimator(case.estimator, case.params, SEED)
    seed.fit(data.X[data.given], data.y[data.given])
    before = accuracy_score(data.y_test, seed.predict(data.X_test))
    after = accuracy_score(data.y_test, found.model.predict(data.X_test))
    noise = 2 * np.sqrt(before * (1 - before) / len(data.y_test))
    assert after >= before - noise
    # The figure that the source of this example names.
    assert after >= 0.89


def test_integer_and_string_labels_give_the_same_rows(
    spark: SparkSession, tmp_path: Path, outcome: Runs
) -> None:
    strings = BY_NAME["discriminant-breast-cancer-40-best-1-round"]
    numbers = Case(**{**vars(strings), "name": "numbers", "strings": False})
    ours, theirs = run_case(spark, numbers, tmp_path), outcome(strings.name)
    assert set(ours.labels["row_id"]) == set(theirs.labels["row_id"])
    # The names sort the other way round, and with them the sums over classes.
    np.testing.assert_allclose(
        ours.model.predict_proba(ours.data.X_test),
        theirs.model.predict_proba(ours.data.X_test)[:, ::-1],
        rtol=0,
        atol=1e-12,
    )


def test_raised_maximum_goes_on_as_one_long_run_would(spark: SparkSession, tmp_path: Path) -> None:
    case = BY_NAME["regression-iris-10-best-no-limit"]
    data = load(case)
    write_tables(data, tmp_path)
    settings = configuration(case, tmp_path)
    labeled = []
    for limit in (1, 2):
        result = run(spark, parse_config(settings | {"rounds": {"max": limit}}))
        labeled.append(len(pd.read_parquet(tmp_path / "out" / "labels")))
        assert result.report.termination_condition == "max_iter"
    assert labeled == [10, 20]


@pytest.mark.parametrize(
    ("selection", "key"),
    [
        (threshold(1.0), "selection.threshold"),
        (threshold(-0.1), "selection.threshold"),
        (k_best(0), "selection.k"),
        ({"policy": "percentile"}, "selection.policy"),
    ],
)
def test_what_scikit_learn_refuses_is_refused(
    tmp_path: Path, selection: dict[str, object], key: str
) -> None:
    settings = configuration(CASES[0], tmp_path) | {"selection": selection}
    with pytest.raises(ConfigError) as caught:
        parse_config(settings)
    assert [problem.key for problem in caught.value.problems] == [key]
