"""Whole runs on pools that workers cannot read themselves: frozen first, or read in every pass."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from benchmarks import runs, timing
from benchmarks.tables import Tables
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.job import run

HOW = ("auto", "never")


def compare(
    tables: Tables, source: str, rounds: int, repeats: int
) -> dict[str, list[dict[str, Any]]]:
    """Run each way in turns, each in a process of its own, from its start to its end."""
    if source == "csv":
        _write_csv(tables)
    measured: dict[str, list[dict[str, Any]]] = {how: [] for how in HOW}
    for _ in range(repeats):
        for how in HOW:
            arguments = [str(tables.root), tables.layout, str(tables.rows)]
            command = [sys.executable, "-m", "benchmarks.snapshots", *arguments]
            seconds, peak, output = timing.run([*command, source, how, str(rounds)])
            told = json.loads(output.strip().splitlines()[-1])
            measured[how].append({"seconds": seconds, "peak_mb": peak, **told})
            print(f"{source}, {how}: {measured[how][-1]}", file=sys.stderr, flush=True)
    labels = {one["labels"] for of_way in measured.values() for one in of_way}
    if len(labels) > 1:
        raise RuntimeError(f"The labels differ: {labels}.")
    return measured


def main(root: str, layout: str, rows: str, source: str, how: str, rounds: str) -> None:
    """Run one way; the last line says what it came to."""
    tables = Tables(Path(root), layout, int(rows))
    out = tables.root / f"out-{source}-{how}"
    shutil.rmtree(out, ignore_errors=True)
    with runs.session() as spark:
        frames = _FRAMES[source](spark, tables)
        config = parse_config(_config(tables, source, how, int(rounds), out))
        report = run(spark, config, frames=frames).report
        cpu = timing.cpu()
    shutil.rmtree(out)
    told = {
        "labels": report.rows.accepted,
        "rounds": [each.seconds.model_dump() for each in report.rounds],
        "own_s": report.elapsed_s,
        "cpu_s": cpu,
    }
    print(json.dumps(told))


def _config(tables: Tables, source: str, how: str, rounds: int, out: Path) -> dict[str, Any]:
    where = {"path": str(tables.root / "csv")} if source == "csv" else {"from": "dataframe"}
    return {
        "labeled": {"path": str(tables.root / "labeled.parquet"), "label": "y"},
        "unlabeled": {**where, "snapshot": how},
        "validation": {"fraction": 0},
        "id": "id",
        "model": {"estimator": "LogisticRegression"},
        "selection": {"policy": "threshold", "threshold": runs.THRESHOLD},
        "rounds": {"max": rounds},
        "output": {"path": str(out)},
    }


def _write_csv(tables: Tables) -> None:
    folder = tables.root / "csv"
    if (folder / "_done").exists():
        return
    folder.mkdir(exist_ok=True)
    for file in sorted(tables.pool.glob("*.parquet")):
        pc_csv.write_csv(pq.read_table(file), folder / f"{file.stem}.csv")
    (folder / "_done").touch()


_FRAMES: Mapping[str, Callable[[SparkSession, Tables], dict[str, DataFrame]]] = {
    "csv": lambda spark, tables: {},
    "dataframe": lambda spark, tables: {"unlabeled": spark.read.parquet(str(tables.pool))},
}
SOURCES = tuple(_FRAMES)


if __name__ == "__main__":
    main(*sys.argv[1:])
