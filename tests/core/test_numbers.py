"""What a published number is, and when it is right."""

from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.numbers import RIGHT, WRONG, NumberTask, decimals_of

ABSOLUTE = NumberTask(5.0, False, 0.95, True, 0, 20.0)
RELATIVE = NumberTask(0.05, True, 0.95, False, 4, 20.0)


def test_right_is_at_most_the_tolerance_away_on_either_side() -> None:
    y = np.array([10.0, 10.0, 10.0, 10.0])
    right = ABSOLUTE.is_right(y, np.array([15.0, 5.0, 16.0, 4.0]))
    assert right.tolist() == [True, True, False, False]


def test_a_share_is_one_of_the_true_number_whatever_its_sign() -> None:
    y = np.array([100.0, -100.0, -100.0, 0.0, 0.0])
    right = RELATIVE.is_right(y, np.array([105.0, -95.0, -106.0, 0.0, 1e-9]))
    assert right.tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_what_doubles_make_of_a_decimal_decides_nothing(scale: float) -> None:
    task = NumberTask(0.1 * scale, False, 0.95, False, decimals_of(scale), scale)
    y = np.arange(1, 200) / 10 * scale
    assert task.is_right(y, y - 0.1 * scale).all()
    assert not task.is_right(y, y - 0.1001 * scale).any()


def test_a_number_that_is_not_there_is_wrong() -> None:
    codes = ABSOLUTE.codes(np.array([1.0, 1.0]), np.array([np.nan, 2.0]))
    assert codes.tolist() == [WRONG, RIGHT]


@pytest.mark.parametrize("sd", [1e-300, 3e-7, 0.02, 1.0, 12.0, 4e9, 1e300])
def test_a_published_number_is_as_fine_as_a_millionth_of_the_deviation(sd: float) -> None:
    task = NumberTask(sd, False, 0.95, False, decimals_of(sd), sd)
    values = np.random.default_rng(0).normal(0, sd, 100)
    published = task.published(values)
    assert np.isfinite(published).all()
    if 1e-270 < sd < 1e270:
        assert np.abs(published - values).max() <= 0.51e-6 * sd
        assert len(np.unique(published)) == 100


def test_whole_numbers_are_published_whole_and_no_zero_is_negative() -> None:
    published = ABSOLUTE.published(np.array([-0.3, 2.5, 3.5, np.nan]))
    assert published[:3].tolist() == [0.0, 2.0, 4.0]
    assert not np.signbit(published[0])
    assert np.isnan(published[3])
