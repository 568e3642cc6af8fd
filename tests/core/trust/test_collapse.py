from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core.trust.collapse import collapsed, hardly_better
from spark_pseudolabel.core.trust.metrics import metrics_of_table


@pytest.mark.parametrize(
    ("labeled", "published", "low"),
    [
        ([0.887, 0.113], [37_101, 35], [1]),  # everybody is told no
        ([0.5, 0.5], [60, 40], []),
        ([0.95, 0.05], [989, 11], []),  # a fifth of what was to be expected
        ([0.95, 0.05], [991, 9], [1]),
        ([0.9, 0.1], [90, 0], []),  # nine rows to be expected: too few to tell
        ([0.6, 0.2, 0.2], [1000, 0, 3], [1, 2]),
    ],
)
def test_class_is_collapsed_where_its_rows_are_missing(
    labeled: list[float], published: list[int], low: list[int]
) -> None:
    assert collapsed(labeled, published) == low


def test_model_that_says_one_label_is_hardly_better_than_that_label() -> None:
    always_no = metrics_of_table(np.array([[883, 0, 0], [117, 0, 0], [0, 0, 0]]), 1.0)
    useful = metrics_of_table(np.array([[863, 20, 0], [40, 77, 0], [0, 0, 0]]), 1.0)
    assert always_no.majority == always_no.accuracy == 0.883
    assert hardly_better(always_no.accuracy, always_no.majority)
    assert not hardly_better(useful.accuracy, useful.majority)
    assert not hardly_better(None, None)
    assert not hardly_better(1.0, 1.0)
