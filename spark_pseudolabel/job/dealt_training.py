"""Training on more rows than one process holds: dealt to shards, and learned from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, clone

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.core.sampling import HashLimits, limits_within
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher
from spark_pseudolabel.core.teachers.lines import (
    DealtRows,
    Encoder,
    Lines,
    LineWeights,
    n_shards_of,
)
from spark_pseudolabel.core.teachers.preprocessing import joined, split
from spark_pseudolabel.core.teachers.streaming import fit_streamed
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.training import (
    DriverTrainer,
    PseudoRows,
    Trained,
    fit_errors,
    lost_rows,
)
from spark_pseudolabel.spark.dealing import Dealt, dealt
from spark_pseudolabel.spark.engines import Engine
from spark_pseudolabel.spark.inputs.facts import Inputs
from spark_pseudolabel.spark.pool import Pool
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.following import revoked_keys
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore

MEASURED_ROWS = 200_000
"""Of training rows from which students are fitted only to be measured on labeled rows."""


class Learner(Protocol):
    """Who learns from shards."""

    @property
    def single(self) -> bool:
        """Whether single precision is what it computes with."""
        ...

    def n_shards(self, n_rows: int) -> int:
        """Return into how many shards it wants so many rows dealt."""
        ...

    def fit(
        self, shards: Dealt, rows: DealtRows, estimator: BaseEstimator, inputs: Inputs
    ) -> BaseEstimator:
        """Return a fitted copy of an estimator, without its preprocessing."""
        ...


@dataclass(frozen=True)
class StreamLearner:
    """Learns on the driver, from a shard at a time.

    Parameters
    ----------
    weighted
        Whether lines may weigh something else than 1.
    """

    weighted: bool

    @property
    def single(self) -> bool:
        """No: scikit-learn's estimators compute in double precision."""
        return False

    def n_shards(self, n_rows: int) -> int:
        """Return as many as keep each of them small."""
        return n_shards_of(n_rows)

    def fit(
        self, shards: Dealt, rows: DealtRows, estimator: BaseEstimator, inputs: Inputs
    ) -> BaseEstimator:
        """Fit by ``partial_fit``; see :class:`Learner`."""
        weights = replace(rows.weights, needed=self.weighted)
        with fit_errors(inputs, type(estimator).__name__, None):
            return fit_streamed(
                estimator,
                lambda: (Lines.of(streams, weights) for streams in shards.read()),
                inputs.classes,
                rows.lines,
                rows.balanced,
            )


@dataclass(frozen=True)
class ClusterLearner:
    """Learns on the cluster, each worker from a shard of its own.

    Parameters
    ----------
    engine
        Who fits.
    workers
        How many there are.
    weighted
        Whether lines may weigh something else than 1.
    """

    engine: Engine
    workers: int
    weighted: bool

    @property
    def single(self) -> bool:
        """Whether the engine computes with single precision."""
        return self.engine.single

    def n_shards(self, n_rows: int) -> int:
        """Return one for each worker."""
        return self.workers

    def fit(
        self, shards: Dealt, rows: DealtRows, estimator: BaseEstimator, inputs: Inputs
    ) -> BaseEstimator:
        """Fit by the engine; see :class:`Learner`."""
        if not all(shard.lines for shard in rows.shards):
            raise InputError(
                f"training.workers: {self.workers} leaves a worker without a row, of "
                f"{rows.lines:,} in all. Set it to less, or let models learn on: driver.",
                code="too_many_workers",
                where="training.workers",
            )
        by_code = class_weights(estimator, inputs.classes, rows)
        weights = replace(
            rows.weights, by_code=by_code, needed=self.weighted or by_code is not None
        )
        return self.engine.fit(shards, estimator, weights, inputs.classes)


