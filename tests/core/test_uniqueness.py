from __future__ import annotations

import numpy as np
import pytest

from spark_pseudolabel.core import uniqueness
from spark_pseudolabel.core.uniqueness import group_count, in_groups, repeated


@pytest.mark.parametrize("n_groups", [1, 2, 3, 97])
def test_every_hash_goes_to_one_group_and_equal_ones_to_the_same(n_groups: int) -> None:
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 5_000, dtype=np.int64)
    hashes = np.concatenate([hashes, hashes[:7], [-1, 0, -(2**63), 2**63 - 1]])
    groups = dict(in_groups(hashes, n_groups))
    together = np.concatenate(list(groups.values()))
    assert np.array_equal(np.sort(hashes.view(np.uint64)), together)
    owners = [set(run.tolist()) for run in groups.values()]
    assert sum(map(len, owners)) == len(set(hashes.tolist()))
    sizes = [len(run) for run in groups.values()]
    assert max(sizes) < 2 * len(hashes) / n_groups + 60


def test_groups_are_as_large_however_many_rows_there_are() -> None:
    for rows in (10**6, 10**9, 10**10):
        assert rows / group_count(rows) <= uniqueness.GROUP_ROWS


def test_repeated_hashes_are_seen_within_a_run_and_between_runs() -> None:
    runs = [np.array(run, dtype=np.uint64) for run in ([1, 4, 2**64 - 1], [2, 2, 4], [3])]
    assert repeated(runs).tolist() == [2, 4]
    assert repeated(runs[2:]).tolist() == repeated([]).tolist() == []
