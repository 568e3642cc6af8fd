"""What is fetched to learn from, and what a round must have stored."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spark_pseudolabel.core.facts import ReferenceRows
from spark_pseudolabel.errors import InputError, RunFailedError, StoredStateError
from spark_pseudolabel.job.models import Models
from spark_pseudolabel.job.out_of_fold import oof_metrics
from spark_pseudolabel.job.score import require_stored
from spark_pseudolabel.job.training import DriverTrainer
from spark_pseudolabel.store.manifest import FileEntry
from tests.store.builders import counts_of


def test_committed_rows_that_are_not_there_end_a_run() -> None:
    asked = []

    def fetch(rounds: Any, limits: Any, kind: str) -> None:
        asked.append(limits)

    labeled = SimpleNamespace(num_rows=10)
    setting: Any = SimpleNamespace(learned_rows="accepted", inputs=SimpleNamespace(labeled=labeled))
    pool: Any = SimpleNamespace(fetch=fetch)
    store: Any = SimpleNamespace(root="out")
    rounds: Any = [SimpleNamespace(counts=counts_of(accepted_by_code=(40, 60)))]
    with pytest.raises(StoredStateError, match="must hold 100 accepted rows of the pool"):
        DriverTrainer(setting, store, pool).pool_rows(rounds, max_rows=30)
    assert asked[-1] == [2**63 - 1] * 2  # every row there could be


@pytest.mark.parametrize(("accepted", "taught"), [(4, 3), (5, 2)])
def test_a_round_whose_files_hold_other_rows_is_not_committed(accepted: int, taught: int) -> None:
    def entries(*rows: int) -> list[FileEntry]:
        return [FileEntry(path=f"_attempts/{n}", bytes=1, rows=n) for n in rows]

    counts = counts_of(candidates=9, accepted=5, taught_by_code=(1, 2))
    files = {"scored": entries(4, 5), "accepted": entries(accepted), "taught": entries(taught)}
    with pytest.raises(RunFailedError, match="Nothing was committed"):
        require_stored(1, files, counts)
    require_stored(1, files | {"accepted": entries(5), "taught": entries(3)}, counts)


def test_a_pool_that_gives_other_rows_than_model_1_learned_from_is_refused() -> None:
    found = SimpleNamespace(n_pool=2, pool_rows=ReferenceRows(2, "b"))
    for kept, alike in ((ReferenceRows(2, "a"), False), (found.pool_rows, True)):
        first = SimpleNamespace(training=SimpleNamespace(reference=kept))
        run: Any = SimpleNamespace(store=SimpleNamespace(models=[first]))
        with nullcontext() if alike else pytest.raises(InputError, match="must give the same rows"):
            Models.require_same(run, found)  # type: ignore[arg-type]


def test_a_labeled_row_that_models_abstain_from_is_not_right() -> None:
    P = np.array([[0.9, 0.1], [0.0, 0.0], [0.2, 0.8]])
    metrics = oof_metrics(np.array([0, 0, 1], dtype=np.int32), P)
    assert (metrics.n, metrics.accuracy) == (3, pytest.approx(2 / 3))
