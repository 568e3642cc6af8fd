from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spark_pseudolabel.errors import (
    InputError,
    OutputBusyError,
    RunFailedError,
    StoredStateError,
)
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.manifest import Artifact
from spark_pseudolabel.store.store import RoundStore
from tests.store.builders import (
    IDENTITY,
    INPUTS,
    VIEWS,
    FlakyFiles,
    add_model,
    add_round,
    begin,
    commit_path,
    decided,
    edit_json,
    ended,
    finish,
    fitted,
    frozen,
    go_on,
    kill_at,
    tiny_model,
    tree,
    two_rounds,
    write_rows,
)


def _open(root: Path) -> RoundStore:
    return RoundStore.open(LocalFiles(), str(root))


# Beginning and continuing


@pytest.mark.parametrize("existing", [[], ["empty"], ["_runs/1/config.json"], [".hidden"]])
def test_a_run_begins_where_nothing_of_others_is(tmp_path: Path, existing: list[str]) -> None:
    out = tmp_path / "out"
    for name in existing:
        target = out if name == "empty" else out / name
        target.mkdir(parents=True)
    store = begin(out)
    assert (store.models, store.rounds, store.final) == ((), (), None)
    assert (out / "README.txt").exists()


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(InputError, match=r"thesis\.doc") as caught:
        begin(tmp_path)
    assert caught.value.code == "output_not_empty"
    assert os.listdir(tmp_path) == ["thesis.doc"]


def test_an_output_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        begin(tmp_path / "out")


def test_an_output_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> bool:
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr(LocalFiles, "put_if_absent", read_only)
    with pytest.raises(InputError, match="must be writable") as caught:
        begin(tmp_path)
    assert caught.value.code == "output_not_writable"


def test_beginning_again_continues_the_same_run(tmp_path: Path) -> None:
    first, second = begin(tmp_path), begin(tmp_path)
    assert (first.run_id, first.output_id) == (second.run_id, second.output_id)
    assert (second.identity, second.inputs) == (IDENTITY, INPUTS)


