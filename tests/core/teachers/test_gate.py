import numpy as np

from spark_pseudolabel.core.teachers.gate import SURE, gain, gated_weights, voted
from spark_pseudolabel.core.teachers.vote import vote_weights


def votes(n_rows: int, right: tuple[float, ...], seed: int = 0):
    """Members that are right on so many rows, each on others, at a confidence of 0.8."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(3, size=n_rows).astype(np.int32)
    P = np.full((len(right), n_rows, 3), 0.1)
    for member, share in enumerate(right):
        said = np.where(draw.random(n_rows) < share, codes, (codes + 1) % 3)
        P[member, np.arange(n_rows), said] = 0.8
    return P, codes, (np.arange(n_rows) % 4).astype(np.int32)


def test_a_member_that_knows_something_new_gets_the_weight_it_earns() -> None:
    P, codes, folds = votes(200, (0.7, 0.7, 0.9))
    assert gain(P, codes, folds) > SURE
    assert np.array_equal(gated_weights(P, codes, folds), vote_weights(P, codes))


def test_a_member_that_guesses_gets_none_and_the_others_vote_as_without_it() -> None:
    for seed in range(10):
        P, codes, folds = votes(200, (0.8, 0.8, 0.33), seed)
        weights = gated_weights(P, codes, folds)
        assert weights[-1] == 0
        assert np.array_equal(weights[:-1], vote_weights(P[:-1], codes))


def test_being_less_sure_is_not_being_worse() -> None:
    P, codes, folds = votes(200, (0.7, 0.7, 0.9))
    P[-1] = 1 / 3 + (P[-1] - 1 / 3) / 5
    assert gain(P, codes, folds) > SURE


def test_rows_in_one_fold_say_nothing() -> None:
    P, codes, folds = votes(40, (0.7, 0.9))
    assert gain(P, codes, np.zeros_like(folds)) == 0
    assert gain(P[:, :0], codes[:0], folds[:0]) == 0


def test_a_vote_is_of_those_that_speak() -> None:
    P = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.0, 0.0]]])
    assert np.allclose(voted(P, np.array([0.5, 0.5])), [[0.7, 0.3], [0.2, 0.8]])
