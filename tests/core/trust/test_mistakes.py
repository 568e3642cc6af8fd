"""Right and wrong labels by confidence and class."""

from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.trust.mistakes import BINS, MOST_PAIRS, mistakes_of


def test_counts_are_those_of_a_plain_loop() -> None:
    chance = np.random.default_rng(0)
    P = np.round(chance.dirichlet(np.ones(4), 500), 6)
    P[:20], P[20:30] = 0.0, np.nan
    codes = chance.integers(-1, 4, 500)
    found = mistakes_of(codes, P, "oof")
    assert found is not None
    n, right, pairs = [0] * BINS, [0] * BINS, {}
    for code, row in zip(codes, P, strict=True):
        if np.isnan(row).any() or not row.any():
            continue
        predicted = int(row.argmax())
        bin_ = min(BINS - 1, round(row.max() * 1e6) // 10**4)
        n[bin_] += 1
        right[bin_] += predicted == code
        if code >= 0 and predicted != code:
            pairs[int(code), predicted] = pairs.get((int(code), predicted), 0) + 1
    assert (list(found.n), list(found.right)) == (n, right)
    assert {(given, predicted): n for given, predicted, n in found.pairs} == pairs
    assert sum(found.by_code) == sum(codes >= 0) - sum(codes[20:30] >= 0)


def test_the_most_common_mistakes_come_first_and_are_few() -> None:
    chance = np.random.default_rng(1)
    P, codes = chance.dirichlet(np.ones(40), 5_000), chance.integers(0, 40, 5_000)
    found = mistakes_of(codes, P, "validation")
    assert found is not None
    rows = [n for _, _, n in found.pairs]
    assert len(rows) == MOST_PAIRS
    assert rows == sorted(rows, reverse=True)


@pytest.mark.parametrize(("confidence", "bin_"), [(0.29, 29), (0.9, 90), (0.999999, 99), (1.0, 99)])
def test_a_confidence_at_a_bins_edge_is_above_it(confidence: float, bin_: int) -> None:
    found = mistakes_of(np.array([0]), np.array([[confidence, 0.0]]), "oof")
    assert found is not None
    assert found.n[bin_] == 1


def test_without_a_row_there_is_nothing_to_say() -> None:
    assert mistakes_of(np.array([0]), np.array([[np.nan, np.nan]]), "oof") is None
