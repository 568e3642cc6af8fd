"""The second step of a round: score what is left of the pool, decide it, commit the decision."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spark_pseudolabel.config import TaughtRows
from spark_pseudolabel.core.selection.exact import make_plan
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.policies.one_shot import OneShot
from spark_pseudolabel.core.selection.policies.percentile import Percentile
from spark_pseudolabel.core.selection.policies.threshold import Threshold
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.errors import InputError, RunFailedError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.decide import decide
from spark_pseudolabel.spark.frame.pool import changed_pool
from spark_pseudolabel.spark.pool import Accepted, Overlap, Scored
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.store.facts import Flips, ReadRows, RoundCounts
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import DecidedRound, FileEntry, RoundManifest

SCORED, ACCEPTED, TAUGHT = "scored", "accepted", "taught"


def score_round(run: Run, number: int) -> None:
    """Score the rows that are left with the model of the same number; decide and commit."""
    attempt = run.store.new_attempt("round", number)
    clock = _Clock()
    expected = _n_left(run, number)
    with (
        run.events.stage(number, "score", expected),
        described(run.spark, f"round {number} · score"),
    ):
        scored = _score(run, number, join(attempt.path, SCORED))
    failpoint("score.written")
    clock.lap("score")
    with run.events.stage(number, "select"), described(run.spark, f"round {number} · select"):
        _require_all(number, scored, expected)
        _require_unchanged(run, number, scored)
        _require_valid(run, number, scored)
        plan, certificate = decide(run, number, scored)
        accepted = scored.accept(plan, join(attempt.path, ACCEPTED), _compared_with(run, number))
        taught_plan, taught = _taught(run, scored, join(attempt.path, TAUGHT))
    failpoint("verify.done")
    clock.lap("select")
    files = {
        SCORED: run.store.entries(attempt, SCORED, scored.files),
        ACCEPTED: run.store.entries(attempt, ACCEPTED, accepted.files),
    }
    counts = _counts(run, number, scored, accepted)
    if taught is not None:
        files[TAUGHT] = run.store.entries(attempt, TAUGHT, taught.files)
        counts = counts.model_copy(update={"taught_by_code": tuple(taught.by_code)})
    _require_stored(number, files, counts)
    # What follows, the publishing of one small file, can't be told by that file.
    clock.lap("commit")
    decided = DecidedRound(
        plan=plan,
        taught_plan=taught_plan,
        scored=files[SCORED],
        accepted=files[ACCEPTED],
        taught=files.get(TAUGHT, ()),
        certificate=certificate,
        counts=counts,
        histogram=scored.counts(),
        content=accepted.content,
        read=_read(scored, accepted),
        seconds=clock.seconds,
    )
    manifest = run.store.commit_round(attempt, decided)
    _tell(run, manifest)


def _n_left(run: Run, number: int) -> int:
    if number == 1 or run.relabel:
        return run.inputs.pool_rows
    return run.store.rounds[number - 2].counts.left


def _score(run: Run, number: int, target: str) -> Scored:
    scorer = run.scorer(number, run.inputs.keys, probabilities=run.keeps_probabilities)
    if run.support is not None:
        scorer = replace(scorer, support=run.support[0])
    failpoint("score.started")
    scored = run.pool.score(scorer, number, () if run.relabel else run.store.rounds, target)
    failpoint("broadcast.destroyed")
    return scored


def _compared_with(run: Run, number: int) -> RoundManifest | None:
    """Return the round whose labels a round that relabels may change."""
    return run.store.rounds[number - 2] if run.relabel and number > 1 else None


def _taught(run: Run, scored: Scored, target: str) -> tuple[Plan | None, Accepted | None]:
    """Take the rows for the student, where it learns from others than are accepted."""
    policy = _taught_policy(run.config.training.rows)
    if policy is None:
        return None, None
    plan = make_plan(policy, scored, RoundContext(1))
    return plan, scored.accept(plan, target)


def _taught_policy(rows: str | TaughtRows) -> CountingPolicy | None:
    """Return the selection policy that says the same as ``training.rows``."""
    if isinstance(rows, str):
        return OneShot(policy="one_shot") if rows == "all" else None
    if rows.top is not None:
        return Percentile(policy="percentile", step=rows.top)
    assert rows.threshold is not None
    return Threshold(threshold=rows.threshold)


def _require_all(number: int, scored: Scored, expected: int) -> None:
    found = scored.counts().total + scored.withheld + scored.invalid + scored.abstained
    if found != expected:
        raise RunFailedError(
            f"Round {number} must score {expected:,} rows. It scored {found:,}: the pool changed "
            "while it was read. Run again once nobody writes to it.",
            code="rows_lost",
        )


def _require_unchanged(run: Run, number: int, scored: Scored) -> None:
    """Stop where the rows are others than those that an earlier round has read."""
    earlier = run.store.rounds[: number - 1]
    if not earlier or scored.xor64 is None:
        return
    before = earlier[-1].read.xor64 if run.relabel else earlier[-1].read.left_xor64
    if before is not None and scored.xor64 != before:
        raise changed_pool()


def _read(scored: Scored, accepted: Accepted) -> ReadRows:
    hashes = {"xor64": scored.xor64, "left_xor64": accepted.left_xor64}
    return ReadRows(**{name: value for name, value in hashes.items() if value is not None})


def _require_stored(
    number: int, files: Mapping[str, Sequence[FileEntry]], counts: RoundCounts
) -> None:
    """Stop where the files of a round hold other rows than were counted."""
    expected = {SCORED: counts.candidates + counts.abstained, ACCEPTED: counts.accepted}
    if TAUGHT in files:
        expected[TAUGHT] = sum(counts.by_code("taught"))
    for kind, n_rows in expected.items():
        found = sum(entry.rows for entry in files[kind])
        if found != n_rows:
            raise RunFailedError(
                f"The {kind} files of round {number} must hold {n_rows:,} rows. They hold "
                f"{found:,}. Nothing was committed; run again.",
                code="rows_lost",
            )


def _require_valid(run: Run, number: int, scored: Scored) -> None:
    """Stop where so many rows can't be scored that the pool is probably not what was meant."""
    earlier = () if run.relabel else run.store.rounds[: number - 1]
    invalid = scored.invalid + sum(one.counts.invalid for one in earlier)
    most = run.config.unlabeled.max_invalid
    if invalid > most * run.inputs.pool_rows:
        raise InputError(
            f"At most {most:.0%} of the pool's rows may be impossible to score "
            f"(unlabeled.max_invalid). In round {number} {invalid:,} of "
            f"{run.inputs.pool_rows:,} are; the first one because {scored.why_invalid()}. Clean "
            "the rows, choose an estimator that takes them, or raise unlabeled.max_invalid.",
            code="too_many_invalid",
            where="unlabeled.max_invalid",
        )


