from __future__ import annotations

import json

import numpy as np
import pytest

from spark_pseudolabel.core.selection.counts import BINS, Counts, bin_of

COUNTS = Counts.from_rows(2, [(0, 0, 3), (0, 999, 2), (0, 1000, 1), (1, 500, 4), (1, 500, 1)])


def test_rows_of_one_cell_add_up() -> None:
    assert COUNTS.n[1, 500] == 5


def test_totals() -> None:
    assert COUNTS.total == 11
    assert COUNTS.by_class.tolist() == [6, 5]
    assert COUNTS.n.shape == (2, BINS)


def test_manifest_form_holds_occupied_bins_only_and_reads_back() -> None:
    data = COUNTS.to_sparse()
    assert data == {"0": [[0, 3], [999, 2], [1000, 1]], "1": [[500, 5]]}
    assert (Counts.from_sparse(json.loads(json.dumps(data))).n == COUNTS.n).all()


def test_class_without_rows_keeps_its_place() -> None:
    counts = Counts.from_rows(3, [(2, 7, 1)])
    assert Counts.from_sparse(counts.to_sparse()).by_class.tolist() == [0, 0, 1]


def test_coarse_bins_put_certainty_into_the_last() -> None:
    coarse = COUNTS.coarse(10)
    assert coarse.tolist() == [[3, 0, 0, 0, 0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 0, 5, 0, 0, 0, 0]]
    assert COUNTS.coarse(1).ravel().tolist() == [6, 5]


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        (0.0, 0),
        (0.000999, 0),
        (0.001, 1),
        (0.0009999, 1),  # rounded to six decimals first
        (0.3, 300),
        (0.9, 900),
        (0.899999, 899),
        (0.999999, 999),
        (1.0, 1000),
        (1.0000000000000002, 1000),
    ],
)
def test_bin(confidence: float, expected: int) -> None:
    assert bin_of(np.array([confidence])).tolist() == [expected]


def test_bins_ascend_with_raw_confidence() -> None:
    confidences = np.sort(np.random.default_rng(0).random(5000))
    assert (np.diff(bin_of(confidences)) >= 0).all()
