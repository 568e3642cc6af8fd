"""Single rounds: what is added to the bare scan, what later rounds cost, and the driver's side."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from benchmarks import models, scoring, timing
from benchmarks.tables import CLASSES, Tables
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import Scorer, make_scorer
from spark_pseudolabel.core.parts import Part
from spark_pseudolabel.core.scored_rows import Carried
from spark_pseudolabel.core.selection.exact import make_plan
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.policies.threshold import Threshold
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.core.teachers.committee import registered_committee
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.registry import DEFAULT_COMMITTEE
from spark_pseudolabel.spark.direct.pool import DirectPool
from spark_pseudolabel.spark.direct.source import PartSource, read_part
from spark_pseudolabel.spark.pool import Accepted, Scored
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.spark.tasking import run_tasks
from spark_pseudolabel.store.facts import RoundCounts, Training
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.inputs import FrozenInputs, FrozenPool, FrozenRows
from spark_pseudolabel.store.manifest import DecidedRound, FileEntry, FittedModel
from spark_pseudolabel.store.store import RoundStore

POLICY = Threshold(threshold=0.9)
_INPUTS = FrozenInputs(
    labeled=FrozenRows(rows=0, sha256=""),
    validation=FrozenRows(rows=0, sha256=""),
    unlabeled=FrozenPool(schema="", rows=0),
)
SHARES = (1.0, 0.5, 0.2, 0.05)


def whole_and_bare(
    spark: SparkSession, tables: Tables, model_name: str, repeats: int
) -> timing.Seconds:
    """Time whole rounds, each in an output of its own, and bare scans, in turns.

    A round is what is done with a model that is there: score, count, plan, apply, commit.
    """
    scorer, table = _fitted(tables, model_name), scoring.plain(spark, tables)
    source = PartSource(table.root, ("id",), tuple(tables.columns))
    shared = spark.sparkContext.broadcast(scorer)

    def bare() -> None:
        run_tasks(
            spark, lambda part: scoring.score_parts([part], source, shared.value), table.parts
        )

    # One to warm up, and begun before the clock starts.
    stores = [begun(fresh(tables.root / f"round-{n}"), scorer) for n in range(repeats + 1)]
    left = iter(stores)

    def whole() -> None:
        whole_round(spark, scorer, source, table.parts, next(left), CLASSES)

    ways: dict[str, Callable[[], object]] = {"bare scan": bare, "whole round": whole}
    seconds = timing.alternate(ways, repeats)
    for store in stores:
        shutil.rmtree(store.root)
    return seconds


def committee_and_members(spark: SparkSession, tables: Tables, repeats: int) -> timing.Seconds:
    """Time bare scans with a committee of three, and with each of its members alone."""
    X, y = tables.matrix("labeled")
    rows = TrainingRows(pd.DataFrame(X, columns=tables.columns), y.astype(np.int32), None, 0)
    three = DEFAULT_COMMITTEE[:3]
    kinds = [Feature(name, "numeric", "double") for name in tables.columns]
    made = registered_committee(three, kinds, random_state=0)
    voting = made.fit(rows, range(CLASSES))
    table = scoring.plain(spark, tables)
    source = PartSource(table.root, ("id",), tuple(tables.columns))

    def scan_with(model: Any) -> Callable[[], object]:
        scorer = make_scorer(model, kinds, ("id",), named=True)
        shared = spark.sparkContext.broadcast(scorer)
        return lambda: run_tasks(
            spark, lambda part: scoring.score_parts([part], source, shared.value), table.parts
        )

    names = [name for name, _ in three]
    members = zip(names, members_of(voting), strict=True)
    ways = {name: scan_with(model) for name, model in members}
    return timing.alternate({"committee": scan_with(voting), **ways}, repeats)


def _fitted(tables: Tables, model_name: str) -> Scorer:
    model = models.make(model_name).fit(*tables.matrix("labeled"))
    return scoring.scorer_of(tables, model)


def begun(out: Path, scorer: Scorer) -> RoundStore:
    """Return an output with a model in it."""
    files, root = open_files(str(out))
    store = RoundStore.begin(files, root, {"mode": None}, _INPUTS, "benchmark")
    model = store.new_attempt("model", 1)
    classes = tuple(range(len(scorer.model.classes_)))
    artifact = store.write_model(model, scorer.model)
    training = Training(
        rows=0,
        rows_pseudo=0,
        hash_limits=None,
        weights=RowWeights(),
        sha256="",
        against_best=None,
    )
    fitted = FittedModel(artifact=artifact, classes=classes, label_type="bigint", training=training)
    store.commit_model(model, fitted)
    return store


def decided(
    plan: Plan,
    scored: Scored,
    accepted: Accepted,
    scored_files: tuple[FileEntry, ...],
    accepted_files: tuple[FileEntry, ...],
) -> DecidedRound:
    """Say of a round what a run would say."""
    n_rows, n_accepted = scored.counts().total, sum(accepted.by_code)
    return DecidedRound(
        plan=plan,
        scored=scored_files,
        accepted=accepted_files,
        counts=RoundCounts(
            candidates=n_rows,
            accepted=n_accepted,
            rejected=n_rows - n_accepted,
            invalid=0,
            accepted_by_code=tuple(accepted.by_code),
            changed=True,
        ),
        histogram=scored.counts(),
        content=accepted.content,
    )


def pool_of(
    spark: SparkSession, source: PartSource, parts: list[Part], store: RoundStore, n_classes: int
) -> DirectPool:
    """Return the pool of parts as a run with this output has it."""
    n_rows = sum(part.rows for part in parts)
    scratch = Scratch(store.files, f"{store.root}/_scratch")
    return DirectPool(
        spark, source, parts, n_rows, store.root, scratch, n_classes, 0, carried=Carried()
    )


def do_round(
    pool: DirectPool, scorer: Scorer, policy: CountingPolicy, store: RoundStore, clock: timing.Steps
) -> None:
    """Do what a run does in a round: score, count, plan, apply, commit."""
    attempt = store.new_attempt("round", 1)
    scored = pool.score(scorer, 1, (), f"{attempt.path}/scored")
    clock.lap("score")
    plan = make_plan(policy, scored, RoundContext(1))
    accepted = scored.accept(plan, f"{attempt.path}/accepted")
    clock.lap("plan and apply")
    store.commit_round(
        attempt,
        decided(
            plan,
            scored,
            accepted,
            store.entries(attempt, "scored", scored.files),
            store.entries(attempt, "accepted", accepted.files),
        ),
    )
    clock.lap("commit")


def whole_round(
    spark: SparkSession,
    scorer: Scorer,
    source: PartSource,
    parts: list[Part],
    store: RoundStore,
    n_classes: int,
) -> dict[str, float]:
    """Do a round; return the seconds of its steps."""
    clock = timing.Steps()
    do_round(pool_of(spark, source, parts, store, n_classes), scorer, POLICY, store, clock)
    return clock.seconds


def by_share(
    spark: SparkSession, tables: Tables, model_name: str, repeats: int
) -> dict[str, dict[str, Any]]:
    """Time the scan of rows that are left: a random share of all, then whole row groups gone."""
    scorer, table = _fitted(tables, model_name), scoring.plain(spark, tables)
    source = PartSource(table.root, ("id",), tuple(tables.columns))
    shared = spark.sparkContext.broadcast(scorer)
    timed: dict[str, dict[str, Any]] = {}
    for share in SHARES:

        def scan(part: Part, share: float = share) -> tuple[int, float, float]:
            keep = np.random.default_rng(part.number).random(part.rows) < share
            return _read_and_predict(part, keep, source, shared.value)

        timed[f"{share:.0%}"] = _timed(spark, scan, table.parts, repeats)

    def half_of_the_groups(part: Part) -> tuple[int, float, float]:
        keep = np.zeros(part.rows, dtype=bool)
        keep[: part.groups[0].rows] = True
        return _read_and_predict(part, keep, source, shared.value)

    timed["first row group of each part"] = _timed(spark, half_of_the_groups, table.parts, repeats)
    return timed


def _read_and_predict(
    part: Part, keep: np.ndarray, source: PartSource, scorer: Scorer
) -> tuple[int, float, float]:
    started = time.perf_counter()
    predict, start, groups = 0.0, 0, 0
    for group in part.groups:
        groups += bool(keep[start : start + group.rows].any())
        start += group.rows
    with hold_threads(1):
        for rows in read_part(source, part, keep=keep):
            before = time.perf_counter()
            scoring.score_batch(rows.batch, scorer)
            predict += time.perf_counter() - before
    return groups, predict, time.perf_counter() - started - predict


def _timed(
    spark: SparkSession, scan: Callable[[Part], Any], parts: list[Part], repeats: int
) -> dict[str, Any]:
    seconds, last = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        last = run_tasks(spark, scan, parts)
        seconds.append(time.perf_counter() - started)
    return {
        "seconds": statistics.median(seconds),
        "groups": sum(groups for groups, _, _ in last),
        "predict_s": sum(predict for _, predict, _ in last),
        "read_s": sum(read for _, _, read in last),
    }


def fresh(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return path
