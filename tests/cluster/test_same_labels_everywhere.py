"""One configuration gives the same labels whatever it runs on; scripts/torture shapes has more.

Between them the shapes that Spark reads have each pair of master, size of partitions, size of
batches and adaptive execution that can differ. Partitions and batches mean nothing to the direct
scan.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cluster.driver import Driver
from tests.cluster.shapes import MB, TINY, Shape
from tests.cluster.tables import POOL_FILES, ROWS_PER_FILE, labels_sha256, read_labels

USUAL = Shape("local[2]", 128 * MB, 10_000, True, "auto")
SHAPES = [
    Shape("local[2]", MB, 100, True),
    Shape("standalone", TINY, 100, False),
    Shape("standalone", 128 * MB, 10_000, True, "auto"),
]
# A forest's few distinct confidences tie, and the id cuts: here the place in a file. It also says
# how a row is corrupted.
QUOTA: dict[str, Any] = {
    "id": None,
    "model": {"estimator": "RandomForestClassifier", "params": {"n_estimators": 20}},
    "selection": {
        "policy": "top_k_per_class",
        "k": 230,
        "stable_under": {"copies": 2, "swap": 0.02, "noise": 0.05},
    },
    "training": {"pseudo_weight": "confidence"},
    "rounds": {"max": 1},
}
QUOTA_SHAPES = [
    Shape("local[2]", TINY, 10_000, True),
    Shape("standalone", MB, 10_000, False),
]
# What they know of the pool are sums over its rows, who is near whom, and how often votes occur
# together, each put together in workers.
TEACHERS: dict[str, dict[str, Any]] = {
    "anchors": {"graph": "anchors", "anchors": 60},
    "neighbors": {"graph": "neighbors", "k": 7, "method": "poisson"},
    "rules": {
        "rules": [
            {"name": "long", "label": "high", "when": "length > 0.8"},
            {"name": "thin", "label": "high", "when": "width < -0.8 and color <> 'blue'"},
            {"name": "short", "label": "low", "when": "length < -0.5"},
            {"name": "wide", "label": "low", "when": "width > 0.9 and visits < 5"},
            {"name": "plain", "label": "middle", "when": "abs(length) < 0.4 and color = 'green'"},
        ]
    },
}
# Each worker has the rows of a range of hashes, whoever has read them.
TRAINED: dict[str, dict[str, Any]] = {
    "boosted": {"estimator": "XGBClassifier", "params": {"n_estimators": 20, "max_depth": 4}},
    "logistic": {"estimator": "LogisticRegression"},
}
TRAINED_ON = [
    # tests/runs/test_training_places.py trains on the cluster by default, in one process.
    pytest.param("boosted", "standalone", marks=pytest.mark.long),
    pytest.param("logistic", "standalone", marks=pytest.mark.long),
    pytest.param("logistic", "local[1]", marks=pytest.mark.long),
    pytest.param("boosted", "local-cluster[2,1,1024]", marks=pytest.mark.long),
    pytest.param("logistic", "local-cluster[2,1,1024]", marks=pytest.mark.long),
]
POSITION = ("file", "row_index")

Run = Callable[..., Path]


@pytest.fixture(scope="module")
def run(
    driver_of: Callable[[str], Driver], tables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Run a configuration in a shape; return its output."""

    def on(shape: Shape, **sections: Any) -> Path:
        directory = tmp_path_factory.mktemp("shape")
        return shape.run(driver_of(shape.master), tables, directory, **sections)

    return on


@pytest.fixture(scope="module")
def usual_quota(run: Run) -> Path:
    return run(USUAL, **QUOTA)


def test_both_models_label_rows_of_all_classes(undisturbed: Path) -> None:
    labels = read_labels(undisturbed, "row_id")
    assert set(labels["round"]) == {1, 2}
    assert set(labels["label"]) == {"low", "middle", "high"}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_labels_are_the_same(shape: Shape, run: Run, undisturbed: Path) -> None:
    output = run(shape)
    assert labels_sha256(output) == labels_sha256(undisturbed)
    # Small partitions really split the files.
    scored = list(output.glob("_attempts/*/round-0001/*/scored/*.parquet"))
    assert (len(scored) > POOL_FILES) == (shape.partition_bytes == TINY)


