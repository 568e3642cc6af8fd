"""A pool unlike the labeled rows: what is measured, and what follows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from sklearn.datasets import make_classification

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import label, run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.state import report_if_finished
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_text
from spark_pseudolabel.store import failpoint as failpoint_module
from spark_pseudolabel.store.failpoint import FailpointError

N_LABELED, N_LIKE_THEM, N_FOREIGN = 300, 2400, 400
FIRST_FOREIGN = N_LABELED + N_LIKE_THEM
CERTIFIED = {"policy": "certified", "precision": 0.9, "certainty": 0.9}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate two classes; the last rows of the pool lie far from all others."""
    n = FIRST_FOREIGN + N_FOREIGN
    X, y = make_classification(n, 8, n_informative=5, class_sep=1.2, random_state=0)
    X[FIRST_FOREIGN:] += 30
    rows = pd.DataFrame(X, columns=[f"x{i}" for i in range(8)])
    rows["job"] = np.where(np.arange(n) < FIRST_FOREIGN, "cook", "clerk")
    rows["y"], rows["id"] = np.where(y, "yes", "no"), np.arange(n)
    directory = tmp_path_factory.mktemp("shift")
    rows[:N_LABELED].to_parquet(directory / "labeled.parquet", index=False)
    shuffled = rows[N_LABELED:].drop(columns="y").sample(frac=1, random_state=0)
    shuffled.to_parquet(directory / "pool.parquet", index=False)
    return directory


def report_of(
    spark: SparkSession, data: Path, out: Path, action: str | None, **sections: Any
) -> dict[str, Any]:
    return run(spark, parse_config(config(data, out, action, **sections))).report.as_json()


def config(data: Path, out: Path, action: str | None, **sections: Any) -> dict[str, Any]:
    unlabeled = {"path": str(data / "pool.parquet"), **sections.pop("unlabeled", {})}
    return {
        "labeled": {"path": str(data / "labeled.parquet"), "label": "y"},
        "unlabeled": unlabeled,
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "rounds": {"max": 2},
        "shift": {"action": action} if action else None,
        "output": {"path": str(out)},
        **sections,
    }


def labels_of(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "labels").to_pandas().sort_values("id", ignore_index=True)


def codes(report: dict[str, Any]) -> list[str]:
    return [found["code"] for found in report["warnings"]]


ROUNDS: dict[str, dict[str, Any]] = {
    "threshold": {},
    "k best": {"selection": {"policy": "k_best", "k": 1000}},
    "certified": {"selection": CERTIFIED, "rounds": {}},
    "held out": {
        "selection": {**CERTIFIED, "scores": "held_out"},
        "validation": {"fraction": 0.4},
        "rounds": {},
    },
}


# The others differ in what is accepted, by rules that both backends share.
SHORT = ("certified",)


@pytest.mark.parametrize(
    "name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in ROUNDS]
)
def test_rows_far_from_labeled_ones_are_withheld_on_both_backends(
    spark: SparkSession, data: Path, tmp_path: Path, name: str
) -> None:
    reports = {
        scan: report_of(
            spark, data, tmp_path / scan, "withhold", **ROUNDS[name], unlabeled={"scan": scan}
        )
        for scan in ("auto", "spark")
    }
    labels = [labels_of(tmp_path / scan) for scan in reports]
    pd.testing.assert_frame_equal(*labels)
    assert len(labels[0]) > 500
    assert labels[0]["id"].max() < FIRST_FOREIGN
    report = reports["auto"]
    for key in ("shift", "certificate", "rows"):  # the same sample of the pool, for one thing
        assert report[key] == reports["spark"][key]
    assert N_FOREIGN <= report["rows"]["withheld"] < N_FOREIGN + 0.03 * N_LIKE_THEM
    for one in report["rounds"]:
        assert one["withheld"] == report["rows"]["withheld"]
        assert one["accepted"] + one["rejected"] + one["invalid"] == one["candidates"]
    if report["certificate"] is not None:
        n = N_LABELED if name == "certified" else 0.4 * N_LABELED
        assert report["certificate"]["inside_only"]
        assert 0.9 * n < report["certificate"]["n_calibration"] < n
        assert report["certificate"]["n_pool"] == 2800 - report["rows"]["withheld"]
        assert report["certificate"]["shift"]["outside"] == report["shift"]["outside"]
    explained = explain_row(str(tmp_path / "auto"), str(FIRST_FOREIGN))
    assert explained.kind == "rejected"
    assert {step.reason for step in explained.history} == {"withheld: no labeled row is near it"}


