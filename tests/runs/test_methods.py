"""The methods of the sources, each from a configuration, on data that ships with scikit-learn.

A run costs seconds, so each method runs once for all facts about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn import datasets

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

THRESHOLD = {"policy": "threshold", "threshold": 0.9}
NB = {"estimator": "GaussianNB"}
REGRESSION = {"estimator": "LogisticRegression", "params": {"max_iter": 1000}}
TREE = {"estimator": "DecisionTreeClassifier", "params": {"max_depth": 3}}


def cancer() -> pd.DataFrame:
    """Breast cancer, 40 % labeled."""
    return table(datasets.load_breast_cancer(as_frame=True), labeled=0.4)


def iris() -> pd.DataFrame:
    """Iris with names as labels, 30 % labeled; one pool row without a petal."""
    rows = table(datasets.load_iris(as_frame=True), labeled=0.3)
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)
    return rows.assign(target=names[rows["target"]])


def with_holes(rows: pd.DataFrame) -> pd.DataFrame:
    """Take a value from two pool rows; what is left needs a model that takes no gaps."""
    holes = rows.index[~rows["labeled"]][:2]
    rows.loc[holes, "petal_width_cm"] = np.inf
    return rows


def other_unit() -> pd.DataFrame:
    """Breast cancer whose pool was measured in another unit: all of it looks malignant.

    A normal distribution around so distant rows is so wide that the next model calls nearly
    everything else benign.
    """
    rows = cancer()
    features = [column for column in rows if column not in ("row_id", "target", "labeled")]
    rows.loc[~rows["labeled"], features] *= 25.4
    return rows


def yes_no() -> pd.DataFrame:
    return cancer().assign(target=lambda rows: rows["target"] == 1)


def no_pool() -> pd.DataFrame:
    return iris().query("labeled")


def table(bunch: Any, labeled: float) -> pd.DataFrame:
    rows = bunch.frame.rename(columns=lambda c: c.replace(" ", "_").strip("()").replace("(", ""))
    chance = np.random.default_rng(0)
    return rows.assign(row_id=np.arange(len(rows)), labeled=chance.random(len(rows)) < labeled)


@dataclass(frozen=True)
class Method:
    """A run: a data set and what its configuration says besides tables and output."""

    rows: Callable[[], pd.DataFrame]
    sections: dict[str, Any]


METHODS = {
    "one_shot": Method(cancer, {"selection": {"policy": "one_shot"}, "model": REGRESSION}),
    "threshold": Method(iris, {"selection": THRESHOLD, "model": NB}),
    "invalid rows": Method(
        lambda: with_holes(iris()),
        {"selection": THRESHOLD, "model": REGRESSION, "rounds": {"max": 2}},
    ),
    "validation drop": Method(
        other_unit,
        {"selection": {"policy": "one_shot"}, "model": NB, "validation": {"fraction": 0.4}},
    ),
    "no change": Method(
        iris,
        {
            "selection": {"policy": "threshold", "threshold": 0.999},
            "model": {"estimator": "LogisticRegression", "params": {"C": 0.01}},
        },
    ),
    "student by confidence": Method(
        iris,
        {
            "model": {**NB, "student": TREE},
            "selection": {"policy": "threshold", "threshold": 0.8},
            "training": {"pseudo_weight": "confidence"},
            "rounds": {"max": 1},
        },
    ),
    "soft labels": Method(
        iris,
        {
            "model": REGRESSION,
            "selection": {"policy": "threshold", "threshold": 0.6},
            "training": {"labels": "soft", "pseudo_weight": 0.5},
            "rounds": {"max": 1},
            "output": {"probabilities": True, "features": True},
        },
    ),
    "k_best": Method(
        yes_no,
        {"model": REGRESSION, "selection": {"policy": "k_best", "k": 30}, "rounds": {"max": 2}},
    ),
    "top_k_per_class": Method(
        iris,
        {
            "model": REGRESSION,
            "selection": {"policy": "top_k_per_class", "k": 4},
            "rounds": {"max": 2},
            "training": {"max_rows": 40},
        },
    ),
    "percentile": Method(iris, {"model": REGRESSION, "selection": {"policy": "percentile"}}),
    "empty pool": Method(no_pool, {"selection": THRESHOLD, "model": NB}),
    "zero rounds": Method(iris, {"model": NB, "rounds": {"max": 0}}),
}


@dataclass(frozen=True)
class Done:
    """A finished run, with its tables as pandas reads them."""

    rows: pd.DataFrame
    settings: dict[str, Any]
    report: dict[str, Any]
    out: Path

    def read(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.out / name)

    @property
    def pool(self) -> pd.DataFrame:
        return self.rows[~self.rows["labeled"]]

    @property
    def given(self) -> pd.DataFrame:
        return self.rows[self.rows["labeled"]]

    def per_round(self, key: str) -> list[Any]:
        return [round_[key] for round_ in self.report["rounds"]]


Runs = Callable[[str], Done]


@pytest.fixture(scope="module")
def done(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run each method once, whichever test asks first."""
    known: dict[str, Done] = {}

    def get(name: str) -> Done:
        if name not in known:
            known[name] = run_method(spark, METHODS[name], tmp_path_factory.mktemp("run"))
        return known[name]

    return get


