"""A committee that has the graph of nearest neighbors among its members, as long as that helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.teachers.cross_fitting import CrossFit, cross_fit, cross_fit_mean
from spark_pseudolabel.core.teachers.gate import gated_weights
from spark_pseudolabel.core.teachers.graph_with_committee import (
    GraphWithCommittee,
    scored_by,
    without_nodes,
)
from spark_pseudolabel.core.teachers.node_scores import NodeScores
from spark_pseudolabel.core.teachers.training import Label, TrainingRows
from spark_pseudolabel.core.teachers.vote import members_of, soft_vote, weights_of


@dataclass(frozen=True)
class CommitteeWithNeighbors(GraphWithCommittee):
    """Estimators that vote, and labels that spread; these count where the others gain from them."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return "A committee with a graph of neighbors"

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> NodeScores:
        """Fit every member, and spread the labels; equal weights."""
        spread = self._spread([rows], classes)[0]
        return self._looked_up([self._vote(rows, classes, spread)], classes)[0]

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Fit one vote per fold; in each, the other folds say whether the graph counts.

        Labels are spread for all of them in one go. What votes say about all rows is looked up
        from then on.
        """
        cross = cross_fit_mean if mean else cross_fit
        wanted: dict[bytes, TrainingRows] = {}

        def note(some: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
            wanted[_digest(some)] = some
            ids, nothing = np.zeros(1, np.int64), np.zeros((1, len(classes)), np.float32)
            return _Seeing(NodeScores.of(ids, nothing, classes, takes_nan=True), nodes=True)

        cross(note, rows, folds, classes)
        spread = dict(zip(wanted, self._spread(list(wanted.values()), classes), strict=True))

        def vote(some: TrainingRows, classes: Sequence[Label]) -> BaseEstimator:
            return self._vote(some, classes, spread[_digest(some)])

        fitted = cross(vote, rows, folds, classes, gated_weights)
        unseen = (fitted.unseen or fitted.models) if fitted.held_out.any() else ()
        models = self._looked_up([fitted.mean_model(classes), *unseen], classes)
        return scored_by(fitted, rows, models)

    def _vote(
        self, rows: TrainingRows, classes: Sequence[Label], spread: NodeScores
    ) -> BaseEstimator:
        committee = self.committee.fit(without_nodes(rows), classes)
        members: Mapping[str, BaseEstimator] = {
            f"m{number}": _Seeing(member, nodes=False)
            for number, member in enumerate(members_of(committee))
        }
        return soft_vote({**members, "graph": _Seeing(spread, nodes=True)}, classes)

    def _looked_up(
        self, votes: Sequence[BaseEstimator], classes: Sequence[Label]
    ) -> list[NodeScores]:
        """Return what votes say about all rows, the committees' part of it from one scan."""
        of_features = [_part_of(vote, classes) for vote in votes]
        said = self.votes([committee for committee, _ in of_features], classes)
        models = []
        for vote, P, (_, share) in zip(votes, said, of_features, strict=True):
            total = share * P.astype(np.float64)
            say = share * P.any(axis=1, keepdims=True)
            for part, weight in zip(members_of(vote), weights_of(vote), strict=True):
                if part.nodes and weight:
                    spread: NDArray[np.float32] = part.model.probabilities_
                    total += weight * spread
                    say += weight * spread.any(axis=1, keepdims=True)
            mean = total / np.where(say > 0, say, 1.0)
            models.append(self.model(mean.astype(np.float32), classes))
        return models


class _Seeing(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # they have no types
    """A member of a vote on rows that have both features and node ids; it is never stored."""

    def __init__(self, model: BaseEstimator, nodes: bool) -> None:
        self.model = model
        self.nodes = nodes

    @property
    def abstains(self) -> bool:
        """Whether some rows are unknown to it."""
        return self.nodes

    def predict_proba(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return what it says by what it sees."""
        P: NDArray[np.float64] = self.model.predict_proba(
            X[[NODE]] if self.nodes else X.drop(columns=NODE)
        )
        return P


def _part_of(vote: BaseEstimator, classes: Sequence[Label]) -> tuple[BaseEstimator, float]:
    """Return the part of a vote that sees features, and its share of all weights."""
    parts = [
        (part.model, weight)
        for part, weight in zip(members_of(vote), weights_of(vote), strict=True)
        if not part.nodes
    ]
    models = {f"m{number}": model for number, (model, _) in enumerate(parts)}
    weights = [weight for _, weight in parts]
    return soft_vote(models, classes, weights), sum(weights)


def _digest(rows: TrainingRows) -> bytes:
    ids: NDArray[np.int64] = rows.X[NODE].to_numpy()
    return ids.tobytes()
