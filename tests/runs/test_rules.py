"""Rules as a teacher: with no labeled row at all, and beside labeled ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from spark_pseudolabel import SelfTraining, SelfTrainingResult
from spark_pseudolabel.config import load_config, parse_config
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import label, run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.progress import SilentEvents
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_explain, render_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONF = Path(__file__).parents[2] / "conf" / "rules.yaml"
ABSTAINS = 900_000


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """All rows of breast cancer, and one that no rule says anything about."""
    data = load_breast_cancer(as_frame=True)
    frame = data.data.rename(columns=lambda name: name.replace(" ", "_"))
    frame["diagnosis"] = data.target_names[data.target]
    frame.insert(0, "row_id", np.arange(len(frame)))
    silent = frame.drop(columns=["row_id", "diagnosis"]).median().to_dict()
    silent |= {"worst_smoothness": 0.13, "worst_texture": 25.0, "mean_radius": 13.0}
    return pd.concat([frame, pd.DataFrame([{"row_id": ABSTAINS, **silent, "diagnosis": "benign"}])])


class Told(SilentEvents):
    """What a run says of itself."""

    def __init__(self) -> None:
        self.read_by = ""

    def event(self, name: str, **fields: Any) -> None:
        if name == "inputs":
            self.read_by = fields["read_by"]


# --- without a labeled row


@pytest.fixture(scope="module")
def unlabeled_run(
    spark: SparkSession, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], str]:
    home = tmp_path_factory.mktemp("rules")
    (home / "pool").mkdir()
    pool = rows.drop(columns="diagnosis")
    # Rules vote on it, and the student can't learn from it.
    pool.loc[rows["row_id"] == rows["row_id"][rows["mean_area"] > 900].iloc[0], "area_error"] = (
        np.inf
    )
    pool[:300].to_parquet(home / "pool" / "0.parquet", index=False)
    pool[300:].to_parquet(home / "pool" / "1.parquet", index=False)
    rows.to_parquet(home / "truth.parquet", index=False)
    overrides = [
        f"unlabeled.path={home / 'pool'}",
        f"test.path={home / 'truth.parquet'}",
        f"output.path={home / 'out'}",
    ]
    events = Told()
    report = run(spark, load_config(CONF, overrides), events=events).report.as_json()
    return home / "out", report, events.read_by


def test_rules_alone_label_the_pool_and_teach_a_student(
    unlabeled_run: tuple[Path, dict[str, Any], str], rows: pd.DataFrame
) -> None:
    out, report, read_by = unlabeled_run
    assert read_by == "through Spark, since rules are SQL"
    counts = report["rows"]
    parts = ("accepted", "rejected", "invalid", "abstained")
    assert sum(counts[part] for part in parts) == counts["pool"] == len(rows)
    assert counts["labeled"] == 0
    labels = pd.read_parquet(out / "labels").set_index("row_id")["label"]
    truth = rows.set_index("row_id")["diagnosis"]
    assert len(labels) == counts["accepted"] > 400
    assert (labels == truth[labels.index]).mean() > 0.95
    assert report["best_round"] == 1
    assert report["final"]["test"]["accuracy"] > 0.93
    undecided = pd.read_parquet(out / "undecided").set_index("row_id")
    assert undecided.loc[ABSTAINS, "reason"] == "abstained"
    assert check_output(str(out), deep=True).ok


def test_report_shows_what_is_known_of_each_rule(
    unlabeled_run: tuple[Path, dict[str, Any], str], rows: pd.DataFrame
) -> None:
    _, report, _ = unlabeled_run
    members = {member["name"]: member for member in report["teacher"]["members"]}
    large = rows["mean_area"] > 900
    assert members["large"]["label"] == "malignant"
    assert members["large"]["coverage"] == pytest.approx(large.mean())
    true = (rows["diagnosis"][large] == "malignant").mean()
    assert members["large"]["accuracy"] == pytest.approx(true, abs=0.1)
    assert members["large"]["measured"] is None
    assert report["teacher"]["label_model"]["method"] == "em"
    assert report["teacher"]["abstained"] == report["rows"]["abstained"] > 0
    assert "weighed by a label model" in render_text(report)
    assert '<td class="text">large</td>' in render_html(report)


def test_explain_names_the_rules_that_voted(
    unlabeled_run: tuple[Path, dict[str, Any], str], rows: pd.DataFrame
) -> None:
    out, _, _ = unlabeled_run
    labels = pd.read_parquet(out / "labels").set_index("row_id")["label"]
    large = rows[(rows["mean_area"] > 900) & rows["row_id"].isin(labels.index)].iloc[0]
    explained = explain_row(str(out), str(large["row_id"]), why=True)
    assert "large" in explained.history[0].votes
    assert "large for 'malignant'" in explained.text
    assert explained.why is None
    assert explained.why_not == "model-0001 sees the votes of rules, and no column."
    assert "No effects of columns: model-0001 sees" in render_explain(explained)
    assert "No rule voted" in explain_row(str(out), str(ABSTAINS)).text


# --- with labels that are certified, and no model that learns from them


def mixed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in an order of chance, the one without a vote last."""
    return pd.concat([rows[:-1].sample(frac=1, random_state=0), rows[-1:]])