def run_method(spark: SparkSession, method: Method, directory: Path) -> Done:
    rows = method.rows()
    given = rows["labeled"]
    (directory / "pool").mkdir()
    pool = rows[~given].drop(columns=["target", "labeled"])
    for part in range(2):
        pool.iloc[part::2].to_parquet(directory / "pool" / f"{part}.parquet", index=False)
    rows[given].drop(columns="labeled").to_parquet(directory / "labeled.parquet", index=False)
    out = {"path": str(directory / "out"), **method.sections.get("output", {})}
    settings = {
        "labeled": {"path": str(directory / "labeled.parquet"), "label": "target"},
        "unlabeled": {"path": str(directory / "pool")},
        "id": "row_id",
        **method.sections,
        "output": out,
    }
    report = run(spark, parse_config(settings)).report.as_json()
    return Done(rows, settings, report, directory / "out")


# --- what holds for every method ------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_every_candidate_is_accepted_rejected_or_invalid(done: Runs, name: str) -> None:
    found = done(name)
    for round_ in found.report["rounds"]:
        parts = round_["accepted"] + round_["rejected"] + round_["invalid"]
        assert round_["candidates"] == parts
        assert sum(round_["accepted_by_class"].values()) == round_["accepted"]
    rows = found.report["rows"]
    assert rows["accepted"] + rows["rejected"] + rows["invalid"] == rows["pool"] == len(found.pool)
    assert rows["labeled"] + rows["validation"] == len(found.given)
    assert len(found.report["rounds"]) == found.report["n_iter"]


@pytest.mark.parametrize("name", METHODS)
def test_labels_hold_each_accepted_pool_row_once(done: Runs, name: str) -> None:
    found = done(name)
    labels = found.read("labels")
    assert labels["row_id"].is_unique
    assert set(labels["row_id"]) <= set(found.pool["row_id"])
    assert len(labels) == found.report["rows"]["accepted"]
    used = [round_["round"] for round_ in found.report["rounds"] if round_["used"]]
    assert set(labels["round"]) <= set(used)
    assert set(labels["model"]) == {f"model-{round_:04d}" for round_ in set(labels["round"])}
    assert labels["confidence"].between(0, 1).all()
    assert (labels["confidence"].round(6) == labels["confidence"]).all()


@pytest.mark.parametrize("name", METHODS)
def test_validation_rows_are_in_no_fit_and_given_labels_stay(done: Runs, name: str) -> None:
    found = done(name)
    training = found.read("training")
    assert training["row_id"].is_unique
    labeled = training[training["source"] == "labeled"].set_index("row_id")
    validation = set(found.given["row_id"]) - set(labeled.index)
    assert len(validation) == found.report["rows"]["validation"] > 0
    truth = found.given.set_index("row_id")["target"]
    assert labeled["label"].to_dict() == truth[labeled.index].to_dict()
    assert (labeled["weight"] == 1.0).all()
    assert (labeled["round"] == 0).all()
    pseudo = training[training["source"] == "pseudo"].set_index("row_id")
    labels = found.read("labels").set_index("row_id")
    columns = ["label", "weight", "round"]
    pd.testing.assert_frame_equal(
        pseudo[columns].sort_index(), labels[columns].sort_index(), check_dtype=False
    )
    # What the manifests say of each fit: labeled rows and accepted ones, nobody else.
    for round_ in found.report["rounds"]:
        assert round_["trained_on"] <= sum(found.per_round("accepted"))


@pytest.mark.parametrize("name", METHODS)
def test_labels_have_the_schema_of_the_contract(done: Runs, name: str) -> None:
    found = done(name)
    (file,) = (found.out / "labels").glob("*.parquet")
    types = {field.name: str(field.type) for field in pq.read_schema(file)}
    label = {"int64": "int64", "object": "string", "bool": "bool"}[str(found.rows["target"].dtype)]
    assert {
        "row_id": "int64",
        "label": label,
        "confidence": "double",
        "round": "int32",
        "model": "string",
        "weight": "double",
    }.items() <= types.items()


