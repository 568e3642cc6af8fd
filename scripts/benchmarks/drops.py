"""Drops into an incremental run: what the 10th costs, and what the 1,000th."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession

from benchmarks import timing
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.job import run
from spark_pseudolabel.store import seen
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.generations import Generations, final_ref
from spark_pseudolabel.store.inputs import SeenFile
from spark_pseudolabel.store.layout import added_name
from spark_pseudolabel.store.manifest import (
    DecidedRound,
    FileEntry,
    FittedModel,
    ModelManifest,
    RoundManifest,
    RunEnd,
)
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.version import VERSION

LABELED, FIRST = 300, 10_000
_AROUND = 5
"""Drops on either side of one, whose median stands for it."""

_MODEL, _ROUND, _END = (set(cls.model_fields) for cls in (FittedModel, DecidedRound, RunEnd))


def many(
    spark: SparkSession, folder: Path, drops: int, rows: int, timed: int | None = None
) -> dict[int, dict[str, float]]:
    """Put one file after the other into a pool, and label each; return seconds by drop.

    Wall time, and CPU of this process and all below it, which other processes on the machine
    change less.

    Parameters
    ----------
    spark, folder, drops, rows
        The session, where, how many drops of how many rows.
    timed
        Label only so many drops around the 10th and at the end; what lies between is put into the
        store as the store does it, without Spark. None: label all of them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pool").mkdir(parents=True)
    _rows(0, LABELED).to_parquet(folder / "labeled.parquet", index=False)
    _put(folder, 0, LABELED, FIRST)
    config = parse_config(_configuration(folder))
    run(spark, config)
    seconds: dict[int, dict[str, float]] = {}
    for drop in range(1, drops + 1):
        first = LABELED + FIRST + (drop - 1) * rows
        _put(folder, drop, first, rows)
        if timed is not None and 10 + timed < drop <= drops - timed:
            _stored(folder, drop, first, rows)
            continue
        started, cpu = time.perf_counter(), timing.cpu()
        report = run(spark, config).report
        seconds[drop] = {"wall": time.perf_counter() - started, "cpu": timing.cpu() - cpu}
        if report.rows.pool != rows:
            raise RuntimeError(f"Drop {drop} has {report.rows.pool} new rows.")
        print(f"drop {drop}: {seconds[drop]}", file=sys.stderr, flush=True)
    return seconds


def around(seconds: Mapping[int, Mapping[str, float]], drop: int) -> dict[str, float]:
    """Return what a drop costs: the median of those around it."""
    near = [cost for number, cost in seconds.items() if abs(number - drop) <= _AROUND]
    return {name: statistics.median(cost[name] for cost in near) for name in ("wall", "cpu")}


def _stored(folder: Path, drop: int, first: int, rows: int) -> None:
    """Let a generation be what its run would make it, with the rounds of the one before."""
    generations = Generations.read(*open_files(str(folder / "out")))
    assert generations is not None
    ended = generations.end(generations.count)
    assert ended is not None
    before, ref = ended
    origin = generations.store(generations.count)
    decided, fitted = origin.rounds[0], origin.models[0]
    file = folder / "pool" / f"drop-{drop:06d}.parquet"
    status = file.stat()
    seen_file = SeenFile(file.name, status.st_size, status.st_mtime_ns)
    pool = origin.inputs.unlabeled.model_copy(update={"files": (seen_file,)})
    frozen = origin.inputs.model_copy(update={"unlabeled": pool})
    number, run_id = generations.count + 1, str(uuid4())
    begun = generations.begin("label", frozen, ref, VERSION, run_id)
    store = begun.store(number, VERSION)
    _again(store, origin, fitted, decided)
    attempt = store.new_attempt("final", 1)
    ids = [f"row-{n:09d}" for n in range(first, first + rows)]
    hashes = xxhash64([pa.array(ids)]).view(np.uint64)
    facts = before.facts.model_copy(update={"generation": number, "run_id": run_id})
    begun.finish(
        before.model_copy(
            update={
                "generation": number,
                "claim": begun.claim(number)[1],
                "final": final_ref(store),
                "ids": seen.add_ids(store, attempt, before.ids, [hashes]),
                "files": seen.add_files(store, attempt, before.files, [seen_file]),
                "facts": facts,
                "recent": before.latest,
                "sums": before.sums.plus(facts),
                "attempt_id": attempt.id,
                **begun.common(store),
            }
        )
    )


def _again(
    store: RoundStore, origin: RoundStore, fitted: ModelManifest, decided: RoundManifest
) -> None:
    """Commit a run like another one, with copies of its files."""
    model = FittedModel.model_validate({name: getattr(fitted, name) for name in _MODEL})
    store.commit_model(store.new_attempt("model", 1), model)
    attempt = store.new_attempt("round", 1)
    files: dict[str, tuple[FileEntry, ...]] = {}
    for kind in ("scored", "accepted"):
        target = Path(attempt.path) / kind
        target.mkdir(parents=True)
        copies = []
        for entry in getattr(decided, kind):
            name = Path(entry.path).name
            shutil.copy(Path(origin.root) / entry.path, target / name)
            copies.append(replace(entry, path=f"{attempt.rel}/{kind}/{name}"))
        files[kind] = tuple(copies)
    round_ = DecidedRound.model_validate({name: getattr(decided, name) for name in _ROUND} | files)
    store.commit_round(attempt, round_)
    store.commit_model(store.new_attempt("model", 2), model)
    assert origin.final is not None
    end = RunEnd.model_validate({name: getattr(origin.final, name) for name in _END})
    store.commit_final(store.new_attempt("final", 1), end)
    for name in store.views:
        built = Path(store.new_view_dir())
        built.mkdir(parents=True)
        source = Path(origin.root) / name
        added = sorted(source.glob(f"{added_name(origin.generation, '')}*.parquet"))
        for file in added or sorted(source.glob("part-*.parquet"))[:1]:
            shutil.copy(file, built / file.name.rpartition("generation-")[2])
        store.put_view(name, str(built))


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
