"""The three steps a run is made of: fit a model, score a round, finish."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CLASS_SCORES, CODE, HASH, IN_ROUND, INVALID, SCORE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.estimators import weights_supported
from spark_pseudolabel.core.guard import compare
from spark_pseudolabel.core.kernel import Scorer, Scores, score
from spark_pseudolabel.core.learner import Learner, registered_learner
from spark_pseudolabel.core.metrics import Metrics, metrics_of
from spark_pseudolabel.core.rounds import (
    Finish,
    Limits,
    ModelFacts,
    RoundFacts,
    best_model,
)
from spark_pseudolabel.core.rules import Plan, make_plan
from spark_pseudolabel.core.training import TrainingRows, Weighting, training_rows
from spark_pseudolabel.errors import InputError, RunFailedError
from spark_pseudolabel.progress import Events
from spark_pseudolabel.spark.inputs import Inputs
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.spark.rows_left import Left, score_left
from spark_pseudolabel.spark.scoring import broadcast, score_rows
from spark_pseudolabel.spark.selection import SparkCandidates, accepted_by
from spark_pseudolabel.spark.tables import with_hash
from spark_pseudolabel.spark.training_frame import fetch_rows, sample_limits, within
from spark_pseudolabel.store.artifact import check_storable
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.manifest import FileEntry, RoundManifest
from spark_pseudolabel.store.store import Attempt, RoundStore

SCORED, ACCEPTED = "scored", "accepted"
_ROWS_PER_FILE = 2_000_000


@dataclass
class Steps:
    """What a run can do next, given what is committed.

    Parameters
    ----------
    spark, config, inputs, store, events
        Of the run.
    estimator
        Used as it is instead of the configured one, or None.
    trusted
        Further types that a stored model may hold.
    """

    spark: SparkSession
    config: Config
    inputs: Inputs
    store: RoundStore
    events: Events
    estimator: BaseEstimator | None = None
    trusted: tuple[str, ...] = ()
    _fitted: dict[int, BaseEstimator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for learner in {id(one): one for one in (self.teacher, self.student)}.values():
            check_storable(learner.estimator, self.trusted)
            if self.weighting.needed and not weights_supported(learner.estimator):
                raise InputError(
                    f"{type(learner.estimator).__name__} takes no sample_weight, which "
                    "training.pseudo_weight and soft labels need. Choose another estimator.",
                    code="no_sample_weight",
                )

    # --- how the configuration reads here ----------------------------------------------

    @cached_property
    def like_sklearn(self) -> bool:
        return self.config.mode == "sklearn"

    @cached_property
    def relabel(self) -> bool:
        return self.config.rounds.relabel

    @cached_property
    def limits(self) -> Limits:
        return Limits(
            max_rounds=self.config.rounds.max,
            pool=self.inputs.pool_rows,
            keep_best=self.config.selection.policy == "percentile",
            like_sklearn=self.like_sklearn,
        )

    @cached_property
    def weighting(self) -> Weighting:
        return Weighting(self.config.training.labels, self.config.training.pseudo_weight)

    @cached_property
    def teacher(self) -> Learner:
        if self.estimator is not None:
            return Learner(self.estimator)
        return self._registered(self.config.model.estimator, self.config.model.params)

    @cached_property
    def student(self) -> Learner:
        student = self.config.model.student
        if student is None:
            return self.teacher
        return self._registered(student.estimator, student.params)

    def _registered(self, name: str, params: dict[str, Any]) -> Learner:
        return registered_learner(
            name,
            params,
            self.inputs.features,
            self.config.random_state,
            like_sklearn=self.like_sklearn,
        )

    def learner(self, number: int) -> Learner:
        """Return the learner of a model: the student from model 2 on."""
        return self.teacher if number == 1 else self.student

    # --- what is committed --------------------------------------------------------------

    def model_facts(self) -> list[ModelFacts]:
        """Return what the loop needs to know of the committed models."""
        return [
            ModelFacts(
                manifest.number,
                accuracy=(manifest.validation or {}).get("accuracy"),
                log_loss=(manifest.validation or {}).get("log_loss"),
                dropped=bool((manifest.training["against_best"] or {}).get("dropped")),
            )
            for manifest in self.store.models
        ]

    def round_facts(self) -> list[RoundFacts]:
        """Return what the loop needs to know of the committed rounds."""
        return [
            RoundFacts(
                manifest.number,
                accepted=manifest.counts["accepted"],
                rejected=manifest.counts["rejected"],
                changed=manifest.counts["changed"],
            )
            for manifest in self.store.rounds
        ]

    def model(self, number: int) -> BaseEstimator:
        """Return a committed model, loaded once."""
        if number not in self._fitted:
            # The best model and the latest are all that is ever asked for again.
            self._fitted = dict(list(self._fitted.items())[-1:])
            self._fitted[number] = self.store.load_model(number, self.trusted)
        return self._fitted[number]

    # --- step 1: a model ----------------------------------------------------------------

    def fit_model(self, number: int) -> None:
        """Train model `number` on labeled and accepted rows, measure and commit it."""
        started = time.monotonic()
        attempt = self.store.new_attempt("model", number)
        with self.events.stage(number - 1, "fit"), described(self.spark, f"model {number} · fit"):
            if self._same_as_before(number):
                fields = self._repeat_model(number)
            else:
                fields = self._train_model(number, attempt)
        seconds = {"fit": round(time.monotonic() - started, 3)}
        manifest = self.store.commit_model(attempt, **fields, seconds=seconds)
        self.events.event(
            "model",
            number=number,
            rows=manifest.training["rows"],
            validation=manifest.validation,
            seconds=seconds["fit"],
        )

    def _same_as_before(self, number: int) -> bool:
        """Whether a model would see the very rows that the one before it was fitted on."""
        if number == 1 or self.learner(number) is not self.learner(number - 1):
            return False
        return not self.store.rounds[-1].counts["changed"] and not self.student.warm

    def _repeat_model(self, number: int) -> dict[str, Any]:
        before = self.store.models[number - 2]
        kept = {"artifact", "classes", "label_type", "features", "training", "validation"}
        return {name: getattr(before, name) for name in kept}

    def _train_model(self, number: int, attempt: Attempt) -> dict[str, Any]:
        limits, rows = self._training_rows()
        failpoint("train.collected")
        learner = self.learner(number)
        previous = self.model(number - 1) if number > 1 and learner.warm else None
        try:
            model = learner.fit(rows, self.inputs.classes, previous)
        except ValueError as error:
            raise InputError(
                f"{type(learner.estimator).__name__} can't be fitted on the labeled rows: "
                f"{str(error).splitlines()[0]}",
                code="fit_failed",
            ) from error
        failpoint("model.fitted")
        artifact = self.store.write_model(attempt, model, self.trusted)
        self._fitted[number] = model
        validation, against_best = self._measure(number)
        return {
            "artifact": artifact,
            "classes": self.inputs.classes,
            "label_type": self.inputs.label_type,
            "features": [feature.to_dict() for feature in self.inputs.features],
            "training": {
                "rows": self.inputs.labeled.num_rows + rows.n_pseudo,
                "rows_pseudo": rows.n_pseudo,
                "hash_limits": limits,
                "sha256": rows.sha256(),
                "against_best": against_best,
            },
            "validation": validation.to_dict() if validation.n else None,
        }

    def _training_rows(self) -> tuple[list[int | None] | None, TrainingRows]:
        config = self.config.training
        sources = self.store.rounds[-1:] if self.relabel else self.store.rounds
        limits, pseudo = None, None
        if sources:
            accepted = self.accepted(sources)
            n_by_class = np.sum([r.counts["accepted_by_code"] for r in sources], axis=0).tolist()
            room = config.max_rows and max(0, config.max_rows - self.inputs.labeled.num_rows)
            limits = sample_limits(accepted, n_by_class, room)
            wanted = accepted.filter(within(limits)).drop(HASH)
            n_wanted = sum(n_by_class) if limits is None else room
            pseudo = fetch_rows(self.inputs.pool, wanted, n_wanted, self.inputs.keys)
        rows = training_rows(
            self.inputs.labeled, pseudo, self.inputs.features, self.inputs.keys, self.weighting
        )
        return limits, rows

    def _measure(self, number: int) -> tuple[Metrics, dict[str, Any] | None]:
        """Measure a new model on the validation rows, and against the best one before it."""
        codes = self._validation_codes
        scores = self._validation_scores(number)
        known = codes >= 0
        p_true = np.where(
            known, scores.probabilities[np.arange(len(codes)), np.where(known, codes, 0)], 0.0
        )
        metrics = metrics_of(codes, scores.code, np.nan_to_num(p_true), len(self.inputs.classes))
        if number == 1 or not len(codes):
            return metrics, None
        best = best_model(self.model_facts()).number
        best_right = self._validation_scores(best).code == codes
        return metrics, compare(best, best_right, scores.code == codes).to_dict()

    @cached_property
    def _validation_codes(self) -> NDArray[np.int32]:
        codes: NDArray[np.int32] = self.inputs.validation.column(CODE).to_numpy()
        return codes

    def _validation_scores(self, number: int) -> Scores:
        return score(self.inputs.validation, self.scorer(number, probabilities=True))

    def scorer(
        self, number: int, keys: tuple[str, ...] = (), *, probabilities: bool = False
    ) -> Scorer:
        """Return a committed or just fitted model, ready to score."""
        return self.learner(number).scorer(
            self.model(number),
            self.inputs.features,
            keys,
            probabilities=probabilities,
        )

    # --- step 2: a round ----------------------------------------------------------------

    def score_round(self, number: int) -> None:
        """Score what is left of the pool, decide it, and commit the decision."""
        attempt = self.store.new_attempt("round", number)
        clock = Clock()
        expected = self._n_left(number)
        with (
            self.events.stage(number, "score", expected),
            described(self.spark, f"round {number} · score"),
        ):
            scored = self._write_scored(number, attempt)
        failpoint("score.written")
        clock.lap("score")
        with self.events.stage(number, "select"), described(self.spark, f"round {number} · select"):
            candidates = SparkCandidates(scored, self.inputs.keys, len(self.inputs.classes))
            rule = self.config.selection.model_dump(mode="json")
            plan = make_plan(rule, candidates, number)
            accepted = self._write_accepted(scored, plan, candidates, attempt)
            counts, content = self._count(number, candidates, accepted, expected)
        failpoint("verify.done")
        clock.lap("select")
        manifest = self.store.commit_round(
            attempt,
            plan=plan.to_dict(),
            scored=self.store.entries(attempt, SCORED),
            accepted=self.store.entries(attempt, ACCEPTED),
            counts=counts,
            histogram=candidates.counts().to_dict(),
            content=content,
            seconds=clock.seconds,
        )
        self._tell(manifest)

    def _n_left(self, number: int) -> int:
        if number == 1 or self.relabel:
            return self.inputs.pool_rows
        return int(self.store.rounds[number - 2].counts["rejected"])

    def _write_scored(self, number: int, attempt: Attempt) -> DataFrame:
        scorer = self.scorer(number, self.inputs.keys, probabilities=self.keeps_probabilities)
        target = join(attempt.path, SCORED)
        failpoint("score.started")
        with broadcast(self.spark.sparkContext, scorer) as shared:
            scored = score_left(
                self.inputs.pool,
                self._left(number),
                self.inputs.keys,
                lambda rows: score_rows(rows, shared),
            )
            scored = scored.withColumn(IN_ROUND, F.lit(number))
            scored.write.mode("errorifexists").parquet(target)
        failpoint("broadcast.destroyed")
        return self.spark.read.schema(scored.schema).parquet(target)

    def _left(self, number: int) -> Left | None:
        if number == 1 or self.relabel:
            return None
        before = self.store.rounds[number - 2]
        is_rejected = F.col(CODE).isNotNull() & ~self._accepted_in(before)
        keys = self.inputs.keys
        return Left(
            left=lambda: self.scored([before]).filter(is_rejected).select(*keys),
            n_left=self._n_left(number),
            done=lambda: (
                self.accepted(self.store.rounds)
                .select(*keys)
                .unionByName(self.invalid(self.store.rounds).select(*keys))
            ),
            n_done=self.inputs.pool_rows - self._n_left(number),
        )

    def _accepted_in(self, manifest: RoundManifest) -> Any:
        return accepted_by(Plan.from_dict(manifest.plan), self.inputs.keys)

    def _write_accepted(
        self, scored: DataFrame, plan: Plan, candidates: SparkCandidates, attempt: Attempt
    ) -> DataFrame:
        scores = [CLASS_SCORES] if CLASS_SCORES in scored.columns else []
        accepted = with_hash(
            scored.filter(accepted_by(plan, self.inputs.keys)),
            self.inputs.keys,
            self.config.random_state,
        ).select(*self.inputs.keys, CODE, SCORE, HASH, IN_ROUND, *scores)
        files = max(1, -(-candidates.counts().total // _ROWS_PER_FILE))
        target = join(attempt.path, ACCEPTED)
        accepted.coalesce(files).write.mode("errorifexists").parquet(target)
        return self.spark.read.schema(accepted.schema).parquet(target)

    def _count(
        self, number: int, candidates: SparkCandidates, accepted: DataFrame, expected: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        valid, invalid = candidates.counts().total, candidates.invalid
        if valid + invalid != expected:
            raise RunFailedError(
                f"Round {number} must score {expected:,} rows. It scored {valid + invalid:,}: the "
                "pool changed while it was read. Run again once nobody writes to it.",
                code="rows_lost",
            )
        by_code, content = count_accepted(accepted, self.inputs.keys, len(self.inputs.classes))
        n_accepted = sum(by_code)
        counts = {
            "candidates": expected,
            "accepted": n_accepted,
            "rejected": valid - n_accepted,
            "invalid": invalid,
            "accepted_by_code": by_code,
            "changed": self._changed(number, n_accepted, content),
        }
        return counts, content

    def _changed(self, number: int, n_accepted: int, content: dict[str, Any]) -> bool:
        if self.relabel and number > 1:
            return dict(self.store.rounds[number - 2].content) != content
        return n_accepted > 0

    def _tell(self, manifest: RoundManifest) -> None:
        by_code = manifest.counts["accepted_by_code"]
        self.events.event(
            "round",
            round=manifest.number,
            **{k: manifest.counts[k] for k in ("candidates", "accepted", "rejected", "invalid")},
            accepted_by_class=dict(zip(self.inputs.classes, by_code, strict=True)),
            seconds=round(sum(manifest.seconds.values()), 3),
        )

    # --- committed rows -----------------------------------------------------------------

    def accepted(self, rounds: Sequence[RoundManifest]) -> DataFrame:
        """Return the accepted rows of committed rounds."""
        entries = [entry for manifest in rounds for entry in manifest.accepted]
        return self._stored(entries, T.StructField(HASH, T.LongType()))

    def scored(self, rounds: Sequence[RoundManifest]) -> DataFrame:
        """Return the scored rows of committed rounds."""
        entries = [entry for manifest in rounds for entry in manifest.scored]
        return self._stored(entries, T.StructField(INVALID, T.StringType()))

    def invalid(self, rounds: Sequence[RoundManifest]) -> DataFrame:
        """Return the rows of committed rounds that could not be scored."""
        return self.scored(rounds).filter(F.col(CODE).isNull())

    def _stored(self, entries: Sequence[FileEntry], column: T.StructField) -> DataFrame:
        """Read exactly the files that manifests name; with a schema Spark opens none to plan."""
        schema = T.StructType([self.inputs.pool.schema[key] for key in self.inputs.keys])
        schema = schema.add(CODE, T.IntegerType()).add(SCORE, T.DoubleType())
        schema = schema.add(IN_ROUND, T.IntegerType()).add(column)
        if self.keeps_probabilities:
            schema = schema.add(CLASS_SCORES, T.ArrayType(T.DoubleType()))
        if not entries:
            return self.spark.createDataFrame([], schema)
        paths = [join(self.store.root, entry.path) for entry in entries]
        return self.spark.read.schema(schema).parquet(*paths)

    @cached_property
    def keeps_probabilities(self) -> bool:
        """Whether the probabilities of all classes are stored for every row."""
        return self.weighting.labels == "soft" or self.config.output.probabilities

    # --- step 3: the end ----------------------------------------------------------------

    def is_finished(self, end: Finish) -> bool:
        """Whether this end is committed and all that people read is in place."""
        return self.final_matches(end) and all(
            self.store.view_is_current(name) for name in ("labels", "training", "invalid", "model")
        )

    def final_matches(self, end: Finish) -> bool:
        """Whether the latest committed end is this one."""
        final = self.store.final
        return final is not None and (final.number, final.best_round) == (
            end.n_iter,
            end.best_round,
        )

    def finish(self, end: Finish, elapsed_s: float) -> dict[str, Any]:
        """Commit the end with its report and put the results in place; harmless to repeat."""
        from spark_pseudolabel.results import build_views, write_reports
        from spark_pseudolabel.summary import make_report

        if not self.final_matches(end):
            attempt = self.store.new_attempt("final", end.n_iter)
            report = make_report(self, end, elapsed_s)
            self.store.commit_final(
                attempt,
                termination_condition=end.reason,
                best_round=end.best_round,
                final_model=end.best_round + 1,
                counts=report["rows"],
                report=report,
            )
            self.events.event(
                "stop", reason=end.reason, n_iter=end.n_iter, best_round=end.best_round
            )
        build_views(self, end)
        final = self.store.final
        assert final is not None
        write_reports(self.store, final.report)
        self.events.event("done", out=self.config.output.path)
        return dict(final.report)


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Book the time since the last lap on a stage."""
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now


def count_accepted(
    accepted: DataFrame, keys: tuple[str, ...], n_classes: int
) -> tuple[list[int], dict[str, Any]]:
    """Count accepted rows by class and fingerprint them, from the files as written."""
    rows = (
        accepted.groupBy(CODE)
        .agg(
            F.count(F.lit(1)).alias("n"),
            F.bit_xor(F.xxhash64(*keys, CODE)).alias("a"),
            F.bit_xor(F.xxhash64(CODE, *keys, F.lit(1))).alias("b"),
        )
        .collect()
    )
    by_code = [0] * n_classes
    xor_a = xor_b = 0
    for row in rows:
        by_code[row[CODE]] = row["n"]
        xor_a ^= row["a"]
        xor_b ^= row["b"]
    return by_code, {"rows": sum(by_code), "xor64_a": xor_a, "xor64_b": xor_b}
