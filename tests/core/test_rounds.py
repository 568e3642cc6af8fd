from __future__ import annotations

import pytest

from spark_pseudolabel.core.rounds import (
    Finish,
    FitModel,
    LoopLimits,
    ModelFacts,
    RoundFacts,
    ScoreRound,
    Step,
    best_model,
    next_step,
)


def models(*accuracies: float | None, dropped: bool = False) -> list[ModelFacts]:
    """Number models from 1; the last one may be worse than the best before it."""
    facts = [ModelFacts(i, accuracy, 0.5) for i, accuracy in enumerate(accuracies, 1)]
    return [*facts[:-1], ModelFacts(len(facts), accuracies[-1], 0.5, dropped)]


def rounds(*accepted_rejected: tuple[int, int]) -> list[RoundFacts]:
    return [
        RoundFacts(i, accepted, rejected, changed=accepted > 0)
        for i, (accepted, rejected) in enumerate(accepted_rejected, 1)
    ]


TEN = LoopLimits(max_rounds=10, pool=9)
NO_LIMIT = LoopLimits(max_rounds=None, pool=9)
ZERO = LoopLimits(max_rounds=0, pool=9)
ONE = LoopLimits(max_rounds=1, pool=9)
EMPTY = LoopLimits(max_rounds=10, pool=0)
LIKE_SKLEARN = LoopLimits(max_rounds=1, pool=9, like_sklearn=True)
KEEP_BEST = LoopLimits(max_rounds=2, pool=9, keep_best=True)


@pytest.mark.parametrize(
    ("committed", "done", "limits", "step"),
    [
        ([], [], TEN, FitModel(1)),
        (models(0.8), [], TEN, ScoreRound(1)),
        (models(0.8), rounds((4, 5)), TEN, FitModel(2)),
        (models(0.8, 0.9), rounds((4, 5)), TEN, ScoreRound(2)),
        (models(0.8, 0.9), rounds((4, 5)), NO_LIMIT, ScoreRound(2)),
        (models(0.8, 0.9), rounds((9, 0)), TEN, Finish("all_labeled", 1, 1)),
        (models(0.8, 0.8), rounds((0, 9)), TEN, Finish("no_change", 1, 1)),
        (models(0.8, 0.8), rounds((0, 9)), NO_LIMIT, Finish("no_change", 1, 1)),
        (models(0.8, 0.9), rounds((4, 5)), ONE, Finish("max_iter", 1, 1)),
        # Nothing left but rows that could not be scored.
        (models(0.8, 0.8), rounds((0, 0)), TEN, Finish("all_labeled", 1, 1)),
        # The seed alone.
        (models(0.8), [], ZERO, Finish("max_iter", 0, 0)),
        (models(0.8), [], EMPTY, Finish("all_labeled", 0, 0)),
        (models(None), [], ZERO, Finish("max_iter", 0, 0)),
        # scikit-learn: the maximum hides "no change", and "all labeled" hides both.
        (models(None, None), rounds((0, 9)), ONE, Finish("no_change", 1, 1)),
        (models(None, None), rounds((0, 9)), LIKE_SKLEARN, Finish("max_iter", 1, 1)),
        (models(None, None), rounds((9, 0)), LIKE_SKLEARN, Finish("all_labeled", 1, 1)),
        # A drop takes back what came after the best model.
        (
            models(0.8, 0.9, 0.7, dropped=True),
            rounds((2, 7), (3, 4)),
            TEN,
            Finish("validation_drop", 2, 1),
        ),
        (models(0.8, 0.5, dropped=True), rounds((9, 0)), TEN, Finish("validation_drop", 1, 0)),
        (models(0.8, 0.5, dropped=True), rounds((4, 5)), ONE, Finish("validation_drop", 1, 0)),
        # Without a drop the last round counts, though an earlier one may be a little better.
        (models(0.8, 0.9, 0.89), rounds((5, 4), (4, 0)), TEN, Finish("all_labeled", 2, 2)),
        # A curriculum goes through all rounds and keeps the best.
        (models(0.8, 0.5, dropped=True), rounds((4, 5)), KEEP_BEST, ScoreRound(2)),
        (
            models(0.8, 0.9, 0.7, dropped=True),
            rounds((4, 5), (9, 0)),
            KEEP_BEST,
            Finish("all_labeled", 2, 1),
        ),
        # In a small pool two shares may be the same rows; the next one is larger.
        (models(0.8, 0.8), [RoundFacts(1, 1, 2, changed=False)], KEEP_BEST, ScoreRound(2)),
    ],
)
def test_next_step(
    committed: list[ModelFacts], done: list[RoundFacts], limits: LoopLimits, step: Step
) -> None:
    assert next_step(committed, done, limits) == step


def test_raised_maximum_goes_on() -> None:
    facts, done = models(0.8, 0.9), rounds((4, 5))
    assert next_step(facts, done, ONE) == Finish("max_iter", 1, 1)
    assert next_step(facts, done, TEN) == ScoreRound(2)


@pytest.mark.parametrize(
    ("facts", "best"),
    [
        ([ModelFacts(1, 0.8), ModelFacts(2, 0.9), ModelFacts(3, 0.85)], 2),
        ([ModelFacts(1, 0.9, 0.30), ModelFacts(2, 0.9, 0.25)], 2),
        ([ModelFacts(1, 0.9, 0.25), ModelFacts(2, 0.9, 0.25)], 1),
        ([ModelFacts(1, 0.9, 0.10), ModelFacts(2, 0.91, 0.90)], 2),
        ([ModelFacts(i, 0.5, error=e) for i, e in enumerate((3.0, 2.0, 2.0), 1)], 2),
        ([ModelFacts(1), ModelFacts(2)], 2),
    ],
)
def test_best_model_by_accuracy_then_log_loss_then_first(
    facts: list[ModelFacts], best: int
) -> None:
    assert best_model(facts).number == best


def test_a_shift_stops_before_anything_is_scored_where_it_is_to() -> None:
    stops = LoopLimits(max_rounds=3, pool=5, stop_on_shift=True)
    shifted = ModelFacts(1, shifted=True)
    assert next_step([shifted], [], stops) == Finish("shift", n_iter=0, best_round=0)
    assert next_step([ModelFacts(1)], [], stops) == ScoreRound(1)
    assert next_step([shifted], [], LoopLimits(max_rounds=3, pool=5)) == ScoreRound(1)
