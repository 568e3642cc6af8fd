"""A run as its steps see it: configuration, inputs, learners and what is committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from pyspark.sql import types as T
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import CODE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.adjustment import Adjustment, PriorCorrection
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.kernel import Scorer, without_odd_vectors
from spark_pseudolabel.core.rounds import Limits
from spark_pseudolabel.core.selection.policy import CountingPolicy
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.teachers.reference import Reference, rows_to_draw
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training_frame import Weighting
from spark_pseudolabel.core.teachers.weights import PseudoWeights
from spark_pseudolabel.core.trust.priors import may_estimate
from spark_pseudolabel.core.trust.shift import SAMPLE
from spark_pseudolabel.core.trust.support import Support, find_support
from spark_pseudolabel.core.trust.units import GroupSizes
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.teachers import student_of, teacher_of
from spark_pseudolabel.job.units import RowUnits, units_in
from spark_pseudolabel.output.state import limits_of
from spark_pseudolabel.progress import Events
from spark_pseudolabel.spark.direct.narrow import is_piece
from spark_pseudolabel.spark.direct.pool import DirectPool
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.frame.pool import FramePool
from spark_pseudolabel.spark.frame.scoring import cells_of
from spark_pseudolabel.spark.frame.stored_rows import StoredRows
from spark_pseudolabel.spark.groups import group_sizes
from spark_pseudolabel.spark.inputs import Inputs
from spark_pseudolabel.spark.pool import Pool
from spark_pseudolabel.spark.progress import described
from spark_pseudolabel.spark.scratch import Scratch
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.layout import scratch_dir
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore


@dataclass
class Run:
    """A run in progress.

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
    _models: dict[int, BaseEstimator] = field(default_factory=dict)
    _adjustments: dict[int, Adjustment | None] = field(default_factory=dict)
    _sample: pa.Table | None = None
    cross_fitted: CrossFit | None = None
    """The models of the folds while a student still has to be taught by them."""

    # --- how the configuration reads here

    @cached_property
    def like_sklearn(self) -> bool:
        """Whether the run does exactly what ``SelfTrainingClassifier`` does."""
        return self.config.mode == "sklearn"

    @cached_property
    def relabel(self) -> bool:
        """Whether every round decides the whole pool anew."""
        return self.config.rounds.relabel

    @cached_property
    def policy(self) -> CountingPolicy:
        """The policy that decides by counts; a certificate is asked for otherwise."""
        policy = self.config.selection
        assert isinstance(policy, CountingPolicy)
        return policy

    @cached_property
    def labeled_by_class(self) -> list[int]:
        """Labeled rows by class index."""
        codes = self.inputs.labeled.column(CODE).to_numpy()
        return np.bincount(codes, minlength=len(self.inputs.classes)).tolist()  # type: ignore[no-any-return]

    @cached_property
    def limits(self) -> Limits:
        """How the configuration bounds the loop."""
        return limits_of(self.config, self.inputs.pool_rows)

    @cached_property
    def weighting(self) -> Weighting:
        """How accepted rows enter the training frame."""
        training = self.config.training
        weights = PseudoWeights(training.pseudo_weight, training.max_pseudo_weight)
        return Weighting(training.labels, weights)

    @cached_property
    def learned_rows(self) -> Literal["accepted", "taught"]:
        """Which stored rows the next model learns from."""
        return "accepted" if self.config.training.rows == "accepted" else "taught"

    @cached_property
    def keeps_probabilities(self) -> bool:
        """Whether the probabilities of all classes are stored for every scored row."""
        return self.weighting.labels == "soft" or self.config.output.probabilities

    @cached_property
    def estimates_prior(self) -> bool:
        """Whether the pool's class shares are estimated: declared, not given, and enough rows."""
        if self.config.unlabeled.prior is not None or self.like_sklearn:
            return False
        enough = may_estimate(self.config.labeled.drawn, self.labeled_by_class)
        return self.inputs.pool_rows > 0 and enough

    @cached_property
    def adjusted(self) -> bool:
        """Whether the pool's scores are others than the model gives, so that both are kept."""
        given = self.config.unlabeled.prior is not None
        return self.config.calibration != "none" or given or self.estimates_prior

    # --- models

    @cached_property
    def teacher(self) -> Teacher:
        """Who makes the seed model."""
        return teacher_of(self.config, self.inputs.features, self.estimator)

    @cached_property
    def student(self) -> Teacher:
        """Who makes the models after it; the teacher, if nobody else is named."""
        return student_of(self.config, self.inputs.features, self.estimator) or self.teacher

    def maker(self, number: int) -> Teacher:
        """Return who makes a model."""
        return self.teacher if number == 1 else self.student

    def ready(self, teacher: Teacher) -> Teacher:
        """Return a teacher with all learned that needs no labels; of it, models are fitted."""
        if self.reference is None:
            return teacher
        return teacher.prepared(self.reference.X, self._columns)

    @cached_property
    def _columns(self) -> dict[str, BaseEstimator]:
        return {}

    @cached_property
    def reference(self) -> Reference | None:
        """The rows that preprocessing is learned from; None where there is none, or no pool.

        Raises
        ------
        InputError
            If the pool gives other rows than it gave when the first model was fitted.
        """
        makers = (self.teacher, self.student)
        if not self.inputs.pool_rows or not any(maker.needs_reference for maker in makers):
            return None
        features = self.inputs.features
        labeled = to_frame(self.inputs.labeled, features)
        # As many as the comparison with the labeled rows wants anyway, so that one scan will do.
        drawn = self.sample(max(rows_to_draw(labeled), SAMPLE))
        batch = drawn.combine_chunks().to_batches()[0]
        found = Reference.of(labeled, to_frame(without_odd_vectors(batch, features)[0], features))
        self._require_same_reference(found)
        return found

    def _require_same_reference(self, found: Reference) -> None:
        first = self.store.models[0].training.reference if self.store.models else None
        if first is not None and first != found.of_pool:
            raise InputError(
                "unlabeled must give the same rows for as long as a run lasts. A sample of "
                f"{found.n_pool:,} rows, drawn by their ids, differs from the one that model 1 has "
                "learned words and scales from. Give a table whose rows do not change, or start "
                "with a new output.path.",
                code="inputs_changed",
                where="unlabeled",
            )

    def sample(self, n: int) -> pa.Table:
        """Return the `n` pool rows with the lowest hash, or all; a scan only where more are asked.

        See :meth:`spark_pseudolabel.spark.pool.Pool.sample`.
        """
        if self._sample is None or self._sample.num_rows < min(n, self.inputs.pool_rows):
            with described(self.spark, "pool sample"):
                self._sample = self.pool.sample(n)
        return self._sample.slice(0, n)

    def model(self, number: int) -> BaseEstimator:
        """Return a committed or just fitted model."""
        if number not in self._models:
            model = self.store.load_model(number, self.trusted)
            self.keep_model(number, model, self.adjustment(number))
        return self._models[number]

    def adjustment(self, number: int) -> Adjustment | None:
        """Return what happens to the probabilities of a committed or just fitted model."""
        if number not in self._adjustments:
            self._adjustments[number] = self.store.models[number - 1].adjustment
        return self._adjustments[number]

    @property
    def prior(self) -> PriorCorrection | None:
        """The class shares of the pool, as the first model is corrected to them."""
        first = self.adjustment(1)
        return None if first is None else first.prior

    def keep_model(self, number: int, model: BaseEstimator, adjustment: Adjustment | None) -> None:
        """Remember a model; the latest two are all that is ever asked for again and again."""
        self._models = {**dict(list(self._models.items())[-1:]), number: model}
        self._adjustments[number] = adjustment

    def scorer(
        self, number: int, keys: Sequence[str] = (), *, probabilities: bool = False
    ) -> Scorer:
        """Return a model ready to score."""
        scorer = self.maker(number).scorer(
            self.model(number), self.inputs.features, keys, probabilities=probabilities
        )
        return replace(scorer, adjustment=self.adjustment(number))

    @cached_property
    def support(self) -> tuple[Support, NDArray[np.bool_]] | None:
        """Where labeled rows are, and which of them are inside; None if no row is withheld."""
        if not self.config.withholds:
            return None
        labeled, features = self.inputs.labeled, self.inputs.features
        return find_support(
            to_frame(labeled, features),
            features,
            self.row_hashes(labeled),
            self.config.random_state,
            self.units.labeled,
        )

    @cached_property
    def units(self) -> RowUnits:
        """Which rows with true labels are copies of one another, or of one group."""
        return units_in(self.inputs)

    @cached_property
    def group_sizes(self) -> GroupSizes | None:
        """How large the pool's groups are; None where it does not tell."""
        groups = self.inputs.groups
        return None if groups is None or groups.pool is None else group_sizes(groups.pool)

    def row_hashes(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return what all chance about rows comes from: a hash of key and seed, shape (n_rows,)."""
        keys = [rows.column(key) for key in self.inputs.keys]
        return xxhash64([*keys, self.config.random_state])

    # --- what is committed

    def published_rounds(self, best_round: int) -> tuple[RoundManifest, ...]:
        """Return the rounds whose labels stand: all up to the best, or, with relabel, it alone."""
        used = self.store.rounds[:best_round]
        return used[-1:] if self.relabel else used

    @cached_property
    def stored(self) -> StoredRows:
        """What rounds have written, as DataFrames."""
        keys = T.StructType([self.inputs.pool.schema[key] for key in self.inputs.keys])
        return StoredRows(
            self.spark, self.store.root, keys, self.keeps_probabilities, self.adjusted
        )

    @cached_property
    def scratch(self) -> Scratch:
        """A directory of the output that is this start's alone."""
        place = scratch_dir(self.store.run_id, str(uuid4()))
        return Scratch(self.store.files, join(self.store.root, place))

    @cached_property
    def scan(self) -> Scan | None:
        """How workers read the pool by themselves; None where Spark reads it.

        Also None where Spark has read it in an earlier round: what it has stored does not tell
        where in the pool's files a row is.
        """
        stored = [(*one.scored, *one.accepted)[:1] for one in self.store.rounds]
        by_spark = any(not is_piece(entry.path) for first in stored for entry in first)
        return None if by_spark else self.inputs.scan

    @cached_property
    def pool(self) -> Pool:
        """The unlabeled rows, carried by what is fastest for them."""
        inputs, n_classes = self.inputs, len(self.inputs.classes)
        if self.scan is None:
            return FramePool(
                spark=self.spark,
                rows=inputs.pool.rows,
                n_rows=inputs.pool_rows,
                keys=inputs.keys,
                stored=self.stored,
                cells=cells_of(inputs.features),
                n_classes=n_classes,
                random_state=self.config.random_state,
            )
        return DirectPool(
            spark=self.spark,
            source=self.scan.source,
            parts=self.scan.parts,
            n_rows=inputs.pool_rows,
            root=self.store.root,
            scratch=self.scratch,
            n_classes=n_classes,
            random_state=self.config.random_state,
            probabilities=self.keeps_probabilities,
        )
