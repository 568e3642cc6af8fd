"""Whole runs of five rounds: ours, scikit-learn's in one process, and the naive Spark recipe."""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import SparkSession

from benchmarks import models, timing
from benchmarks.tables import Tables
from spark_pseudolabel.config import SparkSettings
from spark_pseudolabel.spark.startup.session import get_session

ROUNDS = 5
THRESHOLD = 0.9


@contextlib.contextmanager
def session() -> Iterator[SparkSession]:
    """Start Spark as a run does, on two cores."""
    conf = {"spark.driver.memory": "4g"}
    spark = get_session(SparkSettings(master="local[2]", conf=conf))
    try:
        yield spark
    finally:
        spark.stop()


def compare(tables: Tables, model: str, repeats: int, *, naive: bool) -> dict[str, dict[str, Any]]:
    """Run every way in turns; return medians."""
    ways = {"ours": ours, "scikit-learn": scikit_learn}
    if naive:
        ways["naive Spark recipe"] = naive_recipe
    by_way: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            by_way[name].append(way(tables, model))
    return {name: _median(list_) for name, list_ in by_way.items()}


def ours(
    tables: Tables,
    model: str,
    heap: str = "2g",
    policy: str = "threshold",
    threshold: float = THRESHOLD,
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Run our command, from its start to its end; policy ``auto`` makes a model of its own."""
    out = tables.root / "out"
    shutil.rmtree(out, ignore_errors=True)
    conf = tables.root / f"{model}.yaml"
    settings = _config(tables, model, out, heap)
    settings["selection"]["threshold"], settings["rounds"]["max"] = threshold, rounds
    if policy == "auto":
        settings = {
            key: settings[key] for key in settings.keys() - {"model", "rounds", "validation"}
        }
        settings["selection"] = {"policy": "auto"}
    conf.write_text(yaml.safe_dump(settings), encoding="utf-8")
    result = tables.root / "result.json"
    command = [sys.executable, "-m", "spark_pseudolabel", "run", str(conf), "--result", str(result)]
    seconds, peak, _ = timing.run([*command, "--quiet"])
    report = json.loads(result.read_text(encoding="utf-8"))
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "accuracy": report["final"]["test"]["accuracy"],
        "own_s": report["elapsed_s"],
        "rounds": [round_["seconds"] for round_ in report["rounds"]],
        "labels": report["rows"]["accepted"],
    }


def _config(tables: Tables, model: str, out: Path, heap: str) -> dict[str, Any]:
    named = {"lr": "LogisticRegression", "hgb": "HistGradientBoostingClassifier"}[model]
    params = {} if model == "lr" else models.HGB
    return {
        "labeled": {"path": str(tables.root / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(tables.pool)},
        "test": {"path": str(tables.root / "test.parquet")},
        "validation": {"fraction": 0},
        "id": "id",
        "model": {"estimator": named, "params": params},
        "selection": {"policy": "threshold", "threshold": THRESHOLD},
        "rounds": {"max": ROUNDS},
        "output": {"path": str(out)},
        "spark": {"master": "local[2]", "conf": {"spark.driver.memory": heap}},
    }


def scikit_learn(tables: Tables, model: str) -> dict[str, Any]:
    """Run ``SelfTrainingClassifier`` in a process of its own, reading included."""
    return _script("scikit_learn", tables, model)


def naive_recipe(tables: Tables, model: str) -> dict[str, Any]:
    """Run the recipe of the tutorials in a process of its own."""
    return _script("naive", tables, model)


def _script(name: str, tables: Tables, model: str) -> dict[str, Any]:
    arguments = [str(tables.root), tables.layout, str(tables.rows), model]
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    seconds, peak, output = timing.run(command)
    accuracy = float(output.strip().splitlines()[-1])
    return {"seconds": seconds, "peak_mb": peak, "accuracy": accuracy}


def _median(measured: list[dict[str, Any]]) -> dict[str, Any]:
    median = {
        key: statistics.median(run[key] for run in measured)
        for key in ("seconds", "peak_mb", "accuracy")
    }
    return {**median, "all": measured}
