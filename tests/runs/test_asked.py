"""What rows have to show besides a confidence, in whole runs whose models teach each other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.datasets import load_breast_cancer

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import label, plan, run
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.report.text import render_plan, render_text
from spark_pseudolabel.store import failpoint as failpoint_module
from spark_pseudolabel.store.failpoint import FailpointError

N_LABELED = 200
ASKED = {"stable_under": {"copies": 3, "swap": 0.1, "noise": 0.3}, "require": "all"}
TRI = {"tri_training": {"estimator": "GaussianNB"}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cancer = load_breast_cancer()
    rows = pd.DataFrame(cancer.data[:, :10], columns=[f"x{i}" for i in range(10)])
    rows["y"], rows["id"] = cancer.target_names[cancer.target], range(len(rows))
    rows = rows.sample(frac=1, random_state=0)
    directory = tmp_path_factory.mktemp("asked")
    rows[:N_LABELED].to_parquet(directory / "labeled.parquet", index=False)
    (directory / "pool").mkdir()
    for number in range(2):
        part = rows[N_LABELED + number :: 2].drop(columns="y")
        part.to_parquet(directory / "pool" / f"{number}.parquet", index=False)
    return directory


def config(data: Path, out: Path, scan: str, **sections: Any) -> dict[str, Any]:
    return {
        "labeled": {"path": str(data / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(data / "pool"), "scan": scan},
        "id": "id",
        "output": {"path": str(out)},
        **sections,
    }


def report_of(spark: SparkSession, sections: dict[str, Any]) -> dict[str, Any]:
    return run(spark, parse_config(sections)).report.as_json()


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(out / name).sort_values("id", ignore_index=True)


def test_unstable_rows_and_those_in_dispute_are_not_published(
    spark: SparkSession, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = {"policy": "auto", "precision": 0.8, "certainty": 0.9, **ASKED}
    sections = {
        scan: config(data, tmp_path / scan, scan, teacher=TRI, selection=selection)
        for scan in ("auto", "spark")
    }
    told = render_plan(plan(spark, parse_config(sections["auto"])))
    assert "tri-training of GaussianNB" in told
    monkeypatch.setenv("SPL_FAILPOINT", "model.publish.done:raise")
    monkeypatch.setattr(failpoint_module, "_reached", Counter())
    with pytest.raises(FailpointError):
        report_of(spark, sections["auto"])
    monkeypatch.delenv("SPL_FAILPOINT")
    reports = {scan: report_of(spark, given) for scan, given in sections.items()}
    report, out = reports["auto"], tmp_path / "auto"
    assert report["rows"] == reports["spark"]["rows"]
    assert report["certificate"] == reports["spark"]["certificate"]
    for name in ("labels", "undecided"):  # one run was killed, and read otherwise
        pd.testing.assert_frame_equal(table(out, name), table(tmp_path / "spark", name))

    rows, (first,) = report["rows"], report["rounds"]
    parts = ("accepted", "rejected", "invalid", "abstained")
    assert sum(rows[part] for part in parts) == 569 - N_LABELED
    reasons = Counter(table(out, "undecided")["reason"])
    assert sum(reasons.values()) == rows["rejected"]
    for reason in ("unstable", "disagreement"):
        assert reasons[reason] == rows[reason] == first[reason] > 0
    certificate = report["certificate"]
    assert certificate["claimed"]
    assert certificate["stable_only"]
    assert certificate["agreed_only"]
    withheld = rows["unstable"] + rows["disagreement"]
    assert certificate["withheld"] == withheld
    assert certificate["n_pool"] == 569 - N_LABELED - withheld
    # Labeled rows are tested as pool rows are published: about as many of them are left out.
    left_out = 1 - certificate["n_calibration"] / N_LABELED
    assert left_out == pytest.approx(withheld / (569 - N_LABELED), abs=0.08)
    for page in (render_text(report), render_html(report)):
        assert "that keep their label when corrupted" in " ".join(page.split())
        assert "members of the model disagree" in " ".join(page.split())

    given = pd.read_parquet(data / "labeled.parquet")[["id", "y"]].sort_values("id")
    kept = table(out, "training").query("source == 'labeled'")
    assert kept["label"].tolist() == given["y"].tolist()
    unstable = table(out, "undecided").query("reason == 'unstable'")["id"].iloc[0]
    assert "corrupted copies of it get another label" in explain_row(str(out), str(unstable)).text
    assert check_output(str(out), deep=True).ok

    label(spark, str(out), input=str(data / "pool"), output=str(tmp_path / "new"))
    new = table(tmp_path, "new")
    assert set(new.loc[new["accepted"], "id"]) == set(table(out, "labels")["id"])
