"""The models of a run: who makes them, those that are committed, and each ready to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.adjustment import Adjustment, PriorCorrection
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.kernel import Scorer, without_odd_vectors
from spark_pseudolabel.core.nodes import NodeTable
from spark_pseudolabel.core.teachers.conjugate_gradients import Tell
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
from spark_pseudolabel.core.teachers.neighbors import NeighborTeacher
from spark_pseudolabel.core.teachers.node_scores import takes_nodes
from spark_pseudolabel.core.teachers.node_votes import GivenRows, GraphRows, Look, Together
from spark_pseudolabel.core.teachers.reference import Reference, rows_to_draw
from spark_pseudolabel.core.teachers.teacher import Teacher
from spark_pseudolabel.core.teachers.training import TrainingRows
from spark_pseudolabel.core.trust.agreement import Agreement
from spark_pseudolabel.core.trust.shift import SAMPLE
from spark_pseudolabel.core.trust.stability import MARGINAL_ROWS, Stability
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.job.cluster_graph import ClusterGraph
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.spreading import read_graph
from spark_pseudolabel.job.teachers import student_of, teacher_of
from spark_pseudolabel.output.scoring import agreement_of, scorer_of, stability_of
from spark_pseudolabel.spark.pool import Pool
from spark_pseudolabel.store.manifest import GraphManifest
from spark_pseudolabel.store.store import RoundStore


@dataclass
class Models:
    """The models of a run.

    Parameters
    ----------
    setting
        What the run is about.
    store
        Where they are committed.
    pool
        The unlabeled rows, of which a sample teaches what needs no labels.
    own
        An estimator that is used as it is instead of the configured one, or None.
    trusted
        Further types that a stored model may hold.
    tell
        Is told how far labels have spread over a graph.
    """

    setting: Setting
    store: RoundStore
    pool: Pool
    own: BaseEstimator | None = None
    trusted: tuple[str, ...] = ()
    tell: Tell = field(default=lambda products, change: None)
    spark: SparkSession | None = None
    """Where labels spread over graphs that the driver does not hold."""
    cross_fit: CrossFit | None = None
    """The models of the folds while a student still has to be taught by them."""
    voters: int | None = None
    """Members of the first model where fitting has found how many; None: see the teacher."""
    _fitted: dict[int, BaseEstimator] = field(default_factory=dict)
    _adjustments: dict[int, Adjustment | None] = field(default_factory=dict)
    _sample: pa.Table | None = None

    # --- who makes them

    @cached_property
    def teacher(self) -> Teacher:
        """Who makes the seed model."""
        inputs = self.setting.inputs
        return teacher_of(self.setting.config, inputs.seed_features, self.own, inputs.numbers)

    @cached_property
    def student(self) -> Teacher:
        """Who makes the models after it; the teacher, if no other is named."""
        inputs = self.setting.inputs
        student = student_of(self.setting.config, inputs.features, self.own, inputs.numbers)
        return student or self.teacher

    def maker(self, number: int) -> Teacher:
        """Return who makes a model."""
        return self.teacher if number == 1 else self.student

    def ready(self, maker: Teacher) -> Teacher:
        """Return a teacher with all learned that needs no labels; of it, models are fitted."""
        if id(maker) not in self._ready:
            self._ready[id(maker)] = self._informed(maker)
        return self._ready[id(maker)]

    def prepared(self, maker: Teacher) -> Teacher:
        """Return a teacher that has learned from the reference rows."""
        if self.reference is not None:
            prepared = maker.prepared(self.reference.X, self._columns)
            prepared = prepared.placed(self.reference.spread)
            return prepared.shown(self.reference.pool)
        if maker.transductive:  # there is no pool
            return maker.placed(self.setting.labeled.X)
        return maker

    def _informed(self, maker: Teacher) -> Teacher:
        if maker.transductive:
            graph = self.store.graph
            assert graph is not None
            if not maker.takes_features:
                return maker.joined(self._graph(maker, graph), self.tell)
            prepared = self.prepared(maker)
            return prepared.joined(read_graph(self.store, graph), self.tell, self._graph_rows)
        maker = self.prepared(maker).expecting(self.setting.given_prior)
        wanted = maker.pool_pass
        if wanted is None:
            return maker
        if not self.setting.inputs.pool_rows:
            return maker.informed(None)
        seen = self.pool.gather(wanted.look, wanted.together, wanted.features)
        return maker.informed(seen)

    def _graph(self, maker: Teacher, graph: GraphManifest) -> NeighborGraph | ClusterGraph:
        """Return the committed graph, where it is solved."""
        assert isinstance(maker, NeighborTeacher)
        if maker.fits_driver(graph.ids.rows):
            return read_graph(self.store, graph)
        assert self.spark is not None
        return ClusterGraph(self.spark, self.store, graph)

    @property
    def _graph_rows(self) -> GraphRows:
        """The rows of the graph by their features."""
        setting, inputs = self.setting, self.setting.inputs
        tables: Sequence[tuple[NodeTable, pa.Table]] = (
            ("labeled", inputs.labeled),
            ("validation", inputs.validation),
        )
        given = [
            GivenRows(setting.nodes(name), rows.combine_chunks().to_batches()[0])
            for name, rows in tables
            if rows.num_rows
        ]

        def gather(look: Look, together: Together) -> Any:
            return self.pool.gather(look, together) if inputs.pool_rows else None

        return GraphRows(gather, setting.nodes("pool"), tuple(given))

    @cached_property
    def _ready(self) -> dict[int, Teacher]:
        return {}

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
        inputs, makers = self.setting.inputs, (self.teacher, self.student)
        corrupts = self.setting.config.selection.stable_under is not None
        wanted = corrupts or any(maker.needs_reference for maker in makers)
        if not inputs.pool_rows or not wanted:
            return None
        labeled = to_frame(inputs.labeled, inputs.features)
        # As many as the comparison with the labeled rows wants anyway, so that one scan will do.
        drawn = self.sample(max(rows_to_draw(labeled), SAMPLE))
        whole, _ = without_odd_vectors(drawn.combine_chunks().to_batches()[0], inputs.features)
        reference = Reference.of(labeled, to_frame(whole, inputs.features))
        self.require_same(reference)
        return reference

    # --- what is asked of rows besides a confidence

    def asking(self, scorer: Scorer) -> Scorer:
        """Let a scorer of the pool's first model, or of a fold's, withhold rows as the run asks."""
        support = self.setting.support
        return replace(
            scorer,
            support=None if support is None else support[0],
            agreement=self.agreement,
            stability=self.stability,
        )

    @property
    def asks(self) -> bool:
        """Whether models decide, row by row, which labels may count."""
        return self.agreement is not None or self.stability is not None

    @property
    def agreement(self) -> Agreement | None:
        """How many members have to name a row's label; None: they are not asked."""
        stored = self.store.models[0].voters if self.store.models else self.teacher.voters
        return agreement_of(self.setting.config.selection.require, self.voters or stored)

    @cached_property
    def marginals(self) -> pd.DataFrame | None:
        """The pool rows whose values rows are corrupted with; None where none is."""
        if self.setting.config.selection.stable_under is None or self.reference is None:
            return None
        return self.reference.pool.head(MARGINAL_ROWS)

    @cached_property
    def stability(self) -> Stability | None:
        """How rows are corrupted to see whether they keep their label; None: they are not."""
        if self.marginals is None:
            return None
        config, inputs = self.setting.config, self.setting.inputs
        asked, seed = config.selection.stable_under, config.random_state
        return stability_of(asked, self.marginals, inputs.features, inputs.keys, seed)

    def sample(self, n: int) -> pa.Table:
        """Return the `n` pool rows with the lowest hash, or all; a scan only where more are asked.

        See :meth:`spark_pseudolabel.spark.pool.Pool.sample`.
        """
        if self._sample is None or self._sample.num_rows < min(n, self.setting.inputs.pool_rows):
            self._sample = self.pool.sample(n)
        return self._sample.slice(0, n)

    # --- committed or just fitted ones

    def model(self, number: int) -> BaseEstimator:
        """Return a committed or just fitted model."""
        if number not in self._fitted:
            self.keep(number, self.store.load_model(number, self.trusted), self.adjustment(number))
        return self._fitted[number]

    def adjustment(self, number: int) -> Adjustment | None:
        """Return what happens to the probabilities of a committed or just fitted model."""
        if number not in self._adjustments:
            self._adjustments[number] = self.store.models[number - 1].adjustment
        return self._adjustments[number]

    @property
    def prior_correction(self) -> PriorCorrection | None:
        """How the first model is corrected to the class shares of the pool."""
        first = self.adjustment(1)
        return None if first is None else first.prior

    @property
    def prior(self) -> NDArray[np.float64] | None:
        """The class shares of the pool as far as they are known, shape (n_classes,)."""
        correction = self.prior_correction
        return None if correction is None else np.array(correction.prior)

    def keep(self, number: int, model: BaseEstimator, adjustment: Adjustment | None) -> None:
        """Remember a model; the latest two are all that is ever asked for again and again."""
        self._fitted = {**dict(list(self._fitted.items())[-1:]), number: model}
        self._adjustments[number] = adjustment

    def scorer(
        self,
        number: int,
        keys: Sequence[str] = (),
        *,
        probabilities: bool = False,
        table: NodeTable = "pool",
    ) -> Scorer:
        """Return a model ready to score rows of a table."""
        model = self.model(number)
        return scorer_of(
            self.setting.config.mode,
            model,
            self._features_of(number),
            keys,
            adjustment=self.adjustment(number),
            probabilities=probabilities,
            nodes=self.setting.nodes(table) if takes_nodes(model) else None,
        )

    def _features_of(self, number: int) -> Sequence[Feature]:
        """Return what a model sees; of a student that was refused, what its teacher sees."""
        stored = self.store.models[number - 1 : number]
        return stored[0].features if stored else self.setting.features_of(number)

    # --- what the teacher gets

    @cached_property
    def labeled(self) -> TrainingRows:
        """The labeled rows as the teacher takes them."""
        rows = self.setting.labeled
        X = self.input(self.setting.inputs.labeled, "labeled")
        if self.teacher.transductive and self.teacher.takes_features:
            X = rows.X.assign(**{NODE: X[NODE].to_numpy()})
        return replace(rows, X=X)

    def input(self, rows: pa.Table, table: NodeTable = "pool") -> pd.DataFrame:
        """Return rows of a table as the teacher's models take them."""
        if self.teacher.transductive:
            return self.setting.nodes(table).frame(rows)
        return to_frame(rows, self.setting.features_of(1))

    def require_same(self, reference: Reference) -> None:
        """Refuse a pool whose rows are not those that the first model has learned from."""
        first = self.store.models[0].training.reference if self.store.models else None
        if first is not None and first != reference.pool_rows:
            raise InputError(
                "unlabeled must give the same rows for as long as a run lasts. A sample of "
                f"{reference.n_pool:,} rows, drawn by their ids, differs from the one that "
                "model 1 has learned words and scales from. Give a table whose rows do not change, "
                "or start with a new output.path.",
                code="inputs_changed",
                where="unlabeled",
            )