def test_what_was_measured_is_in_the_report(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    report = report_of(spark, data, tmp_path / "out", "warn")
    found = report["shift"]
    assert found["shifted"]
    assert (found["n_labeled"], found["n_pool"]) == (240, 2000)
    assert found["outside"] == pytest.approx(N_FOREIGN / 2800, abs=0.03)
    assert found["unseen"]["job"] == pytest.approx(N_FOREIGN / 2800, abs=0.03)
    assert report["rows"]["withheld"] == 0
    assert "shift" in codes(report)
    for page in (render_text(report), render_html(report)):
        assert "new categories of job" in page
    silent = report_of(spark, data, tmp_path / "silent", None)
    assert silent["shift"] is None
    assert silent["rounds"][0]["accepted"] == report["rounds"][0]["accepted"]
    off = report_of(spark, data, tmp_path / "off", "off", selection=CERTIFIED, rounds={})
    assert off["shift"] is off["certificate"]["shift"] is None
    assert "shift" not in codes(off)


def test_no_student_learns_from_a_pool_unlike_the_labeled_rows(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    teacher = {"committee": [{"estimator": "LogisticRegression"}, {"estimator": "GaussianNB"}]}
    sections = {"teacher": teacher, "selection": {"policy": "threshold"}, "rounds": {}}
    report = report_of(spark, data, tmp_path / "out", None, **sections)
    assert report["shift"]["shifted"]
    assert len(labels_of(tmp_path / "out")) == report["rounds"][0]["accepted"] > 0
    assert report["rounds"][0]["trained_on"] == 0
    assert report["final"]["oof"] == report["seed"]["oof"]
    assert {"shift", "student_not_used"} <= set(codes(report))


def test_nothing_is_labeled_where_a_shift_stops_the_run(
    spark: SparkSession, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("SPL_FAILPOINT", "model.publish.done:raise")
    monkeypatch.setattr(failpoint_module, "_reached", Counter())
    with pytest.raises(FailpointError):
        report_of(spark, data, out, "stop")
    monkeypatch.delenv("SPL_FAILPOINT")
    report = report_of(spark, data, out, "stop")
    assert (report["termination_condition"], report["n_iter"]) == ("shift", 0)
    assert report["final"]["model"] == "model-0001"
    assert "shift" in codes(report)
    assert labels_of(out).empty
    assert read_status(str(out)).termination_condition == "shift"
    assert check_output(str(out), deep=True).ok
    finished = report_if_finished(parse_config(config(data, out, "stop")))
    assert finished is not None
    assert finished.as_json() == report
    assert "Stopped after 0 rounds: the pool is too unlike" in render_text(report)


def test_a_pool_like_the_labeled_rows_does_not_stop_a_run(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    pool = pd.read_parquet(data / "pool.parquet")
    pool[pool["id"] < FIRST_FOREIGN].to_parquet(tmp_path / "pool.parquet", index=False)
    unlabeled = {"path": str(tmp_path / "pool.parquet")}
    report = report_of(spark, data, tmp_path / "out", "stop", unlabeled=unlabeled)
    assert not report["shift"]["shifted"]
    assert report["rows"]["accepted"] > 0


def test_new_rows_are_not_called_accepted_where_rows_were_withheld(
    spark: SparkSession, data: Path, tmp_path: Path
) -> None:
    report_of(spark, data, tmp_path / "out", "withhold", rounds={"max": 1})
    new = tmp_path / "new"
    label(spark, str(tmp_path / "out"), input=str(data / "pool.parquet"), output=str(new))
    assert pq.read_table(new).column("accepted").null_count == 2800
    (path,) = (tmp_path / "out").rglob("round-0001.json")
    assert json.loads(path.read_text())["counts"]["withheld"] >= N_FOREIGN
