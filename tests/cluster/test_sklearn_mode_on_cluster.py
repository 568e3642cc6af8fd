"""``mode: sklearn`` is scikit-learn's loop on a cluster of two workers, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.driver import Driver
from tests.runs.sklearn_cases import CLUSTER_CASES, Case, assert_same

# Each costs seconds. These have both criteria, ties at the threshold, and labels that are text.
SHORT = (
    "knn-iris-default",
    "nb-wine-threshold-strings-no-limit",
    "regression-iris-10-best-no-limit",
    "discriminant-breast-cancer-40-best-1-round",
)
CASES = [
    pytest.param(case, id=case.name, marks=() if case.name in SHORT else pytest.mark.long)
    for case in CLUSTER_CASES
]


@pytest.mark.parametrize("case", CASES)
def test_result_is_that_of_scikit_learn(
    case: Case, driver_of: Callable[[str], Driver], tmp_path: Path
) -> None:
    assert_same(driver_of("standalone").sklearn_case(case, tmp_path / "case"))
