"""The second step of a round: score what is left of the pool, decide it, commit the decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spark_pseudolabel.config import TaughtRows
from spark_pseudolabel.core.selection.exact import make_plan
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.policies.one_shot import OneShot
from spark_pseudolabel.core.selection.policies.percentile import Percentile
from spark_pseudolabel.core.selection.policies.threshold import Threshold
from spark_pseudolabel.core.selection.policy import CountingPolicy, RoundContext
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.errors import InputError, RunFailedError
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.decide import decide
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.progress import Events
from spark_pseudolabel.spark.pool import Accepted, Overlap, Pool, Scored, changed_pool
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.store.facts import Flips, ReadRows, RoundCertificate, RoundCounts
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import DecidedRound, FileEntry, RoundManifest

SCORED, ACCEPTED, TAUGHT = "scored", "accepted", "taught"


Decide = Callable[[Models, int, Scored], tuple[Plan, RoundCertificate | None]]
"""Returns the plan for the scored rows of a round, and the certificate, where one is asked for."""


def score_round(run: Run, number: int, decide: Decide = decide) -> None:
    """Score the rows that are left with the model of the same number; decide and commit."""
    attempt = run.store.new_attempt("round", number)
    step, clock = _Step(number, run.models, run.backend.pool), _Clock()
    with (
        run.events.stage(number, "score", step.n_left),
        described(run.spark, f"round {number} · score"),
    ):
        scored = step.score(join(attempt.path, SCORED))
    failpoint("score.written")
    clock.lap("score")
    with run.events.stage(number, "select"), described(run.spark, f"round {number} · select"):
        step.require_sound(scored)
        plan, certificate = decide(run.models, number, scored)
        accepted = scored.accept(plan, join(attempt.path, ACCEPTED), step.compared_with)
        taught_plan, taught = step.accept_taught(scored, join(attempt.path, TAUGHT))
    failpoint("verify.done")
    clock.lap("select")
    files = {
        SCORED: run.store.entries(attempt, SCORED, scored.files),
        ACCEPTED: run.store.entries(attempt, ACCEPTED, accepted.files),
    }
    counts = step.counts(scored, accepted)
    if taught is not None:
        files[TAUGHT] = run.store.entries(attempt, TAUGHT, taught.files)
        counts = counts.model_copy(update={"taught_by_code": tuple(taught.by_code)})
    require_stored(number, files, counts)
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
    _tell(run.events, manifest, run.setting.inputs.classes)


@dataclass(frozen=True)
class _Step:
    """The scoring of one round.

    Parameters
    ----------
    number
        Of the round.
    models
        Of the run.
    pool
        The unlabeled rows.
    """

    number: int
    models: Models
    pool: Pool

    @property
    def _earlier(self) -> Sequence[RoundManifest]:
        return self.models.store.rounds[: self.number - 1]

    @property
    def n_left(self) -> int:
        """Rows to score."""
        setting = self.models.setting
        if not self._earlier or setting.relabel:
            return setting.inputs.pool_rows
        return self._earlier[-1].counts.left

    @property
    def compared_with(self) -> RoundManifest | None:
        """The round whose labels a round that relabels may change."""
        return self._earlier[-1] if self.models.setting.relabel and self._earlier else None

    def score(self, target: str) -> Scored:
        """Score the rows that are left, and write narrow rows below `target`."""
        models, setting = self.models, self.models.setting
        scorer = models.scorer(
            self.number, setting.inputs.keys, probabilities=setting.carried.probabilities
        )
        scorer = models.asking(scorer)
        failpoint("score.started")
        rounds = () if setting.relabel else models.store.rounds
        scored = self.pool.score(scorer, self.number, rounds, target)
        failpoint("broadcast.destroyed")
        return scored

    def accept_taught(self, scored: Scored, target: str) -> tuple[Plan | None, Accepted | None]:
        """Take the rows for the student, where it learns from others than are accepted."""
        policy = _taught_policy(self.models.setting.config.training.rows)
        if policy is None:
            return None, None
        plan = make_plan(policy, scored, RoundContext(1))
        return plan, scored.accept(plan, target)

    def require_sound(self, scored: Scored) -> None:
        """Stop where rows were lost, are others than before, or too often can't be scored."""
        self._require_all(scored)
        self._require_unchanged(scored)
        self._require_valid(scored)

    def counts(self, scored: Scored, accepted: Accepted) -> RoundCounts:
        """Return where the rows went."""
        withheld = scored.withheld
        valid, n_accepted = scored.counts().total + withheld.total, sum(accepted.by_code)
        changed = n_accepted > 0
        if self.compared_with is not None:
            changed = self.compared_with.content != accepted.content
        return RoundCounts(
            candidates=valid + scored.invalid,
            accepted=n_accepted,
            rejected=valid - n_accepted,
            invalid=scored.invalid,
            abstained=scored.abstained,
            withheld=withheld.outside,
            unstable=withheld.unstable,
            disagreement=withheld.disagreement,
            accepted_by_code=tuple(accepted.by_code),
            changed=changed,
            flips=self._flips(n_accepted, accepted.overlap),
        )

    def _require_all(self, scored: Scored) -> None:
        n = scored.counts().total + scored.withheld.total + scored.invalid + scored.abstained
        if n != self.n_left:
            raise RunFailedError(
                f"Round {self.number} must score {self.n_left:,} rows. It scored {n:,}: the pool "
                "changed while it was read. Run again once it is no longer written to.",
                code="rows_lost",
            )

    def _require_unchanged(self, scored: Scored) -> None:
        """Stop where the rows are others than those that an earlier round has read."""
        if not self._earlier or scored.xor64 is None:
            return
        before = self._earlier[-1].read
        expected = before.xor64 if self.models.setting.relabel else before.left_xor64
        if expected is not None and scored.xor64 != expected:
            raise changed_pool()

    def _require_valid(self, scored: Scored) -> None:
        """Stop where so many rows can't be scored that the pool is probably not what was meant."""
        setting = self.models.setting
        earlier = () if setting.relabel else self._earlier
        invalid = scored.invalid + sum(manifest.counts.invalid for manifest in earlier)
        most, n_rows = setting.config.unlabeled.max_invalid, setting.inputs.pool_rows
        if invalid > most * n_rows:
            raise InputError(
                f"At most {most:.0%} of the pool's rows may be impossible to score "
                f"(unlabeled.max_invalid). In round {self.number} {invalid:,} of {n_rows:,} are; "
                f"the first one because {scored.why_invalid()}. Clean the rows, choose an "
                "estimator that takes them, or raise unlabeled.max_invalid.",
                code="too_many_invalid",
                where="unlabeled.max_invalid",
            )

    def _flips(self, n_accepted: int, overlap: Overlap | None) -> Flips | None:
        """Return what became of the labels of the round before; None where they only grow."""
        if overlap is None:
            return None
        return Flips(
            kept=overlap.rows - overlap.changed,
            changed=overlap.changed,
            added=n_accepted - overlap.rows,
            dropped=self._earlier[-1].counts.accepted - overlap.rows,
        )