def test_a_quota_cuts_between_rows_that_tie(usual_quota: Path) -> None:
    labels = read_labels(usual_quota, *POSITION)
    lowest = labels.groupby("label")["confidence"].agg(["min", "count"])
    assert (lowest["count"] == QUOTA["selection"]["k"]).all()
    assert (labels.groupby(["label", "confidence"]).size() > 1).any()
    assert "unstable" in set(read_labels(usual_quota, *POSITION, table="undecided")["reason"])


@pytest.mark.parametrize("shape", QUOTA_SHAPES, ids=str)
def test_rows_that_tie_are_cut_alike(shape: Shape, run: Run, usual_quota: Path) -> None:
    output = run(shape, **QUOTA)
    assert labels_sha256(output, *POSITION) == labels_sha256(usual_quota, *POSITION)


@pytest.mark.parametrize(
    "name",
    [
        "neighbors",
        pytest.param("anchors", marks=pytest.mark.long),
        pytest.param("rules", marks=pytest.mark.long),
    ],
)
def test_what_a_teacher_learns_of_the_pool_is_the_same(name: str, run: Run, tables: Path) -> None:
    sections: dict[str, Any] = {
        "model": {},
        "teacher": TEACHERS[name] | {"student": False},
        "selection": {"policy": "one_shot"},
        "rounds": {"max": 1},
        "training": {},
    }
    usual, other = (run(shape, **sections) for shape in (USUAL, QUOTA_SHAPES[1]))
    assert labels_sha256(usual) == labels_sha256(other)
    labels, rows = read_labels(usual, "row_id"), json.loads((usual / "report.json").read_text())
    counts = rows["rows"]
    parts = ("accepted", "rejected", "invalid", "abstained")
    assert sum(counts[part] for part in parts) == counts["pool"] == POOL_FILES * ROWS_PER_FILE
    assert len(labels) == counts["accepted"] > 1_500
    given = pd.read_parquet(tables / "labeled.parquet").set_index("row_id")["kind"]
    kept = read_labels(usual, "row_id", table="training").set_index("row_id")
    kept = kept[kept["source"] == "labeled"]["label"]
    assert kept.to_dict() == given.to_dict()


@pytest.mark.parametrize(("name", "master"), TRAINED_ON)
def test_models_that_learn_on_the_cluster_are_the_same(name: str, master: str, run: Run) -> None:
    sections = {"model": TRAINED[name], "training": {"on": "cluster", "workers": 2}}
    usual = run(USUAL, **sections)
    other = run(Shape(master, MB, 100, False), **sections)
    assert set(read_labels(usual, "row_id")["round"]) == {1, 2}
    assert labels_sha256(usual) == labels_sha256(other)


@pytest.mark.long
def test_numbers_are_the_same(run: Run, tables: Path, tmp_path: Path) -> None:
    labeled = pd.read_parquet(tables / "labeled.parquet").drop(columns="kind")
    noise = np.random.default_rng(3).normal(scale=0.3, size=len(labeled))
    labeled["size"] = (1.6 * labeled["length"] - labeled["width"]).fillna(0.0) + noise
    labeled.to_parquet(tmp_path / "labeled.parquet", index=False)
    sections: dict[str, Any] = {
        "task": "regression",
        "tolerance": "0.5 sd",
        "labeled": {"path": str(tmp_path / "labeled.parquet"), "label": "size"},
        "model": {"estimator": "ExtraTreesRegressor", "params": {"n_estimators": 20}},
        "rounds": {"max": 1},
        "teacher": {"committee": [{"estimator": "Ridge"}, {"estimator": "ExtraTreesRegressor"}]},
        "selection": {"policy": "threshold", "threshold": 0.6},
    }
    usual, *others = (run(shape, **sections) for shape in (USUAL, *SHAPES[1:], QUOTA_SHAPES[0]))
    found = read_labels(usual, "row_id")
    assert len(found) > 500
    for other in others:
        pd.testing.assert_frame_equal(found, read_labels(other, "row_id"), rtol=0, atol=1e-6)
        assert labels_sha256(usual) == labels_sha256(other)
