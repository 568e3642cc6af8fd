"""``status`` while a run goes on, when it is stopped, and after its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.output.report import read_report
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.store import RoundStore
from tests.store.builders import IDENTITY, add_model, begin, decided, ended, frozen

N_GIVEN, N_POOL = 2, 10


def begun(root: Path, *, relabel: bool = False, n_rounds: int = 2) -> RoundStore:
    """Commit rounds that accept three rows, reject six and can't score one."""
    identity = {**IDENTITY, "rounds": {"relabel": relabel}}
    store = begin(root, identity=identity, inputs=frozen(rows=N_POOL))
    left = {"candidates": 10, "rejected": 6, "invalid": 1, "accepted_by_code": (1, 2)}
    for number in range(1, n_rounds + 1):
        add_model(store)
        attempt = store.new_attempt("round", number)
        store.commit_round(attempt, decided(3, **left))
    return store


def test_a_run_without_an_end_is_resumable_and_running_while_it_is_held(tmp_path: Path) -> None:
    store = begun(tmp_path)
    status = read_status(str(tmp_path))
    assert (status.state, status.best_round, status.lease) == ("resumable", None, None)
    assert [each.used for each in status.rounds] == [None, None]
    assert status.rounds[0].accepted_by_class == {"false": 1, "true": 2}
    with hold(store.files, store.root, "test"):
        running = read_status(str(tmp_path))
    assert running.state == "running"
    assert running.lease is not None
    with pytest.raises(InputError, match="It has 2 committed rounds and no end"):
        read_report(str(tmp_path))


@pytest.mark.parametrize(
    ("relabel", "best_round", "accepted"),
    [(False, None, 6), (False, 1, 3), (False, 0, 0), (True, None, 3), (True, 2, 3)],
)
def test_rows_are_counted_as_the_used_rounds_left_them(
    tmp_path: Path, relabel: bool, best_round: int | None, accepted: int
) -> None:
    store = begun(tmp_path, relabel=relabel)
    if best_round is not None:
        add_model(store)
        attempt = store.new_attempt("final", 2)
        store.commit_final(attempt, ended(best_round))
    status = read_status(str(tmp_path))
    counters = status.counters
    assert (counters.HumanLabeled, counters.MachineLabeled) == (N_GIVEN, accepted)
    assert counters.TotalLabeled == N_GIVEN + accepted
    assert counters.Unlabeled == N_POOL - accepted - counters.FailedNonRetryableError
    if best_round is not None:
        assert [each.used for each in status.rounds] == [best_round >= 1, best_round >= 2]


def test_a_secret_in_the_outputs_name_is_not_shown(tmp_path: Path) -> None:
    root = tmp_path / "out?sig=hunter"
    begun(root, n_rounds=1)
    assert read_status(str(root)).output == f"{tmp_path}/out?sig=(secret)"