# --- one shot --------------------------------------------------------------------------------


def test_one_shot_takes_every_row_in_one_round(done: Runs) -> None:
    found = done("one_shot")
    assert found.report["termination_condition"] == "all_labeled"
    assert found.per_round("accepted") == [len(found.pool)]
    assert found.per_round("trained_on") == [len(found.pool)]


def test_one_shot_labels_are_mostly_right(done: Runs) -> None:
    found = done("one_shot")
    labels = found.read("labels").set_index("row_id")["label"]
    truth = found.pool.set_index("row_id")["target"]
    assert (labels == truth[labels.index]).mean() > 0.9


# --- threshold, rounds and reasons to stop ----------------------------------------------------


def test_threshold_accepts_what_is_above_it(done: Runs) -> None:
    found = done("threshold")
    assert found.read("labels")["confidence"].min() > 0.9
    assert {cut for by in found.per_round("threshold_by_class") for cut in by.values()} == {0.9}


def test_each_round_scores_what_is_left_and_retrains_on_what_was_accepted(done: Runs) -> None:
    found = done("threshold")
    accepted = found.per_round("accepted")
    assert len(accepted) > 1
    left = len(found.pool) - np.cumsum([0, *accepted])[:-1]
    assert found.per_round("candidates") == left.tolist()
    assert found.per_round("trained_on") == np.cumsum(accepted).tolist()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("one_shot", "all_labeled"),
        ("no change", "no_change"),
        ("invalid rows", "max_iter"),
        ("validation drop", "validation_drop"),
        ("empty pool", "all_labeled"),
        ("zero rounds", "max_iter"),
    ],
)
def test_reason_to_stop(done: Runs, name: str, reason: str) -> None:
    assert done(name).report["termination_condition"] == reason


def test_round_without_new_labels_is_reported(done: Runs) -> None:
    found = done("no change")
    assert found.per_round("accepted") == [0]
    assert found.per_round("rejected") == [len(found.pool)]
    assert found.report["seed"]["validation"] == found.report["final"]["validation"]


def test_drop_takes_the_round_back(done: Runs) -> None:
    found = done("validation drop")
    assert found.report["best_round"] == 0
    assert found.per_round("used") == [False]
    assert found.read("labels").empty
    assert (found.read("training")["source"] == "labeled").all()
    assert found.report["final"]["validation"] == found.report["seed"]["validation"]
    assert [found.report[name]["chosen_from"] for name in ("seed", "final")] == [2, 2]
    assert [w["code"] for w in found.report["warnings"]] == ["validation_drop"]
    assert found.report["rows"]["rejected"] == len(found.pool)


def test_rows_that_can_not_be_scored_are_listed_with_the_reason(done: Runs) -> None:
    found = done("invalid rows")
    invalid = found.read("invalid")
    infinite = np.isinf(found.pool["petal_width_cm"])
    assert set(invalid["row_id"]) == set(found.pool.loc[infinite, "row_id"])
    assert (invalid["round"] == 1).all()
    assert invalid["reason"].str.contains("'petal_width_cm' is infinite").all()
    assert not set(invalid["row_id"]) & set(found.read("labels")["row_id"])
    # Counted once: they are no candidates of the next round.
    assert found.per_round("invalid") == [2, 0]


def test_validation_is_measured_after_every_round(done: Runs) -> None:
    found = done("threshold")
    n = found.report["rows"]["validation"]
    measured = [round_["validation"] for round_ in found.report["rounds"]]
    assert [metrics["n"] for metrics in measured] == [n] * len(measured)
    assert found.report["final"]["validation"] == measured[found.report["best_round"] - 1]


# --- teacher and student ----------------------------------------------------------------------


def test_student_is_another_estimator_than_the_teacher(done: Runs) -> None:
    found = done("student by confidence")
    from spark_pseudolabel.store.file_systems import open_files
    from spark_pseudolabel.store.store import RoundStore

    store = RoundStore.open(*open_files(str(found.out)))
    teacher, student = store.load_model(1), store.load_model(2)
    assert [type(m).__name__ for m in (teacher[-1], student)] == [
        "GaussianNB",
        "DecisionTreeClassifier",
    ]


def test_rows_weigh_as_much_as_the_teacher_is_sure(done: Runs) -> None:
    labels = done("student by confidence").read("labels")
    assert len(labels)
    assert (labels["weight"] == labels["confidence"]).all()


