"""Where a model of numbers errs."""

from __future__ import annotations

import numpy as np

from spark_pseudolabel.core.numbers import NumberTask
from spark_pseudolabel.core.trust.residuals import residuals_of

TASK = NumberTask(1.0, False, 0.9, False, 6, 1.0)


def test_every_row_is_in_one_bin_of_each_kind() -> None:
    draw = np.random.default_rng(0)
    y = draw.normal(size=500)
    value = y + draw.normal(0, 1, 500)
    said = np.column_stack([value, draw.uniform(0, 1, 500), value - 2, value + 2])
    said[:20] = np.nan
    found = residuals_of(y, said, TASK, "oof")
    assert found is not None
    assert sum(of.rows for of in found.by_confidence) == 480
    assert sum(of.right for of in found.by_confidence) == TASK.is_right(y, said[:, 0]).sum()
    assert sum(of.covered for of in found.by_confidence) == (np.abs(y - said[:, 0]) <= 2).sum()
    assert [of.rows for of in found.by_number] == [48] * 10
    predicted = [of.predicted for of in found.by_number]
    assert predicted == sorted(predicted)
    # What looks highest is high by chance, too: true numbers lie nearer to their mean.
    assert found.by_number[-1].true < found.by_number[-1].predicted


def test_nothing_is_said_of_no_row() -> None:
    assert residuals_of(np.zeros(0), np.zeros((0, 4)), TASK, "oof") is None
    assert residuals_of(np.zeros(2), np.full((2, 4), np.nan), TASK, "validation") is None
