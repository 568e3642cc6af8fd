"""Self-training from Python, and what is said of its output afterwards without Spark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from spark_pseudolabel import SelfTraining, SelfTrainingResult
from spark_pseudolabel.errors import ConfigError, InputError
from spark_pseudolabel.job import label
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.report import read_report
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output

N_LABELED = 60


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    data = load_breast_cancer(as_frame=True)
    frame = data.data.iloc[:, :6].set_axis([f"f{i}" for i in range(6)], axis=1)
    frame.insert(0, "row_id", np.random.default_rng(0).permutation(len(frame)))
    frame["benign"] = data.target == 1
    return frame.sort_values("row_id", ignore_index=True)


@pytest.fixture(scope="module")
def result(
    spark: SparkSession, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> SelfTrainingResult:
    pool = rows[N_LABELED:].drop(columns="benign")
    # One value that no linear model takes: the row must be put aside and nothing else.
    pool.loc[pool.index[0], "f2"] = np.inf
    training = SelfTraining(
        make_pipeline(StandardScaler(), LogisticRegression()),
        label="benign",
        id="row_id",
        selection={"policy": "threshold", "threshold": 0.95},
        rounds={"max": 2},
    )
    return training.fit(
        spark.createDataFrame(rows[:N_LABELED]),
        spark.createDataFrame(pool),
        test=spark.createDataFrame(rows[N_LABELED:]),
        output=str(tmp_path_factory.mktemp("api") / "out"),
    )


def test_the_result_has_model_labels_rounds_and_a_reason(result: SelfTrainingResult) -> None:
    labels = result.labels.toPandas()
    assert labels.label.dtype == bool
    assert len(labels) == result.rounds.accepted.sum() == result.report["rows"]["accepted"]
    assert result.n_iter == len(result.rounds) == 2
    assert result.termination_condition == "max_iter"
    assert list(result.model.feature_names_in_) == [f"f{i}" for i in range(6)]


def test_the_test_table_measures_models_and_labels(result: SelfTrainingResult) -> None:
    test = result.report["final"]["test"]
    assert test["accuracy"] > 0.85
    assert test["labels"]["n"] == result.report["rows"]["accepted"]
    assert test["labels"]["precision"] > 0.9


def test_transform_adds_label_and_confidence(
    spark: SparkSession, rows: pd.DataFrame, result: SelfTrainingResult
) -> None:
    few = rows[100:140].drop(columns="benign")
    found = result.transform(spark.createDataFrame(few)).orderBy("row_id").toPandas()
    P = result.model.predict_proba(few.drop(columns="row_id"))
    assert found.label.tolist() == result.model.classes_[P.argmax(axis=1)].tolist()
    assert np.allclose(found.confidence, P.max(axis=1), atol=1e-6)


def test_transform_refuses_missing_and_taken_columns(
    spark: SparkSession, rows: pd.DataFrame, result: SelfTrainingResult
) -> None:
    with pytest.raises(InputError, match="f3"):
        result.transform(spark.createDataFrame(rows[:2].drop(columns="f3")))
    with pytest.raises(InputError, match="confidence"):
        result.transform(spark.createDataFrame(rows[:2].assign(confidence=1.0)))


def test_a_finished_output_opens_again(spark: SparkSession, result: SelfTrainingResult) -> None:
    again = SelfTrainingResult.load(spark, result.output)
    assert again.report == result.report
    assert np.array_equal(
        again.model.named_steps["logisticregression"].coef_,
        result.model.named_steps["logisticregression"].coef_,
    )


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(FunctionTransformer(len), LogisticRegression()),
        # Its kernel's types show only once it is fitted.
        GaussianProcessClassifier(),
    ],
    ids=["function", "kernel"],
)
def test_an_estimator_that_cannot_be_stored_is_refused_before_fitting(
    spark: SparkSession, rows: pd.DataFrame, tmp_path: Path, estimator: BaseEstimator
) -> None:
    frames = [spark.createDataFrame(d) for d in (rows[:40], rows[40:60].drop(columns="benign"))]
    training = SelfTraining(estimator, label="benign", id="row_id")
    with pytest.raises(InputError, match=r"not trusted|cannot store"):
        training.fit(*frames, output=str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("_attempts/*/model-*"))


def test_another_estimator_does_not_go_on_with_these_rounds(
    spark: SparkSession, rows: pd.DataFrame, result: SelfTrainingResult
) -> None:
    frames = [spark.createDataFrame(d) for d in (rows[:40], rows[40:60].drop(columns="benign"))]
    training = SelfTraining(LogisticRegression(C=0.1), label="benign", id="row_id")
    with pytest.raises(InputError, match=r"another|other") as refused:
        training.fit(*frames, output=result.output)
    assert refused.value.code == "other_run"


def test_wrong_arguments_are_told_like_wrong_keys() -> None:
    training = SelfTraining("LogisticRegresion", label="y", id="id", selection="treshold")
    with pytest.raises(ConfigError) as refused:
        training.config("out")
    assert "LogisticRegression" in refused.value.message
    assert "threshold" in refused.value.message


def test_scores_can_be_adjusted_from_python() -> None:
    training = SelfTraining(
        "LogisticRegression",
        label="y",
        id="i",
        teacher={"committee": [{"estimator": "GaussianNB"}]},
        calibration="sigmoid",
        prior={True: 0.25, False: 0.75},
        drawn="per_class",
    )
    config = training.config("out")
    assert (config.calibration, config.labeled.drawn) == ("sigmoid", "per_class")
    assert config.unlabeled.prior == {"true": 0.25, "false": 0.75}


@pytest.mark.parametrize("kind", ["accepted", "rejected", "invalid", "labeled", "validation"])
def test_explain_knows_what_became_of_a_row(
    result: SelfTrainingResult, rows: pd.DataFrame, kind: str
) -> None:
    labels = result.labels.toPandas().set_index("row_id")
    explained = {
        row_id: explain_row(result.output, str(row_id)) for row_id in _sample(rows, labels)
    }
    of_kind = {row_id: row for row_id, row in explained.items() if row.kind == kind}
    assert of_kind
    for row_id, row in of_kind.items():
        assert (kind == "accepted") == (row_id in labels.index)
        if kind == "accepted":
            assert row.label == labels.label[row_id]
            assert row.confidence == labels.confidence[row_id]
            assert row.round == labels["round"][row_id]


def _sample(rows: pd.DataFrame, labels: pd.DataFrame) -> list[int]:
    pool = rows.row_id[N_LABELED:]
    rejected = pool[~pool.isin(labels.index)].iloc[:6]
    return [*rows.row_id[:N_LABELED:4], *labels.index[:4], *rejected]


def test_explain_of_an_unknown_row_is_refused(result: SelfTrainingResult) -> None:
    with pytest.raises(InputError, match="123456") as refused:
        explain_row(result.output, "123456")
    assert refused.value.code == "unknown_id"


def test_status_and_verify_agree_with_the_report(result: SelfTrainingResult) -> None:
    status = read_status(result.output)
    rows = result.report["rows"]
    assert status.state == "done"
    assert status.counters.model_dump() == {
        "TotalLabeled": rows["labeled"] + rows["validation"] + rows["accepted"],
        "HumanLabeled": rows["labeled"] + rows["validation"],
        "MachineLabeled": rows["accepted"],
        "FailedNonRetryableError": 1,
        "Unlabeled": rows["rejected"],
    }
    assert check_output(result.output, deep=True).problems == []
    assert read_report(result.output).as_json() == result.report


def test_label_applies_model_and_cut_to_new_rows(
    spark: SparkSession, rows: pd.DataFrame, result: SelfTrainingResult, tmp_path: Path
) -> None:
    new = rows[:50].drop(columns="benign")
    new.loc[7, "f0"] = np.nan
    new.to_csv(tmp_path / "new.csv", index=False)
    document = label(
        spark, result.output, input=str(tmp_path / "new.csv"), output=str(tmp_path / "labels")
    )
    written = pd.read_parquet(tmp_path / "labels").set_index("row_id")
    assert list(written.columns) == ["label", "confidence", "accepted", "model"]
    assert written.index.dtype == pd.read_parquet(f"{result.output}/labels").row_id.dtype
    assert (document.rows, document.invalid, document.abstained) == (50, 1, 0)
    assert written.label.isna().sum() == 1
    valid = written[written.label.notna()]
    assert (valid.accepted == (valid.confidence > 0.95)).all()
    assert document.accepted == valid.accepted.sum()
    with pytest.raises(InputError, match="must not exist"):
        label(spark, result.output, input=str(tmp_path), output=str(tmp_path / "labels"))


def test_an_estimator_without_probabilities_is_refused_before_anything_is_begun() -> None:
    for estimator in (LinearSVC(), make_pipeline(StandardScaler(), LinearSVC())):
        training = SelfTraining(estimator, label="y", id="id", selection="auto")
        with pytest.raises(ConfigError, match=r"LinearSVC .* has no predict_proba"):
            training.config("out")
    training = SelfTraining(LogisticRegression(), label="y", id="id", student={"estimator": "No"})
    with pytest.raises(ConfigError, match="unknown estimator 'No'"):
        training.config("out")
