from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.selection.promised import LADDER
from spark_pseudolabel.core.trust.band import Band
from spark_pseudolabel.core.trust.evidence import Evidence
from spark_pseudolabel.core.trust.ladder import highest, steps


def band_of(codes: tuple[int, ...], wrong_at: dict[int, float]) -> Band:
    """Make a band of 100 rows with so many wrong ones at most among so many of the first."""
    rows = np.array(sorted(wrong_at))
    wrong = np.array([wrong_at[n] for n in sorted(wrong_at)], dtype=float)
    bins = tuple(range(900, 900 - len(rows), -1))
    return Band(codes, bins, rows, wrong, (Evidence(1, 0, 1),) * len(rows), 0.01)


def test_step_is_as_loose_as_the_band_allows() -> None:
    found = steps([band_of((0, 1), {20: 0.0, 50: 4.0, 80: 8.0, 100: 30.0})], 100, 0.2)
    assert [(step.precision, step.rows) for step in found] == list(
        zip(LADDER, (20, 20, 20, 80, 80, 80), strict=True)
    )
    assert all(step.certified and step.share == step.rows / 100 for step in found)


def test_step_has_to_hold_for_enough_rows() -> None:
    one = band_of((0, 1), {20: 0.0, 50: 4.0})
    few = steps([one], 100, 0.21)
    assert [step.certified for step in few] == [False, False, False, True, True, True]
    assert few[0].rows == 20  # what can be shown is told all the same
    assert highest(few) == few[3]
    assert highest(steps([one], 100, 0.2)) == steps([one], 100, 0.2)[0]
    assert highest(steps([one], 1000, 0.2)) is None


def test_no_row_is_never_enough() -> None:
    none = band_of((0, 1), {50: 50.0})
    assert not any(step.certified for step in steps([none], 100, 0.0))
    assert not any(step.certified for step in steps([], 0, 0.2))


def test_classes_take_the_same_step_and_add_up() -> None:
    bands = [band_of((0,), {30: 0.0, 50: 10.0}), band_of((1,), {10: 3.0})]
    found = steps(bands, 100, 0.3)
    assert [(step.rows, step.certified) for step in found] == [(30, True)] * 5 + [(50, True)]
    assert highest(found).precision == pytest.approx(0.99)  # type: ignore[union-attr]
