"""Correct and smooth: a committee whose errors and labels are spread over a graph of all rows.

What is published for a row is the committee's word, corrected by what it has got wrong on the
labeled rows near by, and then by what it says of the neighbors. How much of this helps is found out
of fold; where it does not help, the committee's word stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from spark_pseudolabel.core.teachers.cross_fitting import (
    CrossFit,
    MemberScore,
    Once,
    cross_fit,
    cross_fit_mean,
    member_score,
    numbered,
    scores_without_two,
)
from spark_pseudolabel.core.teachers.gate import SURE, calibrated_losses, surely
from spark_pseudolabel.core.teachers.graph_solvers import Labels, normalized_adjacency
from spark_pseudolabel.core.teachers.graph_with_committee import (
    GraphWithCommittee,
    scored_by,
    without_nodes,
)
from spark_pseudolabel.core.teachers.neighbor_graph import NeighborGraph
from spark_pseudolabel.core.teachers.neighbors import labels_on
from spark_pseudolabel.core.teachers.node_scores import NodeScores
from spark_pseudolabel.core.teachers.smoothing import (
    STRENGTHS,
    Smoother,
    Spread,
    Strength,
    means_of_nodes,
)
from spark_pseudolabel.core.teachers.training import Label, TrainingRows


@dataclass(frozen=True)
class CorrectAndSmooth(GraphWithCommittee):
    """Corrects and smooths what a committee says.

    Parameters
    ----------
    strengths
        How much neighbors may have to say: what helps most out of fold is taken, if any helps. A
        single one is taken as it is.
    """

    strengths: tuple[Strength, ...] = field(default=STRENGTHS, kw_only=True)

    @property
    def name(self) -> str:
        """What messages call it."""
        return "Correct and smooth"

    def fit(
        self, rows: TrainingRows, classes: Sequence[Label], previous: BaseEstimator | None = None
    ) -> NodeScores:
        """Return what the committee says of all rows: no residual is known of rows it has seen."""
        model = self.committee.fit(without_nodes(rows), classes)
        return self.model(self.votes([model], classes)[0], classes)

    def cross_fit(
        self,
        rows: TrainingRows,
        folds: NDArray[np.int32],
        classes: Sequence[Label],
        *,
        mean: bool = False,
    ) -> CrossFit:
        """Correct by all labels, and for each fold by those of the others.

        The committee's word on a row is the mean of the models of all folds. Of a labeled row it is
        that of models which have not seen it, or it would have no residual; and where the labels of
        a fold are hidden, that of models which have not seen that fold either.

        Returns
        -------
        CrossFit
            Its models are all the one that is used; those of `unseen` score the folds.
        """
        own, fit = without_nodes(numbered(rows)), Once(self.committee.fit)
        voted = (cross_fit_mean if mean else cross_fit)(fit, own, folds, classes)
        if not voted.held_out.any():
            said = self.votes(voted.models, classes)[0]
            return scored_by(voted, rows, [self.model(said, classes)])
        unseen = voted.unseen or voted.models
        votes = self.votes([voted.mean_model(classes), *unseen], classes)
        without = scores_without_two(fit, own, folds, classes, voted)
        labels, nobody = labels_on(self.nodes, rows), np.zeros(len(folds), dtype=bool)
        tasks = [_Hidden(labels, voted.P, nobody)]
        tasks += [_Hidden(labels, P, folds == fold) for fold, P in enumerate(without)]
        solving = _Solving(self._smoother(), self.nodes, votes, tuple(tasks))
        tried = solving.out_of_fold(self.strengths, folds)
        chosen = self._chosen(voted.P, tried, rows.codes, folds)
        models = [
            self.model(solving.solved(number, strength), classes)
            for number, strength in enumerate(chosen)
        ]
        scored = scored_by(voted, rows, models)
        members = _members(voted, scored.P, rows.codes, chosen[0])
        return replace(scored, members=members, settled=_settled(chosen[0]))

    def _chosen(
        self,
        voted: NDArray[np.float64],
        tried: Sequence[NDArray[np.float64]],
        codes: NDArray[np.int32],
        folds: NDArray[np.int32],
    ) -> list[Strength | None]:
        """Choose how strongly: with all labels, and with each fold hidden by the other folds."""
        n_folds = int(folds.max()) + 1
        if len(self.strengths) == 1:
            return [self.strengths[0]] * (n_folds + 1)
        chosen: list[Strength | None] = []
        for hidden in (None, *range(n_folds)):
            some = (folds >= 0) & (folds != (-1 if hidden is None else hidden))
            some &= np.isfinite(voted).all(axis=1)
            before, *after = (
                calibrated_losses(P[some], codes[some], folds[some]) for P in (voted, *tried)
            )
            lower = {
                strength: before - losses
                for strength, losses in zip(self.strengths, after, strict=True)
            }
            sure = [strength for strength in self.strengths if surely(lower[strength]) > SURE]
            chosen.append(max(sure, key=lambda s: float(lower[s].mean()), default=None))
        return chosen

    def _smoother(self) -> Smoother:
        W = self.nodes.symmetric(self.settings.weights == "gaussian")
        chosen = self.settings
        return Smoother(normalized_adjacency(W), chosen.max_iter, chosen.tol, self.tell)


@dataclass(frozen=True)
class _Hidden:
    """Labels of some rows while others are hidden.

    Parameters
    ----------
    labels
        All of them.
    P
        ndarray of shape (n_labels, n_classes): what models say that have seen neither the row nor
        any hidden one; NaN where there are none.
    hidden
        ndarray of shape (n_labels,).
    """

    labels: Labels
    P: NDArray[np.float64]
    hidden: NDArray[np.bool_]

    @property
    def known(self) -> Labels:
        """The labels that are not hidden."""
        return Labels(self.labels.nodes[~self.hidden], self.labels.codes[~self.hidden])

    @property
    def residuals(self) -> NDArray[np.float64]:
        """What is missing in the probabilities of the known ones."""
        missing = np.eye(self.P.shape[1])[self.labels.codes] - self.P
        known: NDArray[np.float64] = np.nan_to_num(missing, nan=0.0)[~self.hidden]
        return known


@dataclass(frozen=True)
class _Solving:
    """The same graph with all labels, and with those of each fold hidden.

    Parameters
    ----------
    smoother, graph
        How, and over what.
    votes
        ndarray of shape (n_tasks, n_nodes, n_classes), rows in the order of their ids.
    tasks
        With all labels, and with each fold hidden.
    """

    smoother: Smoother
    graph: NeighborGraph
    votes: NDArray[np.float32]
    tasks: tuple[_Hidden, ...]

    def solved(self, number: int, strength: Strength | None) -> NDArray[np.float32]:
        """Return the probabilities of all rows in the order of their ids; None: the committee's."""
        if strength is None:
            of_committee: NDArray[np.float32] = self.votes[number]
            return of_committee
        P = self._smooth(number, self._spread(number), strength)
        return self.graph.by_id(P.astype(np.float32))

    def out_of_fold(
        self, strengths: Sequence[Strength], folds: NDArray[np.int32]
    ) -> list[NDArray[np.float64]]:
        """Return the scores of labeled rows, each with its fold hidden, by each strength."""
        n_classes = self.votes.shape[2]
        tried = [np.full((len(folds), n_classes), np.nan) for _ in strengths]
        for number, task in enumerate(self.tasks[1:], start=1):
            nodes, spread = task.labels.nodes[task.hidden], self._spread(number)
            for P, strength in zip(tried, strengths, strict=True):
                of_fold = self._smooth(number, spread, strength)[nodes]
                P[task.hidden] = of_fold.astype(np.float32)  # as models have them
        return tried

    def _spread(self, number: int) -> Spread:
        task = self.tasks[number]
        return self.smoother.spread(task.known, task.residuals)

    def _smooth(self, number: int, spread: Spread, strength: Strength) -> NDArray[np.float64]:
        P = self.votes[number].astype(np.float64)
        by_node = means_of_nodes(P, self.graph.node_of, self.graph.n_nodes)
        return self.smoother.smooth(by_node, spread, strength)


def _members(
    voted: CrossFit, P: NDArray[np.float64], codes: NDArray[np.int32], strength: Strength | None
) -> tuple[MemberScore, ...]:
    """Return how the members do, and what the graph has made of their vote."""
    share = 0.0 if strength is None else strength.smooth
    others = [replace(score, weight=(1 - share) * score.weight) for score in voted.members]
    return (*others, member_score(share, P[voted.held_out], codes[voted.held_out]))


def _settled(strength: Strength | None) -> dict[str, float | bool]:
    if strength is None:
        return {"smooth": 0.0}
    return {"smooth": strength.smooth, "scaled": strength.scaled}
