"""Whole runs whose final model learns from every row of the pool, on the driver or elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks import timing
from benchmarks.tables import Tables

CAP = 200_000
"""Of the fits on the driver that the others are compared with."""

BOOSTED = {"estimator": "XGBClassifier", "params": {"n_estimators": 50, "max_depth": 6}}
LOGISTIC = {"estimator": "LogisticRegression", "params": {}}
STREAMED = {"estimator": "SGDClassifier", "params": {"loss": "log_loss"}}
CLUSTER = {"on": "cluster", "workers": 2}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "XGBoost on the cluster": (BOOSTED, CLUSTER),
    "XGBoost on the driver": (BOOSTED, {"max_rows": CAP}),
    "logistic on the cluster": (LOGISTIC, CLUSTER),
    "logistic on the driver": (LOGISTIC, {"max_rows": CAP}),
    "SGD streamed": (STREAMED, {"max_rows": None}),
    "SGD on the driver": (STREAMED, {"max_rows": CAP}),
}


def learn(tables: Tables, way: str, master: str, heap: str = "1g") -> dict[str, Any]:
    """Run one way; return seconds, accuracy on the test rows, and the driver's memory in MB."""
    model, training = WAYS[way]
    out, result = tables.root / "out", tables.root / "result.json"
    shutil.rmtree(out, ignore_errors=True)
    settings = {
        "labeled": {"path": str(tables.root / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(tables.pool)},
        "test": {"path": str(tables.root / "test.parquet")},
        "validation": {"fraction": 0},
        "id": "id",
        "model": model,
        # Every row is accepted: the second model learns from all of them.
        "selection": {"policy": "one_shot"},
        "rounds": {"max": 1},
        "training": training,
        "output": {"path": str(out)},
        "spark": {"master": master, "conf": {"spark.driver.memory": heap}},
    }
    conf = tables.root / "places.yaml"
    conf.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "spark_pseudolabel", "run", str(conf), "--result", str(result)]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL)
    with timing.Watch(process.pid, role=partial(_role, process.pid)) as watch:
        process.wait()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{way} ended with {process.returncode}")
    report = json.loads(result.read_text(encoding="utf-8"))
    fits = sorted(out.glob("_commits/*/model-*.json"))
    last = json.loads(fits[-1].read_text(encoding="utf-8"))
    return {
        "seconds": seconds,
        "fit_s": last["seconds"]["fit"],
        "rows": last["training"]["rows"],
        "accuracy": report["final"]["test"]["accuracy"],
        **{f"{role}_mb": peak for role, peak in watch.peaks_mb.items()},
    }


def _role(driver: int, pid: int) -> str:
    """Say whether a process is the driver's Python, its JVM, or another."""
    if pid == driver:
        return "python"
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "workers"
    return "jvm" if b"SparkSubmit" in command else "workers"
