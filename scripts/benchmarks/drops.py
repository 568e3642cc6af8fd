"""Drops into an incremental run: what the 10th costs, and what the 1,000th."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from benchmarks import timing
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run

LABELED, FIRST = 300, 10_000
_TOLD_EVERY = 50
_AROUND = 5
"""Drops on either side of one, whose median stands for it."""

_TICKS = os.sysconf("SC_CLK_TCK")


def many(spark: SparkSession, folder: Path, drops: int, rows: int) -> dict[str, list[float]]:
    """Put one file after the other into a pool, and label each; return seconds by drop.

    Wall time, and CPU of this process and all below it, which other processes on the machine
    change less.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pool").mkdir(parents=True)
    _rows(0, LABELED).to_parquet(folder / "labeled.parquet", index=False)
    _put(folder, 0, LABELED, FIRST)
    config = parse_config(_configuration(folder))
    run(spark, config)
    seconds: dict[str, list[float]] = {"wall": [], "cpu": []}
    for drop in range(1, drops + 1):
        _put(folder, drop, LABELED + FIRST + (drop - 1) * rows, rows)
        started, cpu = time.perf_counter(), _cpu()
        report = run(spark, config).report
        seconds["wall"].append(time.perf_counter() - started)
        seconds["cpu"].append(_cpu() - cpu)
        if report.rows.pool != rows:
            raise RuntimeError(f"Drop {drop} has {report.rows.pool} new rows.")
        if drop % _TOLD_EVERY == 0:
            told = {name: statistics.median(values[-9:]) for name, values in seconds.items()}
            print(f"drop {drop}: {told}", file=sys.stderr, flush=True)
    return seconds


def around(seconds: list[float], drop: int) -> float:
    """Return what a drop costs: the median of those around it."""
    last = min(len(seconds), drop + _AROUND)
    return statistics.median(seconds[max(0, last - 2 * _AROUND - 1) : last])


def _configuration(folder: Path) -> dict[str, Any]:
    return {
        "labeled": {"path": str(folder / "labeled.parquet"), "label": "kind"},
        "unlabeled": {"path": str(folder / "pool")},
        "id": "row_id",
        "model": {"estimator": "LogisticRegression"},
        "validation": {"fraction": 0},
        "selection": {"policy": "threshold", "threshold": 0.8},
        "rounds": {"max": 1},
        "output": {"path": str(folder / "out")},
        "incremental": True,
    }


def _put(folder: Path, drop: int, first: int, n: int) -> None:
    file = folder / "pool" / f"drop-{drop:06d}.parquet"
    _rows(first, n).drop(columns="kind").to_parquet(file, index=False)


def _rows(first: int, n: int) -> pd.DataFrame:
    chance = np.random.default_rng(first)
    X = chance.normal(size=(n, 8))
    kind = np.where(X[:, 0] + X[:, 1] + chance.normal(scale=0.5, size=n) > 0, "yes", "no")
    ids = [f"row-{number:09d}" for number in range(first, first + n)]
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(8)]).assign(row_id=ids, kind=kind)


def _cpu() -> float:
    """Return CPU seconds of this process and all below it, those that have ended included."""
    total = 0.0
    for pid in timing.tree(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Of the process, and of its children that were waited for.
        total += sum(map(int, fields[11:15])) / _TICKS
    return total