def _taught_policy(rows: str | TaughtRows) -> CountingPolicy | None:
    """Return the selection policy that says the same as ``training.rows``."""
    if isinstance(rows, str):
        return OneShot(policy="one_shot") if rows == "all" else None
    if rows.top is not None:
        return Percentile(policy="percentile", step=rows.top)
    assert rows.threshold is not None
    return Threshold(threshold=rows.threshold)


def _read(scored: Scored, accepted: Accepted) -> ReadRows:
    hashes = {"xor64": scored.xor64, "left_xor64": accepted.left_xor64}
    return ReadRows(**{name: value for name, value in hashes.items() if value is not None})


def require_stored(
    number: int, files: Mapping[str, Sequence[FileEntry]], counts: RoundCounts
) -> None:
    """Stop where the files of a round hold other rows than were counted."""
    expected = {SCORED: counts.candidates + counts.abstained, ACCEPTED: counts.accepted}
    if TAUGHT in files:
        expected[TAUGHT] = sum(counts.by_code("taught"))
    for kind, n_rows in expected.items():
        n_stored = sum(entry.rows for entry in files[kind])
        if n_stored != n_rows:
            raise RunFailedError(
                f"The {kind} files of round {number} must hold {n_rows:,} rows. They hold "
                f"{n_stored:,}. Nothing was committed; run again.",
                code="rows_lost",
            )


def _tell(events: Events, manifest: RoundManifest, classes: Sequence[Label]) -> None:
    counts = manifest.counts
    events.event(
        "round",
        round=manifest.number,
        candidates=counts.candidates,
        accepted=counts.accepted,
        rejected=counts.rejected,
        invalid=counts.invalid,
        accepted_by_class=dict(zip(classes, counts.accepted_by_code, strict=True)),
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