@dataclass(frozen=True)
class DealtTrainer:
    """Training on labeled and accepted rows that workers deal by the hash of their id.

    Model 1 knows labeled rows alone, which the driver has.

    Parameters
    ----------
    setting, store, pool
        Of the run.
    learner
        Who learns.
    """

    setting: Setting
    store: RoundStore
    pool: Pool
    learner: Learner

    def train(self, maker: Teacher, previous: BaseEstimator | None) -> Trained:
        """Deal the rows, and fit; see :class:`spark_pseudolabel.job.training.Trainer`."""
        on_driver = DriverTrainer(self.setting, self.store, self.pool)
        if not self.store.rounds:
            return on_driver.train(maker, previous)
        setting, inputs = self.setting, self.setting.inputs
        assert isinstance(maker, EstimatorTeacher)
        rounds = setting.published(self.store.rounds, len(self.store.rounds))
        limits, n_rows = self._limits(rounds)
        encoder = self._encoder(maker, rounds, self.learner.n_shards(n_rows))
        hashes = pa.array(setting.row_hashes(inputs.labeled))
        labeled = list(encoder.deal_labeled(inputs.labeled.append_column(HASH, hashes)))
        of_pool = self.pool.deal(rounds, limits, encoder.deal, setting.learned_rows)
        with dealt(
            self.pool.spark,
            of_pool,
            labeled,
            inputs.keys,
            encoder.n_shards,
            len(inputs.classes),
        ) as shards:
            rows = DealtRows(shards.facts)
            if limits is None and encoder.takes_all and rows.n_pseudo != n_rows:
                raise lost_rows(self.store, n_rows, setting.learned_rows)
            failpoint("train.collected")
            weighting = setting.weighting.pseudo.bounded(
                encoder.weights, rows.pseudo_weight, inputs.labeled.num_rows
            )
            rows = replace(rows, weights=LineWeights(weighting.scale))
            _, last = split(maker.estimator)
            model = joined(encoder.columns, self.learner.fit(shards, rows, last, inputs))
        failpoint("model.fitted")
        return Trained(model, rows, limits, weighting, self._measured(on_driver))

    def _limits(self, rounds: Sequence[RoundManifest]) -> tuple[HashLimits, int]:
        """Return up to which hash rows are taken, and how many there are at most."""
        kind, max_rows = self.setting.learned_rows, self.setting.config.training.max_rows
        by_code = np.sum([r.counts.by_code(kind) for r in rounds], axis=0).tolist()
        if max_rows is None:
            return None, sum(by_code)
        room = max(0, max_rows - self.setting.inputs.labeled.num_rows)
        return limits_within(by_code, room), min(room, sum(by_code))

    def _encoder(
        self, maker: EstimatorTeacher, rounds: Sequence[RoundManifest], n_shards: int
    ) -> Encoder:
        setting, inputs = self.setting, self.setting.inputs
        columns = maker.columns
        if columns is None:  # it passes on what it gets, and learns no more than how much that is
            columns = clone(split(maker.estimator)[0]).fit(setting.labeled.X)
        return Encoder(
            features=tuple(inputs.features),
            keys=tuple(inputs.keys),
            columns=columns,
            weighting=setting.weighting,
            weights=setting.weighting.pseudo.unbounded({r.number: r.histogram for r in rounds}),
            n_shards=n_shards,
            single=self.learner.single,
            checked=setting.features_of(1) != inputs.features,
            revoked=revoked_keys(self.store) if self.store.reviews else None,
        )

    def _measured(self, on_driver: DriverTrainer) -> PseudoRows:
        """Fetch the rows by which a student is measured, if it is on labeled rows."""
        setting = self.setting
        if not setting.config.cross_fitted or setting.inputs.validation.num_rows:
            return PseudoRows(None, np.zeros(0))
        max_rows = min(setting.config.training.max_rows or MEASURED_ROWS, MEASURED_ROWS)
        return on_driver.pseudo(max_rows)[2]


def class_weights(
    estimator: BaseEstimator, classes: Sequence[Label], rows: DealtRows
) -> tuple[float, ...] | None:
    """Return what an estimator's ``class_weight`` comes to for each class; None: nothing.

    Parameters
    ----------
    estimator
        Unfitted.
    classes
        The labels by class index.
    rows
        What it is to learn from.
    """
    given: Mapping[Any, float] | str | None = getattr(estimator, "class_weight", None)
    if given is None:
        return None
    if isinstance(given, str):
        return rows.balanced()
    return tuple(float(given.get(label, 1.0)) for label in classes)
