from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.counts import Counts
from spark_pseudolabel.core.weights import PseudoWeights, moments, softmatch

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


def test_softmatch_takes_mean_and_spread_from_the_pool() -> None:
    assert moments(POOL) == pytest.approx((0.7005, 0.2))
    expected = softmatch(CONFIDENCE, 0.7005, 0.2)
    assert (PseudoWeights("softmatch").of(CONFIDENCE, POOL, 10) == expected).all()
    assert expected[0] == 1.0 > expected[1]


def test_no_rows_weigh_nothing() -> None:
    nothing = Counts.from_rows(2, [])
    assert PseudoWeights("softmatch", ratio=1.0).of(np.array([]), nothing, 10).size == 0