def _counts(run: Run, number: int, scored: Scored, accepted: Accepted) -> RoundCounts:
    valid, n_accepted = scored.counts().total + scored.withheld, sum(accepted.by_code)
    changed = n_accepted > 0
    if run.relabel and number > 1:
        changed = run.store.rounds[number - 2].content != accepted.content
    return RoundCounts(
        candidates=valid + scored.invalid,
        accepted=n_accepted,
        rejected=valid - n_accepted,
        invalid=scored.invalid,
        abstained=scored.abstained,
        withheld=scored.withheld,
        accepted_by_code=tuple(accepted.by_code),
        changed=changed,
        flips=_flips(run, number, n_accepted, accepted.overlap),
    )


def _flips(run: Run, number: int, n_accepted: int, overlap: Overlap | None) -> Flips | None:
    """Return what became of the labels of the round before; None where they only grow."""
    if overlap is None:
        return None
    return Flips(
        kept=overlap.rows - overlap.changed,
        changed=overlap.changed,
        added=n_accepted - overlap.rows,
        dropped=run.store.rounds[number - 2].counts.accepted - overlap.rows,
    )


def _tell(run: Run, manifest: RoundManifest) -> None:
    counts = manifest.counts
    run.events.event(
        "round",
        round=manifest.number,
        candidates=counts.candidates,
        accepted=counts.accepted,
        rejected=counts.rejected,
        invalid=counts.invalid,
        accepted_by_class=dict(zip(run.inputs.classes, counts.accepted_by_code, strict=True)),
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
