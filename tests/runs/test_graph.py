"""Labels spread over a graph: both backends, every cluster shape, a student or none."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from sklearn.datasets import make_moons

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core import parts as splits
from spark_pseudolabel.core.parts import parts_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job import plan, run
from spark_pseudolabel.job.labeling import label
from spark_pseudolabel.output.explain import explain_row
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.spark.direct import survey

N = 1500
N_LABELED = 12
COPIES = 25


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "parts_of", partial(parts_of, max_rows=600))
    monkeypatch.setattr(splits, "MIN_PIECE_ROWS", 250)


def moons() -> pd.DataFrame:
    X, y = make_moons(N, noise=0.08, random_state=0)
    far = np.random.default_rng(0).normal(size=(30, 2)) * 0.1 + 9.0
    rows = pd.DataFrame(np.concatenate([X, far]), columns=["x", "y"])
    rows["moon"] = [*np.where(y, "lower", "upper"), *["far"] * 30]
    # More copies of a row than neighbors: they are no island.
    rows = pd.concat([rows, *[rows[700:701]] * COPIES], ignore_index=True)
    rows["id"] = [f"r{i:04d}" for i in np.random.default_rng(1).permutation(len(rows))]
    rows.loc[N - 5 : N - 4, "x"] = np.inf
    return rows


def sections(folder: Path, n_labeled: int = N_LABELED, **changes: Any) -> dict[str, Any]:
    rows = moons()
    rows[:n_labeled].to_parquet(folder / "labeled.parquet", index=False)
    pool = rows[n_labeled:].drop(columns="moon")
    (folder / "pool").mkdir()
    pool[:700].to_parquet(folder / "pool" / "0.parquet", index=False)
    pool[700:].to_parquet(folder / "pool" / "1.parquet", index=False)
    return {
        "labeled": {"path": str(folder / "labeled.parquet"), "label": "moon"},
        "unlabeled": {"path": str(folder / "pool")},
        "id": "id",
        "teacher": {"graph": "neighbors", "method": "poisson"},
        "selection": {"policy": "threshold", "threshold": 0.5},
        "output": {"path": str(folder / "out")},
        **changes,
    }


def published(out: str, name: str = "labels") -> pd.DataFrame:
    return pd.read_parquet(f"{out}/{name}").sort_values("id", ignore_index=True)


def test_a_graph_labels_moons_the_same_through_both_backends(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = sections(tmp_path, model={"estimator": "ExtraTreesClassifier"})
    config = parse_config(given)
    # Killed between the graph and the first model, it goes on with that graph.
    with monkeypatch.context() as killed:
        killed.setattr("spark_pseudolabel.job.loop.fit_model", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(spark, config)
    result = run(spark, config)
    assert result.resumed
    report, out = result.report, config.output.path
    truth = moons().set_index("id")["moon"]
    labels = published(out)
    assert (labels["label"] == truth[labels["id"]].to_numpy()).all()
    rows = report.rows
    assert rows.accepted + rows.rejected + rows.invalid + rows.abstained == rows.pool
    assert (rows.invalid, rows.abstained) == (2, 30)
    assert report.teacher is not None
    assert (report.teacher.abstained, report.teacher.recall) == (30, 1.0)
    assert report.final.model == "model-0002"
    adjustment = report.seed.adjustment
    assert adjustment is not None
    assert adjustment.calibration is not None
    assert adjustment.calibration.method == "temperature"  # 6 labeled rows a class; curves take 20
    assert not check_output(out, deep=True).problems
    through_spark = parse_config(
        {
            **given,
            "unlabeled": {**given["unlabeled"], "scan": "spark"},
            "output": {"path": str(tmp_path / "other")},
        }
    )
    run(spark, through_spark)
    for name in ("labels", "invalid"):
        pd.testing.assert_frame_equal(
            published(out, name), published(through_spark.output.path, name)
        )
    explained = explain_row(out, labels["id"][0], why=True)
    assert explained.why is None
    assert "model-0001 is a graph" in (explained.why_not or "")
    label(spark, out, input=given["unlabeled"]["path"], output=str(tmp_path / "new"))
    assert len(published(str(tmp_path), "new")) == rows.pool


def test_one_label_a_class_is_enough(spark: SparkSession, tmp_path: Path) -> None:
    given = sections(tmp_path, model={"estimator": "ExtraTreesClassifier"})
    labeled = pd.read_parquet(tmp_path / "labeled.parquet").drop_duplicates("moon")
    labeled.to_parquet(tmp_path / "labeled.parquet", index=False)
    config = parse_config(given)
    report = run(spark, config).report
    truth, labels = moons().set_index("id")["moon"], published(config.output.path)
    assert len(labels) == report.rows.accepted == report.rows.pool - 32
    assert (labels["label"] == truth[labels["id"]].to_numpy()).mean() > 0.99
    # Nothing measures the student, and it is what labels other rows.
    assert report.final.model == "model-0002"
    assert report.final.oof is None
    kept = published(config.output.path, "training").set_index("id")
    assert kept.loc[labeled["id"], "label"].tolist() == labeled["moon"].tolist()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_a_student_there_is_no_model_for_other_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    teacher = {"graph": "neighbors", "method": "propagation", "student": False}
    given = sections(tmp_path, teacher=teacher, validation={"fraction": 0.25})
    given.pop("selection")
    config = parse_config(given)
    report = run(spark, config).report
    assert report.final.validation is not None
    assert report.final.validation.accuracy == 1.0
    assert not (tmp_path / "out" / "model").exists()
    assert not check_output(config.output.path).problems
    assert report.paths.model is None
    with pytest.raises(InputError, match="graph: anchors"):
        label(
            spark,
            config.output.path,
            input=given["unlabeled"]["path"],
            output=str(tmp_path / "new"),
        )


def test_an_anchor_graph_in_a_committee_labels_moons_and_new_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    teacher = {
        "committee": [{"estimator": "LogisticRegression"}, {"estimator": "GaussianNB"}],
        "graph": {"graph": "anchors", "anchors": 100},
        "student": False,
    }
    selection = {"policy": "threshold", "threshold": 0.5, "require": "majority"}
    given = sections(tmp_path, N_LABELED * 5, teacher=teacher, selection=selection)
    config = parse_config(given)
    assert plan(spark, config).model.committee[2].estimator == "graph: anchors"
    report, out = run(spark, config).report, config.output.path
    assert report.teacher is not None
    assert report.teacher.kind == "committee"
    assert report.teacher.parameters["graph.anchors"] == 100
    members = {member.name: member for member in report.teacher.members}
    assert list(members) == ["LogisticRegression", "GaussianNB", "graph: anchors"]
    graph, line = members["graph: anchors"], members["LogisticRegression"]
    assert graph.weight > line.weight
    assert (graph.accuracy or 0) > (line.accuracy or 0)
    assert graph.coverage is not None
    rows = report.rows
    assert rows.accepted + rows.rejected + rows.invalid + rows.abstained == rows.pool
    assert rows.disagreement > 0
    labels = published(out)
    truth = moons().set_index("id").loc[labels["id"], "moon"].to_numpy()
    near = truth != "far"  # of these no row has a label
    assert (labels["label"] == truth)[near].mean() > 0.99
    label(spark, out, input=given["unlabeled"]["path"], output=str(tmp_path / "new"))
    new = published(str(tmp_path), "new").set_index("id")
    assert new.loc[labels["id"], "label"].tolist() == labels["label"].tolist()
    assert new["accepted"].sum() == len(labels)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"around": "committee"}, marks=pytest.mark.long),
        {"graph": {"graph": "neighbors"}},
    ],
    ids=["around the committee", "a member"],
)
def test_a_committee_and_a_graph_are_the_same_through_both_backends(
    change: dict[str, Any], spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = {
        "graph": "neighbors",
        "committee": [{"estimator": "LogisticRegression"}, {"estimator": "GaussianNB"}],
        "student": False,
        **change,
    }
    changes = {"teacher": teacher, "validation": {"fraction": 0.25}}
    given = sections(tmp_path, N_LABELED * 6, **changes)
    config = parse_config(given)
    with monkeypatch.context() as killed:
        killed.setattr("spark_pseudolabel.job.loop.fit_model", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(spark, config)
    result = run(spark, config)
    assert result.resumed
    report = result.report
    assert report.teacher is not None
    assert report.teacher.recall == 1.0
    *_, line, graph = report.teacher.members
    assert graph.name == "graph: neighbors"
    if "around" in change:
        assert graph.weight == report.teacher.parameters["smooth"] == 0.8
    else:
        assert graph.weight > line.weight
    assert (graph.accuracy or 0) > 0.9
    assert report.final.validation is not None
    assert report.final.validation.accuracy > 0.9
    assert report.paths.model is None
    rows = report.rows
    assert rows.accepted + rows.rejected + rows.invalid + rows.abstained == rows.pool
    through_spark = parse_config(
        {
            **given,
            "unlabeled": {**given["unlabeled"], "scan": "spark"},
            "output": {"path": str(tmp_path / "other")},
        }
    )
    run(spark, through_spark)
    labels, other = (published(out.output.path) for out in (config, through_spark))
    pd.testing.assert_frame_equal(labels, other)
    truth = moons().set_index("id").loc[labels["id"], "moon"].to_numpy()
    near = truth != "far"
    assert (labels["label"] == truth)[near].mean() > 0.9
    with pytest.raises(InputError, match="graph: anchors"):
        label(
            spark,
            config.output.path,
            input=given["unlabeled"]["path"],
            output=str(tmp_path / "new"),
        )