def test_soft_labels_keep_probabilities_of_all_classes(done: Runs) -> None:
    found = done("soft labels")
    labels = found.read("labels")
    P = np.stack(labels["probabilities"].to_list())
    assert P.shape == (len(labels), 3)
    np.testing.assert_allclose(P.sum(axis=1), 1.0, atol=2e-6)
    assert (P.max(axis=1) == labels["confidence"]).all()
    classes = np.array(found.report["classes"])
    assert (classes[P.argmax(axis=1)] == labels["label"]).all()
    assert (labels["weight"] == 0.5).all()


def test_features_stand_beside_labels_where_asked_for(done: Runs) -> None:
    found = done("soft labels")
    labels = found.read("labels").set_index("row_id")
    truth = found.pool.set_index("row_id")["petal_width_cm"]
    assert labels["petal_width_cm"].to_dict() == truth[labels.index].to_dict()
    training = found.read("training").set_index("row_id")
    both = found.rows.set_index("row_id")["petal_width_cm"]
    assert training["petal_width_cm"].to_dict() == both[training.index].to_dict()


# --- quotas and curriculum --------------------------------------------------------------------


def test_k_best_takes_k_a_round_and_keeps_boolean_labels(done: Runs) -> None:
    found = done("k_best")
    assert found.per_round("accepted") == [30, 30]
    assert found.report["termination_condition"] == "max_iter"
    assert found.read("labels")["label"].dtype == bool


def test_top_k_takes_k_of_each_class_a_round(done: Runs) -> None:
    found = done("top_k_per_class")
    classes = ["setosa", "versicolor", "virginica"]
    assert found.per_round("accepted_by_class") == [dict.fromkeys(classes, 4)] * 2


def test_model_sees_no_more_rows_than_it_may(done: Runs) -> None:
    found = done("top_k_per_class")
    room = 40 - found.report["rows"]["labeled"]
    assert 0 < room < 12
    assert found.per_round("trained_on") == [room, room]
    labels = found.read("labels")
    assert len(labels) == 24
    assert (labels["weight"] > 0).sum() == room
    assert set(labels["weight"]) == {0.0, 1.0}


def test_curriculum_relabels_a_growing_share_of_the_whole_pool(done: Runs) -> None:
    found = done("percentile")
    n = len(found.pool)
    assert found.per_round("candidates") == [n] * 5
    assert found.per_round("accepted") == [-(-n * i // 5) for i in range(1, 6)]
    assert found.per_round("trained_on") == found.per_round("accepted")
    assert found.report["termination_condition"] == "all_labeled"


def test_curriculum_keeps_the_best_round_by_validation(done: Runs) -> None:
    found = done("percentile")
    measured = [found.report["seed"]["validation"], *found.per_round("validation")]
    rank = [(m["accuracy"], -m["log_loss"]) for m in measured]
    best = found.report["best_round"]
    assert best == rank.index(max(rank))
    assert found.report["final"]["validation"] == measured[best]
    labels = found.read("labels")
    assert len(labels) == ([0, *found.per_round("accepted")])[best]
    assert set(labels["round"]) <= {best}


# --- edges ------------------------------------------------------------------------------------


def test_empty_pool_is_a_finished_run_with_empty_labels(done: Runs) -> None:
    found = done("empty pool")
    assert found.report["n_iter"] == found.report["best_round"] == 0
    assert found.read("labels").empty
    assert found.report["seed"]["validation"]["n"] > 0
    assert (found.out / "model" / "model.skops").stat().st_size > 0


def test_zero_rounds_leave_the_seed_model(done: Runs) -> None:
    found = done("zero rounds")
    assert found.report["rounds"] == []
    assert found.report["rows"]["rejected"] == len(found.pool)
    assert found.report["final"] == found.report["seed"]


def test_raised_maximum_continues_the_run(done: Runs, spark: SparkSession) -> None:
    seed = done("zero rounds")
    longer = run(spark, parse_config(seed.settings | {"rounds": {"max": 1}}))
    assert longer.resumed
    assert longer.report.termination_condition == "max_iter"
    assert [round_.round for round_ in longer.report.rounds] == [1]
    assert longer.report.as_json()["seed"]["validation"] == seed.report["seed"]["validation"]
    assert len(seed.read("labels")) == longer.report.rounds[0].accepted > 0
    again = run(spark, parse_config(seed.settings | {"rounds": {"max": 1}}))
    assert again.already_done
    assert again.report == longer.report