@pytest.fixture(scope="module")
def certified_run(
    spark: SparkSession, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    home = tmp_path_factory.mktemp("certified")
    rows = mixed(rows)
    rows[:250].to_parquet(home / "labeled.parquet", index=False)
    rows[250:].drop(columns="diagnosis").to_parquet(home / "pool.parquet", index=False)
    rules = load_config(CONF).rules
    assert rules is not None
    config = {
        "labeled": {"path": str(home / "labeled.parquet"), "label": "diagnosis"},
        "unlabeled": {"path": str(home / "pool.parquet")},
        "id": "row_id",
        "teacher": rules.model_dump(exclude_none=True) | {"student": False},
        "selection": {"policy": "auto", "precision": 0.9},
        "output": {"path": str(home / "out")},
    }
    return home, run(spark, parse_config(config)).report.as_json()


def test_labels_of_rules_are_certified(
    certified_run: tuple[Path, dict[str, Any]], rows: pd.DataFrame
) -> None:
    home, report = certified_run
    assert report["certificate"]["claimed"]
    labels = pd.read_parquet(home / "out" / "labels").set_index("row_id")["label"]
    truth = rows.set_index("row_id")["diagnosis"]
    assert len(labels) == report["rows"]["accepted"] > 150
    assert (labels == truth[labels.index]).mean() >= 0.9
    assert not set(labels.index) & set(mixed(rows)["row_id"][:250])
    counts = report["rows"]
    parts = ("accepted", "rejected", "invalid", "abstained")
    assert sum(counts[part] for part in parts) == counts["pool"] == len(rows) - 250


def test_rules_label_new_rows_without_a_student(
    spark: SparkSession, certified_run: tuple[Path, dict[str, Any]], rows: pd.DataFrame
) -> None:
    home, report = certified_run
    out, target = str(home / "out"), home / "new"
    done = label(spark, out, input=str(home / "pool.parquet"), output=str(target))
    new = pd.read_parquet(target).set_index("row_id")
    labels = pd.read_parquet(home / "out" / "labels").set_index("row_id")["label"]
    assert (done.abstained, done.invalid) == (report["rows"]["abstained"], 0)
    assert len(new) == report["rows"]["pool"]
    assert (new.loc[labels.index, "label"] == labels).all()
    assert new["accepted"].sum() == len(labels)
    assert pd.isna(new.loc[ABSTAINS, "label"])


# --- beside labeled rows


@pytest.fixture(scope="module")
def labeled_run(
    spark: SparkSession, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> SelfTrainingResult:
    def closed(mean_concavity: pd.Series) -> pd.Series:
        return mean_concavity < 0.04

    rules = [dict(rule) for rule in load_config(CONF).rules.model_dump()["rules"]]  # type: ignore[union-attr]
    for rule in rules:
        del rule["function"]
    rules[-1]["when"] = closed
    # A student that sees nothing of use: its teacher stays.
    training = SelfTraining(
        "GaussianNB",
        label="diagnosis",
        id="row_id",
        rules=rules,
        selection={"policy": "threshold", "threshold": 0.8},
        features={"include": ["mean_symmetry"]},
    )
    given = spark.createDataFrame(rows[:150])
    pool = spark.createDataFrame(rows[150:].drop(columns="diagnosis"))
    out = str(tmp_path_factory.mktemp("with") / "out")
    return training.fit(given, pool, test=spark.createDataFrame(rows[150:]), output=out)


def test_labels_measure_rules(labeled_run: SelfTrainingResult, rows: pd.DataFrame) -> None:
    member = labeled_run.report["teacher"]["members"][0]
    large = rows[:150]["mean_area"] > 900
    assert member["n_measured"] == large.sum()
    true = (rows[:150]["diagnosis"][large] == "malignant").mean()
    assert member["measured"] == pytest.approx(true)
    assert labeled_run.report["final"]["oof"]["n"] < 150  # where no rule votes there is no score
    assert labeled_run.report["final"]["oof"]["accuracy"] > 0.9
    labels = labeled_run.labels.toPandas()
    assert not set(labels["row_id"]) & set(rows[:150]["row_id"])


def test_rules_stay_where_their_student_is_worse(labeled_run: SelfTrainingResult) -> None:
    rows = labeled_run.report["rows"]
    assert len(labeled_run.labels.toPandas()) == rows["accepted"] > 300
    seed, final = (labeled_run.report[which]["test"] for which in ("seed", "final"))
    assert final["accuracy"] == seed["accuracy"] > 0.8
    assert "student_not_used" in [warning["code"] for warning in labeled_run.report["warnings"]]


def test_new_rows_are_voted_on(
    spark: SparkSession, labeled_run: SelfTrainingResult, rows: pd.DataFrame
) -> None:
    new = spark.createDataFrame(rows[150:].drop(columns="diagnosis"))
    predicted = labeled_run.transform(new, label_col="y").toPandas().set_index("row_id")
    labels = labeled_run.labels.toPandas().set_index("row_id")["label"]
    assert len(labels)
    assert (predicted.loc[labels.index, "y"] == labels).all()
    assert pd.isna(predicted.loc[ABSTAINS, "y"])
    assert "spl_votes" not in predicted


def test_functions_are_kept_in_no_output(
    spark: SparkSession, labeled_run: SelfTrainingResult, rows: pd.DataFrame, tmp_path: Path
) -> None:
    rows.to_parquet(tmp_path / "new.parquet", index=False)
    with pytest.raises(InputError, match="'closed' is a function in Python"):
        label(
            spark,
            labeled_run.output,
            input=str(tmp_path / "new.parquet"),
            output=str(tmp_path / "labeled"),
        )
