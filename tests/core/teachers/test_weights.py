from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.teachers.weights import PseudoWeights, moments, softmatch

POOL = Counts.from_rows(2, [(0, 500, 50), (1, 900, 50)])
CONFIDENCE = np.array([0.9, 0.5])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (PseudoWeights(), [1.0, 1.0]),
        (PseudoWeights(0.25), [0.25, 0.25]),
        (PseudoWeights("confidence"), [0.9, 0.5]),
        (PseudoWeights(ratio=0.1), [0.5, 0.5]),  # 10 labeled rows: together at most 1
        (PseudoWeights("confidence", ratio=0.07), [0.45, 0.25]),
        (PseudoWeights("confidence", ratio=3.0), [0.9, 0.5]),
    ],
)
def test_weight_of_each_row_and_of_all(weights: PseudoWeights, expected: list[float]) -> None:
    assert weights.of(CONFIDENCE, POOL, n_labeled=10) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("below", "weight"), [(0.0, 1.0), (0.5, 0.606531), (1.0, 0.135335), (2.0, 0.000335)]
)
def test_softmatch_falls_as_its_reference_code_does(below: float, weight: float) -> None:
    # exp(-d**2 / (2 * std**2 / n_sigma**2)), n_sigma = 2; d in standard deviations.
    found = softmatch(np.array([0.7 - below * 0.1, 0.8]), 0.7, 0.1)
    assert found.tolist() == pytest.approx([weight, 1.0], abs=1e-6)


def test_softmatch_takes_mean_and_spread_from_the_pool() -> None:
    assert moments(POOL) == pytest.approx((0.7005, 0.2))
    expected = softmatch(CONFIDENCE, 0.7005, 0.2)
    assert (PseudoWeights("softmatch").of(CONFIDENCE, POOL, 10) == expected).all()
    assert expected[0] == 1.0 > expected[1]


def test_no_rows_weigh_nothing() -> None:
    nothing = Counts.from_rows(2, [])
    assert PseudoWeights("softmatch", ratio=1.0).of(np.array([]), nothing, 10).size == 0


def test_bound_does_not_depend_on_the_order_of_rows() -> None:
    chance = np.random.default_rng(0)
    confidence = chance.random(1000).round(6)
    rounds = chance.integers(1, 3, 1000).astype(np.int32)
    asked = PseudoWeights("softmatch", ratio=0.3)
    found = asked.settled(confidence, rounds, {1: POOL, 2: POOL + POOL}, 10)
    for _ in range(20):
        order = chance.permutation(1000)
        again = asked.settled(confidence[order], rounds[order], {1: POOL, 2: POOL + POOL}, 10)
        assert again == found
    assert found.of(confidence, rounds).sum() == pytest.approx(3.0)
