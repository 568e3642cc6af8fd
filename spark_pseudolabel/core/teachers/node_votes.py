"""What committees say about all rows of a graph: one scan, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import DECIMALS, Scorer, make_scorer, said_by_parts
from spark_pseudolabel.core.nodes import NodeIds
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote, weights_of
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.core.trust.agreement import Agreement


@dataclass(frozen=True)
class GivenRows:
    """Rows of a graph that are on the driver.

    Parameters
    ----------
    nodes
        How they get their node ids.
    rows
        Keys and features.
    """

    nodes: NodeIds
    rows: pa.RecordBatch


_ROWS = 4096
"""Rows at a time: what all parts of all models say about them is in memory together."""

Look = Callable[[Iterable[pa.RecordBatch]], Any]
Together = Callable[[Sequence[Any]], Any]
Gather = Callable[[Look, Together], Any]
"""Looks at all rows of the pool, and puts together what was seen; None of a pool without rows."""


@dataclass(frozen=True)
class GraphRows:
    """The rows of a graph by their features.

    Parameters
    ----------
    gather
        Looks at the pool's.
    nodes
        How these get their node ids.
    given
        The others.
    """

    gather: Gather
    nodes: NodeIds
    given: tuple[GivenRows, ...]


@dataclass(frozen=True)
class NodeVotes:
    """What some models say about some rows.

    Parameters
    ----------
    ids
        ndarray of shape (n,): node ids.
    P
        ndarray of shape (n_models, n, n_classes), single precision; 0 of a row that no model can
        score.
    """

    ids: NDArray[np.int64]
    P: NDArray[np.float32]

    @classmethod
    def together(cls, parts: Sequence[NodeVotes]) -> NodeVotes:
        """Return what they say about the rows of all parts."""
        ids, P = zip(*((part.ids, part.P) for part in parts), strict=True)
        return cls(np.concatenate(ids), np.concatenate(P, axis=1))

    def of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what they say about rows, shape (n_models, n_ids, n_classes); 0 of unknown ones.

        Parameters
        ----------
        ids
            ndarray of shape (n_ids,), in any order.
        """
        order = np.argsort(self.ids, kind="stable")
        known = self.ids[order]
        places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        found = known[places] == ids
        P: NDArray[np.float32] = self.P[:, order[places]]
        P[:, ~found] = 0.0
        return P


def votes_on(
    rows: GraphRows,
    models: Sequence[BaseEstimator],
    features: Sequence[Feature],
    classes: Sequence[Label],
) -> NodeVotes:
    """Score all rows of a graph with several models, each of their parts once.

    Parameters
    ----------
    rows
        Of the graph.
    models
        Votes, or single models.
    features, classes
        Of the models.
    """
    parts, weights = _distinct(models)
    union = soft_vote({f"m{i}": part for i, part in enumerate(parts)}, classes)
    scorer = replace(make_scorer(union, features), agreement=Agreement(len(parts), "all"))
    look = _Look(scorer, weights, rows.nodes)
    seen = [replace(look, nodes=given.nodes)([given.rows]) for given in rows.given]
    of_pool = rows.gather(look, NodeVotes.together)
    return NodeVotes.together(seen if of_pool is None else [*seen, of_pool])


def _distinct(
    models: Sequence[BaseEstimator],
) -> tuple[list[BaseEstimator], NDArray[np.float64]]:
    """Return the parts of votes, each once, and their weights of shape (n_models, n_parts)."""
    parts = {id(part): part for model in models for part in members_of(model)}
    places = {key: place for place, key in enumerate(parts)}
    weights = np.zeros((len(models), len(parts)))
    for number, model in enumerate(models):
        for part, weight in zip(members_of(model), weights_of(model), strict=True):
            weights[number, places[id(part)]] += weight
    return list(parts.values()), weights


@dataclass(frozen=True)
class _Look:
    """Scores batches, in workers and on the driver."""

    scorer: Scorer
    weights: NDArray[np.float64]
    nodes: NodeIds

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> NodeVotes:
        n_classes = len(self.scorer.model.classes_)
        nothing = np.zeros((len(self.weights), 0, n_classes), dtype=np.float32)
        seen = [NodeVotes(np.zeros(0, dtype=np.int64), nothing)]
        with hold_threads(1):
            for batch in batches:
                starts = range(0, batch.num_rows, _ROWS)
                seen += [self._of(batch.slice(start, _ROWS)) for start in starts]
        return NodeVotes.together(seen)

    def _of(self, batch: pa.RecordBatch) -> NodeVotes:
        said, _ = said_by_parts(batch, self.scorer)
        P = np.zeros((len(self.weights), len(said), said.shape[2]))
        # One part after the other: the last bits of a matrix product depend on the batch's size.
        for number, weights in enumerate(self.weights):
            for part in np.flatnonzero(weights):
                P[number] += weights[part] * said[:, part]
        return NodeVotes(self.nodes.of(batch), np.round(P, DECIMALS).astype(np.float32))
