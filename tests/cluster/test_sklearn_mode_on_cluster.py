"""``mode: sklearn`` is scikit-learn's loop on a cluster of two workers, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.driver import Driver
from tests.runs.sklearn_cases import CLUSTER_CASES, Case, assert_same

# One forest less than there are: each case costs seconds, and these cover both criteria on four
# data sets by seven estimators.
CASES = [case for case in CLUSTER_CASES if case.name != "forest-wine-threshold-strings-1-round"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_result_is_that_of_scikit_learn(
    case: Case, driver_of: Callable[[str], Driver], tmp_path: Path
) -> None:
    assert_same(driver_of("standalone").sklearn_case(case, tmp_path / "case"))
