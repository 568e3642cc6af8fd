"""What a configuration without ``selection`` does: mixed columns, text, few labels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spark_pseudolabel import SelfTraining, SelfTrainingResult
from spark_pseudolabel.config import identity, parse_config
from spark_pseudolabel.job import plan, run
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.progress import PlainEvents
from spark_pseudolabel.registry import DEFAULT_COMMITTEE
from spark_pseudolabel.report.text import render_plan, render_text

WORDS = {"cat": "purr meow whiskers", "dog": "bark fetch leash", "owl": "hoot night feather"}


def table(n: int, seed: int = 0) -> pd.DataFrame:
    """Return rows with numbers, categories and a text, all with gaps."""
    chance = np.random.default_rng(seed)
    y = chance.choice(list(WORDS), n, p=[0.5, 0.4, 0.1])
    text = [
        f"{chance.choice(WORDS[kind].split())} and {chance.choice(['more', 'less'])}" for kind in y
    ]
    rows = pd.DataFrame(
        {
            "id": np.arange(n) + 1000 * seed,
            "size": np.where(chance.random(n) < 0.1, np.nan, chance.normal(size=n) + (y == "dog")),
            "place": np.where(chance.random(n) < 0.7, y, "unknown"),
            "note": pd.Series(text).where(chance.random(n) > 0.05),
        }
    )
    return rows.assign(y=y)


def written(directory: Path, labeled: pd.DataFrame, **sections: Any) -> dict[str, Any]:
    pool = table(400, seed=7)
    labeled.to_parquet(directory / "labeled.parquet", index=False)
    pool.drop(columns="y").to_parquet(directory / "pool.parquet", index=False)
    pool.to_parquet(directory / "test.parquet", index=False)
    return {
        "labeled": {"path": str(directory / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(directory / "pool.parquet")},
        "test": {"path": str(directory / "test.parquet")},
        "id": "id",
        "features": {"text": ["note"]},
        "output": {"path": str(directory / "out")},
        **sections,
    }


LINEAR_AND_TREES: list[dict[str, Any]] = [
    {"estimator": "LogisticRegression"},
    {"estimator": "ExtraTreesClassifier", "params": {"n_estimators": 10}},
]


def twenty_with_a_lonely_owl() -> pd.DataFrame:
    rows = table(100)
    owl, others = rows[rows["y"] == "owl"], rows[rows["y"] != "owl"]
    return pd.concat([owl[:1], others[:19]], ignore_index=True)


def test_twenty_labels_give_a_model_and_no_promise(spark: SparkSession, tmp_path: Path) -> None:
    sections = written(tmp_path, twenty_with_a_lonely_owl())
    told = render_plan(plan(spark, parse_config(sections)))
    assert "policy     auto, since there is no selection" in told
    assert all(name in told for name, _ in DEFAULT_COMMITTEE)
    assert "student" not in told
    assert "What could be promised" in told
    assert "An estimate from" in told
    said = io.StringIO()
    # The usual members take seconds for each fit on texts; who votes is not what is looked at.
    config = parse_config({**sections, "teacher": {"committee": LINEAR_AND_TREES}})
    report = run(spark, config, events=PlainEvents(said)).report.as_json()
    assert "policy auto, since there is no selection" in said.getvalue()
    assert report["termination_condition"] == "not_certified"
    certificate = report["certificate"]
    assert (certificate["claimed"], certificate["best"]) == (False, True)
    assert (certificate["precision"], certificate["min_coverage"]) == (0.8, 0.2)
    assert len(certificate["ladder"]) == 6
    assert not any(step["certified"] for step in certificate["ladder"])
    assert certificate["band"][-1]["rows"] == 400
    assert [of["class"] for of in certificate["missing"]] == ["cat", "dog", "owl"]
    assert len(pq.read_table(tmp_path / "out" / "labels")) == 0
    assert report["final"]["test"]["accuracy"] > 0.7
    assert report["final"]["oof"]["n"] == 19
    assert "rows" in render_text(report)
    assert check_output(str(tmp_path / "out"), deep=True).ok


def test_labels_are_certified_and_the_committee_is_kept(
    spark: SparkSession, tmp_path: Path
) -> None:
    sections = {
        "selection": {"precision": 0.8, "certainty": 0.9},
        "features": {"exclude": ["note"]},  # texts make each of the fits take seconds
    }
    report = run(spark, parse_config(written(tmp_path, table(250), **sections))).report.as_json()
    assert report["certificate"]["claimed"]
    assert report["certificate"]["band"]
    assert not report["certificate"]["best"]
    assert report["certificate"]["instead"] is None
    labels = pq.read_table(tmp_path / "out" / "labels").to_pandas()
    truth = table(400, seed=7).set_index("id")["y"]
    assert len(labels) > 200
    assert (labels["label"] == labels["id"].map(truth)).mean() >= 0.8
    model = SelfTrainingResult.load(spark, str(tmp_path / "out")).model
    assert isinstance(model, VotingClassifier)
    *members, graph = report["teacher"]["members"]
    assert (len(members), graph["name"]) == (4, "graph: anchors")
    voters = 4 if graph["weight"] == 0 else 5  # what has no say is not stored
    assert len(model.estimators_) == len(model.weights) == 5 * voters


SMALL: dict[str, Any] = {
    "features": {"include": ["size", "place"]},
    "teacher": {"committee": [{"estimator": "GaussianNB"}, {"estimator": "LogisticRegression"}]},
}


def test_one_row_of_each_label_is_enough_to_run(spark: SparkSession, tmp_path: Path) -> None:
    one_each = table(100).groupby("y").head(1)
    sections = {**SMALL, "model": {"estimator": "KNeighborsClassifier"}, "shift": {}}
    report = run(spark, parse_config(written(tmp_path, one_each, **sections))).report.as_json()
    assert report["termination_condition"] == "not_certified"
    assert report["certificate"]["claims"][0]["more_labels"] == 21
    assert report["seed"]["oof"] is None
    assert report["final"]["test"]["accuracy"] == report["seed"]["test"]["accuracy"]
    (warning,) = [one for one in report["warnings"] if one["code"] == "student_not_used"]
    assert "no label has two rows" in warning["message"]
    assert render_text(report)
    assert check_output(str(tmp_path / "out"), deep=True).ok


def test_labels_drawn_per_class_publish_nothing(spark: SparkSession, tmp_path: Path) -> None:
    per_class = table(600).groupby("y").head(50)
    sections = written(tmp_path, per_class, **SMALL)
    sections["labeled"]["drawn"] = "per_class"
    report = run(spark, parse_config(sections)).report.as_json()
    assert report["termination_condition"] == "not_certified"
    assert report["certificate"]["refused"] == "drawn_per_class"
    assert report["rows"]["accepted"] == 0
    assert report["final"]["test"]["accuracy"] > 0.7
    told = {one["code"]: one["message"] for one in report["warnings"]}
    assert "Give unlabeled.prior, the share of every label in the pool" in told["drawn_per_class"]
    assert "prior_estimated" in told  # scores are corrected to it; a promise it is not


def test_nothing_to_label_is_no_error(spark: SparkSession, tmp_path: Path) -> None:
    config = written(tmp_path, table(40), **SMALL, model={"estimator": "GaussianNB"})
    pool = tmp_path / "pool.parquet"
    pq.write_table(pq.read_table(pool)[:0], pool)
    report = run(spark, parse_config(config)).report.as_json()
    assert (report["termination_condition"], report["n_iter"]) == ("all_labeled", 0)
    assert len(pq.read_table(tmp_path / "out" / "labels")) == 0


@pytest.mark.parametrize(
    "estimator", [KNeighborsClassifier(3), pytest.param(GaussianNB(), marks=pytest.mark.long)]
)
def test_estimator_of_ones_own_is_the_student(
    spark: SparkSession, tmp_path: Path, estimator: BaseEstimator
) -> None:
    rows, pool = table(60).drop(columns=["note", "place"]).dropna(), table(90, seed=7).dropna()
    training = SelfTraining(
        make_pipeline(StandardScaler(), estimator), label="y", id="id", teacher=SMALL["teacher"]
    )
    soft = isinstance(estimator, GaussianNB)
    assert training.config("out").training.labels == ("soft" if soft else "hard")
    result = training.fit(
        spark.createDataFrame(rows),
        spark.createDataFrame(pool[["id", "size"]]),
        output=str(tmp_path / "out"),
    )
    assert result.report["final"]["oof"]["n"] == len(rows)
    assert {"Pipeline", "VotingClassifier"} >= {type(result.model).__name__}


def test_model_that_is_named_is_the_student() -> None:
    trained = SelfTraining(
        "HistGradientBoostingClassifier",
        params={"max_iter": 5},
        label="y",
        id="id",
        selection="auto",
        training={"max_rows": 250},
    )
    assert trained.config("out").student is not None
    usual = SelfTraining(label="y", id="id").config("out")
    assert usual.student is None
    asked = SelfTraining(label="y", id="id", selection="auto").config("out")
    assert identity(usual) == identity(asked)
    rounds = SelfTraining(label="y", id="id", rounds={"max": 2}).config("out")
    assert rounds.selection.policy == "threshold"
    assert rounds.model.estimator == HistGradientBoostingClassifier.__name__


@pytest.mark.parametrize("student", [True, False])
def test_teacher_without_student_in_any_policy(
    spark: SparkSession, tmp_path: Path, student: bool
) -> None:
    teacher = {"committee": [{"estimator": "GaussianNB"}], "student": student}
    sections = {"teacher": teacher, "selection": {"policy": "threshold"}, "features": {}}
    report = run(spark, parse_config(written(tmp_path, table(60), **sections))).report.as_json()
    last = report["rounds"][-1]
    assert last["accepted"] > 0
    tried = "student_not_used" in [one["code"] for one in report["warnings"]]
    assert (tried or report["final"]["oof"] != report["seed"]["oof"]) is student
