"""What comes next: a pure function of what has been committed.

Nothing else decides how a run continues, so that a run which was killed and one which was not take
the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

StopReason = Literal[
    "all_labeled",
    "no_change",
    "max_iter",
    "validation_drop",
    "oof_drop",
    "not_certified",
    "shift",
    "generation",
    "drift",
]

REASONS: Mapping[str, str] = {
    "all_labeled": "every pool row has a label",
    "no_change": "the last round accepted nothing new",
    "max_iter": "all rounds that were asked for are done",
    "validation_drop": "the last round made the model worse on the validation rows",
    "oof_drop": "the student was worse than its teacher on labeled rows it had not seen",
    "not_certified": "the precision asked for could not be certified",
    "shift": "the pool is too unlike the labeled rows",
    "generation": "the finished model has decided the rows that were new",
    "drift": "new rows are too unlike those that the model was made for",
}
"""What each reason to stop means."""


@dataclass(frozen=True)
class ModelFacts:
    """What the loop needs to know of a committed model.

    Parameters
    ----------
    number
        1 for the seed.
    accuracy, log_loss
        On the validation rows; None without validation rows.
    dropped
        Whether it is worse than the best model before it, beyond noise.
    shifted
        Whether the labeled rows, which made it, do not stand for the pool.
    error
        Mean absolute error on the validation rows, where labels are numbers; it decides then.
    """

    number: int
    accuracy: float | None = None
    log_loss: float | None = None
    dropped: bool = False
    shifted: bool = False
    error: float | None = None


@dataclass(frozen=True)
class RoundFacts:
    """What the loop needs to know of a committed round.

    Parameters
    ----------
    number
        1 for the first round.
    accepted, left
        Numbers of candidates.
    changed
        Whether any label was added, or, where rounds relabel, differs from the round before.
    certified
        Whether a certificate could be given; None where none was asked for.
    """

    number: int
    accepted: int
    left: int
    changed: bool
    certified: bool | None = None


@dataclass(frozen=True)
class LoopLimits:
    """How the configuration bounds the loop.

    Parameters
    ----------
    max_rounds
        None for no limit.
    pool
        Number of unlabeled rows.
    keep_best
        Go through all rounds and keep the best, instead of stopping at the first drop.
    like_sklearn
        Name the reason as scikit-learn does: reaching the maximum hides "no change".
    stop_on_shift
        Label nothing where the labeled rows do not stand for the pool.
    needs_graph
        Model 1 knows rows by a graph that they all are in.
    """

    max_rounds: int | None
    pool: int
    keep_best: bool = False
    like_sklearn: bool = False
    stop_on_shift: bool = False
    needs_graph: bool = False


@dataclass(frozen=True)
class BuildGraph:
    """Find the neighbors of all rows and commit the graph next."""


@dataclass(frozen=True)
class FitModel:
    """Train and commit this model next."""

    number: int


@dataclass(frozen=True)
class ScoreRound:
    """Score, plan, apply and commit this round next, with the model of the same number."""

    number: int


@dataclass(frozen=True)
class Finish:
    """End the run.

    Parameters
    ----------
    reason
        Why.
    n_iter
        Rounds that were run.
    best_round
        The last round whose labels are used; its successor is the final model. 0 is the seed.
    """

    reason: StopReason
    n_iter: int
    best_round: int


Step = BuildGraph | FitModel | ScoreRound | Finish


def next_step(
    models: Sequence[ModelFacts],
    rounds: Sequence[RoundFacts],
    limits: LoopLimits,
    *,
    has_graph: bool = False,
) -> Step:
    """Say what a run has to do next.

    Parameters
    ----------
    models, rounds
        What is committed, in order. Model r decides round r, so there are as many models as
        rounds, or one more.
    limits
        What the configuration says.
    has_graph
        Whether the graph is committed, where one is needed.

    Examples
    --------
    >>> limits = LoopLimits(max_rounds=1, pool=5)
    >>> next_step([], [], limits)
    FitModel(number=1)
    >>> next_step([ModelFacts(1)], [], limits)
    ScoreRound(number=1)
    >>> done = [RoundFacts(1, accepted=3, left=2, changed=True)]
    >>> next_step([ModelFacts(1)], done, limits)
    FitModel(number=2)
    >>> next_step([ModelFacts(1), ModelFacts(2)], done, limits)
    Finish(reason='max_iter', n_iter=1, best_round=1)
    """
    if limits.needs_graph and not models and not has_graph:
        return BuildGraph()
    if len(models) == len(rounds):
        return FitModel(len(rounds) + 1)
    reason = stop_reason(models[-1], rounds, limits)
    if reason is None:
        return ScoreRound(len(rounds) + 1)
    falls_back = reason in ("validation_drop", "oof_drop") or limits.keep_best
    best = best_model(models) if falls_back else models[-1]
    return Finish(reason, len(rounds), best.number - 1)


def stop_reason(
    model: ModelFacts, rounds: Sequence[RoundFacts], limits: LoopLimits
) -> StopReason | None:
    """Say why no further round is run, or None when there is to be one."""
    if limits.stop_on_shift and model.shifted and not rounds:
        return "shift"
    at_limit = limits.max_rounds is not None and len(rounds) >= limits.max_rounds
    if model.dropped and not (limits.keep_best and model.accuracy is not None):
        return "validation_drop" if model.accuracy is not None else "oof_drop"
    if rounds and rounds[-1].certified is False:
        return "not_certified"
    if (rounds[-1].left if rounds else limits.pool) == 0:
        return "all_labeled"
    # In a small pool two shares of a curriculum may be the same rows: the next one is larger.
    may_change = limits.keep_best or (limits.like_sklearn and at_limit)
    if rounds and not rounds[-1].changed and not may_change:
        return "no_change"
    return "max_iter" if at_limit else None


def best_model(models: Sequence[ModelFacts]) -> ModelFacts:
    """Return the model with the highest validation accuracy, then the lowest log loss, the first.

    Of models of numbers that with the lowest error, the first. Without validation rows it is the
    last one that did not drop.
    """
    if models[-1].accuracy is None:
        return [model for model in models if not model.dropped][-1]
    if models[-1].error is not None:
        return min(models, key=lambda m: (m.error, m.number))
    return max(models, key=lambda m: (m.accuracy, -(m.log_loss or 0.0), -m.number))