def test_racing_starts_become_one_run(tmp_path: Path) -> None:
    barrier, runs = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        runs.append(begin(tmp_path / "out").run_id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 8
    assert len(set(runs)) == 1


@pytest.mark.parametrize(
    ("identity", "key", "said"),
    [
        (
            {"id": "row_id", "selection": {"policy": "threshold", "threshold": 0.8}},
            "selection.threshold",
            "0.9 there and 0.8 now",
        ),
        (
            {"id": "other", "selection": {"policy": "k_best", "k": 3}},
            "id",
            "'row_id' there and 'other' now",
        ),
        ({"id": "row_id"}, "selection", "absent now"),
        (IDENTITY | {"extra": True}, "extra", "absent there and True now"),
        (IDENTITY | {"id": None}, "id", "None now"),
    ],
)
def test_another_configuration_is_refused_by_its_first_difference(
    tmp_path: Path, identity: dict[str, Any], key: str, said: str
) -> None:
    begin(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        begin(tmp_path, identity=identity)
    assert (caught.value.code, caught.value.where) == ("other_run", key)


def test_a_key_that_is_new_and_null_is_no_difference(tmp_path: Path) -> None:
    first = begin(tmp_path)
    selection = IDENTITY["selection"] | {"stable_under": None}
    again = begin(tmp_path, identity=IDENTITY | {"later": None, "selection": selection})
    assert again.run_id == first.run_id


@pytest.mark.parametrize(
    ("files", "file"),
    [
        ([("part-0.parquet", 11, 1)], "part-0.parquet.bytes"),
        ([], "part-0.parquet"),
        ([("a.parquet", 1, 1), ("part-0.parquet", 10, 1)], "files.a.parquet"),
    ],
)
def test_changed_inputs_are_refused_by_file(
    tmp_path: Path, files: list[tuple[str, int, int]], file: str
) -> None:
    begin(tmp_path)
    with pytest.raises(InputError, match=file) as caught:
        begin(tmp_path, inputs=frozen(*files))
    assert caught.value.code == "inputs_changed"


def test_a_table_written_again_with_the_same_rows_is_the_same_input(tmp_path: Path) -> None:
    begin(tmp_path, inputs=frozen(seen=1))
    begin(tmp_path, inputs=frozen(seen=2))


def test_a_file_that_a_worker_wrote_and_the_driver_does_not_see_is_named(tmp_path: Path) -> None:
    store = begin(tmp_path)
    attempt = store.new_attempt("round", 1)
    write_rows(Path(attempt.path) / "scored", 0, 2, "a.parquet")
    with pytest.raises(RunFailedError, match=r"scored/b\.parquet must be there") as caught:
        store.entries(attempt, "scored", rows={"a.parquet": 2, "b.parquet": 3})
    assert caught.value.code == "file_not_seen"


def test_numbers_and_tuples_compare_as_json_has_them(tmp_path: Path) -> None:
    begin(tmp_path, identity={"columns": ("a", "b"), "n": 1})
    begin(tmp_path, identity={"columns": ["a", "b"], "n": 1})
    with pytest.raises(InputError, match="1 there and True now"):
        begin(tmp_path, identity={"columns": ["a", "b"], "n": True})


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    edit_json(tmp_path / "_layout.json", layout=2)
    for again in (begin, _open):
        with pytest.raises(StoredStateError, match="layout 2"):
            again(tmp_path)


def test_opening_needs_a_run(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError) as caught:
            _open(root)
        assert caught.value.code == "no_run"


def test_manifests_without_a_layout_file_are_not_overlooked(tmp_path: Path) -> None:
    add_model(begin(tmp_path))
    (tmp_path / "_layout.json").unlink()
    with pytest.raises(StoredStateError, match=r"no _layout\.json"):
        begin(tmp_path)


def test_a_run_id_that_leaves_the_output_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    edit_json(tmp_path / "_layout.json", run_id="../../elsewhere")
    with pytest.raises(StoredStateError, match="run_id"):
        _open(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "inputs.json"])
@pytest.mark.parametrize("how", ["edited", "gone"])
def test_frozen_files_are_checked(tmp_path: Path, name: str, how: str) -> None:
    store = begin(tmp_path)
    path = tmp_path / "_runs" / store.run_id / name
    path.unlink() if how == "gone" else edit_json(path, edited=1)
    with pytest.raises(StoredStateError, match=name):
        _open(tmp_path)


# Committing


def test_history_reads_back_as_it_was_committed(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    again = begin(tmp_path)
    assert again.history == store.history
    assert [m.number for m in again.models] == [1, 2, 3]
    assert [r.number for r in again.rounds] == [1, 2]
    assert (again.round(2), again.round(3), again.model(0)) == (again.rounds[1], None, None)


def test_each_manifest_names_the_one_before_it(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    assert store.final is not None
    parents = [m.prev.name if m.prev else None for m in (*store.models, *store.rounds, store.final)]
    assert parents == [
        None,
        "round-0001.json",
        "round-0002.json",
        "model-0001.json",
        "model-0002.json",
        "model-0003.json",
    ]


def test_steps_are_committed_in_order_only(tmp_path: Path) -> None:
    store = begin(tmp_path)
    artifact = Artifact(path="_attempts/m", bytes=1, sha256="0" * 64, estimator="none")
    commits: list[Callable[[], object]] = [
        lambda: store.commit_round(store.new_attempt("round", 1), decided(1)),
        lambda: store.commit_model(store.new_attempt("model", 2), fitted(artifact)),
        lambda: store.commit_final(store.new_attempt("final", 0), ended(0)),
    ]
    for commit in commits:
        with pytest.raises(ValueError, match="next is model 1"):
            commit()
    add_model(store)
    with pytest.raises(ValueError, match="next is round 1"):
        add_model(store)


def test_a_raised_maximum_continues_behind_an_end(tmp_path: Path) -> None:
    two_rounds(tmp_path)
    store = begin(tmp_path)
    add_round(store)
    assert store.final is not None
    assert store.final.number == 2
    add_model(store)
    finish(store)
    again = begin(tmp_path)
    assert [final.number for final in again.history.finals] == [2, 3]
    assert again.final is not None
    assert again.final.number == 3


def test_no_rounds_at_all_is_a_finished_run(tmp_path: Path) -> None:
    store = begin(tmp_path)
    add_model(store)
    finish(store)
    final = begin(tmp_path).final
    assert final is not None
    assert (final.number, final.final_model) == (0, 1)


def test_a_slot_taken_meanwhile_is_lost_and_nothing_is_deleted(tmp_path: Path) -> None:
    begin(tmp_path)
    first, second = begin(tmp_path), begin(tmp_path)
    add_model(first)
    before = tree(tmp_path)
    with pytest.raises(OutputBusyError, match=r"model-0001\.json"):
        add_model(second)
    assert before.items() <= tree(tmp_path).items()
    assert begin(tmp_path).models == first.models


def test_racing_commits_have_one_winner(tmp_path: Path) -> None:
    stores = [begin(tmp_path) for _ in range(8)]
    barrier, outcomes = threading.Barrier(8), []

    def race(store: RoundStore) -> None:
        barrier.wait()
        try:
            outcomes.append(add_model(store).commit_id)
        except OutputBusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=race, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("busy") == 7
    assert begin(tmp_path).models[0].commit_id in outcomes


def test_a_lost_answer_does_not_lose_a_round(tmp_path: Path) -> None:
    files = FlakyFiles()
    store = RoundStore.begin(files, str(tmp_path), IDENTITY, INPUTS, "0.1.0")
    add_model(store)

    def lose_answer(path: str, data: bytes) -> bool:
        LocalFiles().put_if_absent(path, data)
        raise TimeoutError("no answer")

    files.on_put = lose_answer
    add_round(store)
    assert begin(tmp_path).rounds == store.rounds


def test_a_manifest_is_not_published_before_its_files(tmp_path: Path) -> None:
    store = begin(tmp_path)
    attempt = store.new_attempt("model", 1)
    artifact = store.write_model(attempt, tiny_model())
    Path(attempt.path, "model.skops").unlink()
    with pytest.raises(StoredStateError, match=r"model\.skops is gone"):
        store.commit_model(attempt, fitted(artifact))
    assert not commit_path(store, "model-0001.json").exists()


def test_a_full_disk_while_writing_a_model_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = begin(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RunFailedError, match="no space left"):
            add_model(store)
    add_model(begin(tmp_path))


def test_entries_name_data_files_with_rows_and_leave_out_what_spark_hides(tmp_path: Path) -> None:
    store = begin(tmp_path)
    attempt = store.new_attempt("round", 1)
    folder = Path(attempt.path) / "accepted"
    write_rows(folder, 0, 3)
    for name in ("_SUCCESS", ".part-0.parquet.crc", "_temporary/0/part-9.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (entry,) = store.entries(attempt, "accepted")
    assert entry.path == f"{attempt.rel}/accepted/part-0.parquet"
    assert (entry.rows, entry.bytes) == (3, (folder / "part-0.parquet").stat().st_size)
    assert store.entries(attempt, "nothing") == ()


def test_a_committed_model_predicts_the_same_bits(tmp_path: Path) -> None:
    store = begin(tmp_path)
    add_model(store)
    X = [[0.5], [2.5], [9.0]]
    loaded = begin(tmp_path).load_model(1)
    assert np.array_equal(loaded.predict_proba(X), tiny_model().predict_proba(X))


def test_a_model_may_be_committed_again_with_the_bytes_of_the_one_before(tmp_path: Path) -> None:
    store = begin(tmp_path)
    first = add_model(store)
    add_round(store)
    second = store.commit_model(
        store.new_attempt("model", 2),
        fitted(first.artifact, first.classes, first.label_type),
    )
    assert second.artifact == first.artifact
    assert begin(tmp_path).load_model(2).C == 1.0


def test_an_uncommitted_model_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(StoredStateError, match="must be committed"):
        begin(tmp_path).load_model(1)


# Damage; see also test_damage.py


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(two_rounds(tmp_path_factory.mktemp("whole")).root)


def test_a_swapped_model_is_refused_when_it_is_loaded(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    store = _open(out)
    path = out / store.models[0].artifact.path
    path.write_bytes(bytes(reversed(path.read_bytes())))
    with pytest.raises(StoredStateError, match="sha256"):
        begin(out).load_model(1)


def test_strays_of_killed_attempts_and_temporary_files_do_not_matter(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    store = _open(out)
    write_rows(Path(store.new_attempt("round", 2).path) / "accepted", 0, 5)
    commit_path(store, ".round-0003.json.0123.tmp").write_bytes(b"{")
    assert begin(out).history == store.history


# Kills

KILLS = {
    "model.publish.tmp": (0, 0),
    "model.publish.done": (1, 0),
    "round.publish.tmp": (1, 0),
    "round.publish.done": (1, 1),
    "model.publish.tmp:3": (2, 2),
    "final.publish.tmp": (3, 2),
    "final.publish.done": (3, 2),
    "view.swap.tmp": (3, 2),
    "view.swap.done": (3, 2),
}


@pytest.mark.parametrize("armed", KILLS)
def test_a_kill_leaves_the_state_before_or_after_a_step(tmp_path: Path, armed: str) -> None:
    out = tmp_path / "out"
    assert kill_at(armed, out) == -signal.SIGKILL
    found = begin(out)
    assert (len(found.models), len(found.rounds)) == KILLS[armed]
    ended = go_on(out)
    assert (len(ended.models), len(ended.rounds)) == (3, 2)
    assert ended.models[: len(found.models)] == found.models
    assert all(ended.view_is_current(name) for name in VIEWS)


def test_a_pool_that_only_grew_is_told_how_it_can_go_on(tmp_path: Path) -> None:
    begin(tmp_path)
    more = frozen(("a.parquet", 1, 1), ("part-0.parquet", 10, 1), rows=3)
    with pytest.raises(InputError, match=r"has grown.*a\.parquet.*--incremental") as caught:
        begin(tmp_path, inputs=more)
    assert caught.value.code == "inputs_changed"
