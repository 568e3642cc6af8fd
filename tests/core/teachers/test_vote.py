from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from spark_pseudolabel.core.teachers.vote import PRIOR_ROWS, mixture_weights, vote_weights


def said(codes: np.ndarray, right: float, sure: float, n_classes: int, seed: int) -> np.ndarray:
    """Return probabilities of a member that is so often right and gives so much to its choice."""
    chance = np.random.default_rng(seed)
    wrong = (codes + chance.integers(1, n_classes, len(codes))) % n_classes
    choice = np.where(chance.random(len(codes)) < right, codes, wrong)
    P = np.full((len(codes), n_classes), (1 - sure) / (n_classes - 1))
    P[np.arange(len(codes)), choice] = sure
    return P


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(9).integers(0, 10, 400)


def test_better_member_weighs_more(codes: np.ndarray) -> None:
    good, poor = (said(codes, right, 0.5, 10, k) for k, right in enumerate((0.9, 0.6)))
    weights = vote_weights(np.stack([good, poor, poor]), codes)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.7
    assert weights[1] == pytest.approx(weights[2])


def test_quiet_member_that_is_right_outvotes_a_loud_one(codes: np.ndarray) -> None:
    quiet, loud = said(codes, 0.9, 0.25, 10, 0), said(codes, 0.7, 0.95, 10, 1)
    weights = vote_weights(np.stack([quiet, loud]), codes)
    vote, equal = np.tensordot(weights, [quiet, loud], 1), (quiet + loud) / 2
    assert (equal.argmax(axis=1) == codes).mean() < 0.8
    assert (vote.argmax(axis=1) == codes).mean() > 0.85


def test_how_little_a_member_dares_changes_nothing_about_its_say() -> None:
    chance = np.random.default_rng(4)
    two = (chance.random(200) < 0.5).astype(np.int32)
    evidence = 2.0 * (2 * two - 1) + chance.normal(0, 2, (2, 200))

    def say(scale: float) -> float:
        P = expit(np.stack([evidence[0] * scale, evidence[1]])[..., np.newaxis] * [-1, 1])
        parts = vote_weights(P, two) * np.abs(P - 0.5).mean(axis=(1, 2))
        return float(parts[0] / parts.sum())

    assert [say(0.1), say(0.01)] == pytest.approx([say(1.0)] * 2, abs=0.03)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_rows_leave_the_mixture_nearly_equal(n: int) -> None:
    weights = mixture_weights(np.array([[0.9, 0.0]] * n).reshape(n, 2))
    assert 0.5 <= weights[0] <= (PRIOR_ROWS + n) / (2 * PRIOR_ROWS + n) + 1e-9


def test_mixture_finds_the_shares_that_rows_were_drawn_with() -> None:
    chance = np.random.default_rng(0)
    of_first = chance.random(20_000) < 0.7
    p_true = np.where(of_first[:, np.newaxis], [0.9, 0.1], [0.1, 0.9])
    drawn = chance.random(20_000)[:, np.newaxis] < 0.9
    p_true = np.where(drawn, p_true, 1 - p_true)
    assert mixture_weights(p_true)[0] == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize(
    "P", [np.full((2, 6, 3), 1 / 3), np.eye(3)[[0, 1, 2] * 2][None].repeat(2, 0)]
)
def test_members_that_say_the_same_weigh_the_same(P: np.ndarray) -> None:
    weights = vote_weights(P, np.array([0, 1, 2, 0, 1, 2]))
    assert weights == pytest.approx([0.5, 0.5])


def test_members_that_are_always_wrong_keep_a_weight() -> None:
    P = np.eye(3)[[[1, 2, 0] * 2, [0, 1, 2] * 2]]
    weights = vote_weights(P, np.array([0, 1, 2, 0, 1, 2]))
    assert np.isfinite(weights).all()
    assert 0 < weights[0] < weights[1]
