"""The second step of a round: score what is left of the pool, decide it, commit the decision."""

from __future__ import annotations

import time
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_pseudolabel.columns import CLASS_SCORES, CODE, HASH, IN_ROUND, SCORE
from spark_pseudolabel.core.rules import Plan, make_plan
from spark_pseudolabel.errors import RunFailedError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.spark.rows_left import Left, score_left
from spark_pseudolabel.spark.scoring import broadcast, score_rows
from spark_pseudolabel.spark.selection import SparkCandidates, accepted_by, count_accepted
from spark_pseudolabel.spark.tables import with_hash
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import Attempt

SCORED, ACCEPTED = "scored", "accepted"
_ROWS_PER_FILE = 2_000_000


def score_round(run: Run, number: int) -> None:
    """Score the rows that are left with the model of the same number; decide and commit."""
    attempt = run.store.new_attempt("round", number)
    clock = _Clock()
    expected = _n_left(run, number)
    with (
        run.events.stage(number, "score", expected),
        described(run.spark, f"round {number} · score"),
    ):
        scored = _write_scored(run, number, attempt)
    failpoint("score.written")
    clock.lap("score")
    with run.events.stage(number, "select"), described(run.spark, f"round {number} · select"):
        candidates = SparkCandidates(scored, run.inputs.keys, len(run.inputs.classes))
        _require_all(number, candidates, expected)
        plan = make_plan(run.config.selection.model_dump(mode="json"), candidates, number)
        accepted = _write_accepted(run, scored, plan, candidates, attempt)
        counts, content = _count(run, number, candidates, accepted)
    failpoint("verify.done")
    clock.lap("select")
    files = {kind: run.store.entries(attempt, kind) for kind in (SCORED, ACCEPTED)}
    # What follows, the publishing of one small file, can't be told by that file.
    clock.lap("commit")
    manifest = run.store.commit_round(
        attempt,
        plan=plan.to_dict(),
        **files,
        counts=counts,
        histogram=candidates.counts().to_dict(),
        content=content,
        seconds=clock.seconds,
    )
    _tell(run, manifest)


def _n_left(run: Run, number: int) -> int:
    if number == 1 or run.relabel:
        return run.inputs.pool_rows
    return int(run.store.rounds[number - 2].counts["rejected"])


def _write_scored(run: Run, number: int, attempt: Attempt) -> DataFrame:
    scorer = run.scorer(number, run.inputs.keys, probabilities=run.keeps_probabilities)
    target = join(attempt.path, SCORED)
    failpoint("score.started")
    with broadcast(run.spark.sparkContext, scorer) as shared:
        scored = score_left(
            run.inputs.pool,
            _left(run, number),
            run.inputs.keys,
            lambda rows: score_rows(rows, shared),
        ).withColumn(IN_ROUND, F.lit(number))
        scored.write.mode("errorifexists").parquet(target)
    failpoint("broadcast.destroyed")
    return run.spark.read.schema(scored.schema).parquet(target)


def _left(run: Run, number: int) -> Left | None:
    if number == 1 or run.relabel:
        return None
    keys, rounds = run.inputs.keys, run.store.rounds
    before = rounds[number - 2]
    is_rejected = F.col(CODE).isNotNull() & ~accepted_by(Plan.from_dict(before.plan), keys)
    n_left = _n_left(run, number)
    return Left(
        left=lambda: run.scored([before]).filter(is_rejected).select(*keys),
        n_left=n_left,
        done=lambda: (
            run.accepted(rounds).select(*keys).unionByName(run.invalid(rounds).select(*keys))
        ),
        n_done=run.inputs.pool_rows - n_left,
    )


def _require_all(number: int, candidates: SparkCandidates, expected: int) -> None:
    found = candidates.counts().total + candidates.invalid
    if found != expected:
        raise RunFailedError(
            f"Round {number} must score {expected:,} rows. It scored {found:,}: the pool changed "
            "while it was read. Run again once nobody writes to it.",
            code="rows_lost",
        )


def _write_accepted(
    run: Run, scored: DataFrame, plan: Plan, candidates: SparkCandidates, attempt: Attempt
) -> DataFrame:
    keys = run.inputs.keys
    scores = [CLASS_SCORES] if run.keeps_probabilities else []
    accepted = with_hash(
        scored.filter(accepted_by(plan, keys)), keys, run.config.random_state
    ).select(*keys, CODE, SCORE, HASH, IN_ROUND, *scores)
    files = max(1, -(-candidates.counts().total // _ROWS_PER_FILE))
    target = join(attempt.path, ACCEPTED)
    accepted.coalesce(files).write.mode("errorifexists").parquet(target)
    return run.spark.read.schema(accepted.schema).parquet(target)


def _count(
    run: Run, number: int, candidates: SparkCandidates, accepted: DataFrame
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Count what was accepted, from the files as they were written."""
    valid, invalid = candidates.counts().total, candidates.invalid
    by_code, content = count_accepted(accepted, run.inputs.keys, len(run.inputs.classes))
    n_accepted = sum(by_code)
    changed = n_accepted > 0
    if run.relabel and number > 1:
        changed = run.store.rounds[number - 2].content != content
    counts = {
        "candidates": valid + invalid,
        "accepted": n_accepted,
        "rejected": valid - n_accepted,
        "invalid": invalid,
        "accepted_by_code": by_code,
        "changed": changed,
    }
    return counts, content


def _tell(run: Run, manifest: RoundManifest) -> None:
    counts = manifest.counts
    run.events.event(
        "round",
        round=manifest.number,
        **{key: counts[key] for key in ("candidates", "accepted", "rejected", "invalid")},
        accepted_by_class=dict(zip(run.inputs.classes, counts["accepted_by_code"], strict=True)),
        seconds=round(sum(manifest.seconds.values()), 3),
    )


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now
