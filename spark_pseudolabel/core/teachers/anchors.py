"""The teacher on an anchor graph: preprocessing, anchors, and one pass over the pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import Pipeline

from spark_pseudolabel.core.features import Feature, example_frame
from spark_pseudolabel.core.kernel import Scorer, make_scorer, takeable
from spark_pseudolabel.core.teachers.anchor_graph import AnchorGraph
from spark_pseudolabel.core.teachers.anchor_model import (
    AnchorClassifier,
    AnchorRegressor,
    AnchorWeights,
)
from spark_pseudolabel.core.teachers.estimator import EstimatorTeacher
from spark_pseudolabel.core.teachers.preprocessing import joined, split, with_preprocessing
from spark_pseudolabel.core.teachers.teacher import PoolPass, Teacher
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.registry import EstimatorInfo

COMPONENTS = 100
"""Wider tables are reduced to so many components: distances cost time by their columns."""

_ROWS_PER_ANCHOR = 3
"""Rows of the sample, at least: anchors that are rows themselves connect nothing."""

_SCALED = EstimatorInfo("", scaled=True, condensed=True)


@dataclass(frozen=True)
class AnchorsTeacher(Teacher):
    """Labels spread over an anchor graph of all rows.

    Parameters
    ----------
    default
        The classifier or regressor behind the default preprocessing of columns.
    weights
        Unfitted: how many anchors, and how many of them describe a row.
    features
        What it is fitted on.
    columns
        Preprocessing and weights, fitted once for all models; None: not yet.
    graph
        Over the rows of the pool; None: there is none of them, or it is not known yet.
    """

    default: EstimatorTeacher
    weights: AnchorWeights
    features: tuple[Feature, ...]
    columns: Pipeline | None = None
    graph: AnchorGraph | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return "An anchor graph"

    @property
    def estimators(self) -> Sequence[BaseEstimator]:
        """Its whole pipeline."""
        columns, last = split(self.default.estimator)
        return [joined(Pipeline([("prepared", columns), ("anchors", self.weights)]), last)]

    @property
    def needs_reference(self) -> bool:
        """Always: anchors are put among rows with and without labels."""
        return True

    @property
    def preprocessing(self) -> Sequence[str]:
        """What happens to columns, one line each."""
        return self.default.preprocessing

    def placed(self, X: pd.DataFrame) -> AnchorsTeacher:
        """Fit preprocessing, and put anchors among rows.

        Raises
        ------
        InputError
            If no column has two values.
        """
        with hold_threads(1), config_context(transform_output="default"):
            columns = self.default.prepared(X).columns
            assert columns is not None
            rows = columns.transform(X)
            steps: list[tuple[str, BaseEstimator]] = [("prepared", columns)]
            if rows.shape[1] > COMPONENTS:
                n = min(COMPONENTS, rows.shape[0])
                svd = TruncatedSVD(n, random_state=self.weights.random_state).fit(rows)
                steps, rows = [*steps, ("components", svd)], svd.transform(rows)
            weights = self._within(rows.shape[0]).fit(rows)
            if len(weights.anchors_) < 2:
                raise no_usable_column("anchors", self.features)
        return replace(self, columns=Pipeline([*steps, ("anchors", weights)]))

    def _within(self, n_rows: int) -> AnchorWeights:
        most = max(n_rows // _ROWS_PER_ANCHOR, self.weights.neighbors)
        anchors = min(self.weights.anchors, most)
        return AnchorWeights(anchors, self.weights.neighbors, self.weights.random_state)

    @property
    def adapted(self) -> Mapping[str, int]:
        """The anchors, where they are fewer than asked for."""
        found = self.weights.anchors if self.columns is None else len(self.columns[-1].anchors_)
        return {"anchors": found} if found < self.weights.anchors else {}

    @property
    def pool_pass(self) -> PoolPass | None:
        """One scan in which the pool's rows are connected."""
        if self.columns is None:
            return None
        scorer = make_scorer(_probe(self.columns, self.features), self.features)
        return PoolPass(_Look(self.columns, scorer), AnchorGraph.together)

    def informed(self, seen: Any) -> AnchorsTeacher:
        """Take in the graph."""
        return replace(self, graph=seen)

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> Pipeline:
        """Spread the labels of a training frame."""
        if self.columns is None:
            return self.placed(rows.X).fit(rows, classes)
        _, last = split(self.default.estimator)
        y = np.asarray(classes)[rows.codes] if rows.values is None else rows.values
        with hold_threads(1), config_context(transform_output="default"):
            Z = self.columns.transform(rows.X)
            fitted = clone(last).fit(Z, y, rows.weights, self.graph)
        return joined(self.columns, fitted)


@dataclass(frozen=True)
class _Look:
    """Connects the pool's rows that the model will be able to score, in workers."""

    columns: Pipeline
    scorer: Scorer

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> AnchorGraph:
        nobody = self.columns.transform(example_frame(self.scorer.features))[:0]
        graph = AnchorGraph.of(nobody)
        for batch in batches:
            X = takeable(batch, self.scorer)
            if len(X):
                graph = AnchorGraph.together([graph, AnchorGraph.of(self._weights(X))])
        return graph

    def _weights(self, X: pd.DataFrame) -> csr_array:
        with config_context(transform_output="default", assume_finite=True):
            Z = self.columns.transform(X)
        finite = np.isfinite(Z.data[Z.indptr[:-1]])  # of one row all or none
        return Z[finite]


def _probe(columns: Pipeline, features: Sequence[Feature]) -> Pipeline:
    """Return a model that takes the rows that all models on these columns take."""
    Z = columns.transform(example_frame(features))
    return joined(columns, AnchorClassifier().fit(Z, np.zeros(1)))


def no_usable_column(graph: str, features: Sequence[Feature]) -> InputError:
    """Return what to say where all rows are in one place."""
    names = ", ".join(repr(feature.name) for feature in features)
    return InputError(
        f"teacher graph: {graph} needs a column that tells rows apart. Each of {names} has one "
        "value in all rows of labeled and in a sample of unlabeled. Name other columns in "
        "features.",
        code="no_usable_column",
        where="features",
    )


def anchors_teacher(
    features: Sequence[Feature],
    anchors: int,
    neighbors: int,
    random_state: int,
    *,
    class_mass: bool = False,
    numbers: bool = False,
) -> AnchorsTeacher:
    """Make the teacher, with the default preprocessing of estimators that scale matters to.

    Parameters
    ----------
    features
        What it is fitted on.
    anchors
        The most of them; no more than a third of the rows of the sample that they are put among.
    neighbors
        How many of them describe a row.
    random_state
        Seed of k-means, and of the components of texts.
    class_mass
        See :class:`~.anchor_model.AnchorClassifier`.
    numbers
        Whether labels are numbers.
    """
    last = AnchorRegressor() if numbers else AnchorClassifier(class_mass)
    pipeline = with_preprocessing(last, _SCALED, features, random_state)
    return AnchorsTeacher(
        EstimatorTeacher(pipeline, default_columns=True),
        AnchorWeights(anchors, neighbors, random_state),
        tuple(features),
    )
