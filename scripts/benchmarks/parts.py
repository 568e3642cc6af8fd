"""The driver's side of very many parts: tiny files, of which each is a part and a task."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import SparkContext
from sklearn.linear_model import LogisticRegression

from benchmarks import runs, timing
from benchmarks.rounds import begun, do_round, fresh, pool_of
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import make_scorer
from spark_pseudolabel.core.parts import parts_of
from spark_pseudolabel.core.selection.policies.one_shot import OneShot
from spark_pseudolabel.spark.direct import survey
from spark_pseudolabel.spark.direct.keys import survey_keys
from spark_pseudolabel.spark.direct.source import PartSource
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.store import RoundStore

_CLASSES = 10
_ROWS = 20
_POLICY = OneShot(policy="one_shot")
"""Writes a file for every part once more; what quotas ask is merged as counts are."""
_LOOK_S = 5.0
_LIMIT = -(2**62)
"""Of the row hash: a quarter of the rows is fetched."""

Figures = dict[str, float]


def many_parts(directory: Path, n_parts: int) -> dict[str, Figures]:
    """Do what a start and a round do over very many parts of a few rows.

    Returns
    -------
    dict
        ``seconds`` of the steps, and ``sizes``: peak memory in MB of the driver's two processes and
        of all together, and megabytes of the manifest of the round.
    """
    root = _tiny_files(directory, n_parts)
    with runs.session() as spark, timing.Watch(os.getpid(), _LOOK_S) as watch:
        clock = timing.Steps()
        files, full = open_files(str(root))
        listed = files.list(full)
        clock.lap("list the files")
        footers, _ = survey.read_footers(spark, files, full, listed)
        clock.lap("read their footers, on two workers")
        groups = [group for footer in footers for group in survey.row_groups(footer)]
        parts = parts_of(groups, max_rows=_ROWS)
        clock.lap("pack the row groups into parts")
        source = PartSource(full, ("id",), ("x",))
        keys = survey_keys(spark, Scan(source, parts), pa.chunked_array([[-1]]), None)
        assert keys.unique
        assert keys.rows == _ROWS * n_parts
        clock.lap("prove that the ids differ")
        chance = np.random.default_rng(0)
        model = LogisticRegression().fit(chance.normal(size=(300, 1)), np.arange(300) % _CLASSES)
        scorer = make_scorer(model, [Feature("x", "numeric", "double")], ("id",), named=False)
        store = begun(fresh(directory / "parts-out"), scorer)
        pool = pool_of(spark, source, parts, store, _CLASSES)
        clock.lap("fit and write a model")
        do_round(pool, scorer, _POLICY, store, clock)
        again = RoundStore.open(store.files, store.root)
        clock.lap("read the manifests again")
        fetched = pool.fetch(again.rounds, [_LIMIT] * _CLASSES)
        assert fetched is not None
        clock.lap("fetch a quarter of the accepted rows")
        jvm = _peak_of_jvm()
    manifest = max(Path(store.root).glob("_commits/*/*.json"), key=lambda file: file.stat().st_size)
    sizes = {
        "driver, Python": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "driver, JVM": jvm,
        "all processes": watch.peak_mb,
        "manifest of the round": manifest.stat().st_size / 2**20,
    }
    return {"seconds": clock.seconds, "sizes": sizes}


def _peak_of_jvm() -> float:
    gateway: Any = SparkContext._gateway
    status = Path(f"/proc/{gateway.proc.pid}/status").read_text()
    return next(
        int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")
    )


def _tiny_files(directory: Path, n_parts: int) -> Path:
    root = directory / f"parts-{n_parts}"
    if (directory / f"parts-{n_parts}.done").exists():
        return root
    root.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(_rows(n_parts)):
        pq.write_table(rows, root / f"{number:06d}.parquet")
    (directory / f"parts-{n_parts}.done").touch()
    return root


def _rows(n_parts: int) -> Iterator[pa.Table]:
    """Yield the rows of each file, whose ids are in no order over all of them."""
    chance = np.random.default_rng(1)
    ids = chance.permutation(_ROWS * n_parts)
    for start in range(0, len(ids), _ROWS):
        x = chance.normal(size=_ROWS).round(3)
        yield pa.table({"id": ids[start : start + _ROWS], "x": x})
