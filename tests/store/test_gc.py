"""Garbage goes, what a manifest names stays, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from spark_pseudolabel.cli import main
from spark_pseudolabel.errors import InputError, OutputBusyError, StoredStateError
from spark_pseudolabel.store.files import FileInfo, LocalFiles
from spark_pseudolabel.store.gc import Collected, collect, garbage
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.problem import Problem
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.verify import verify
from tests.store.builders import (
    add_model,
    add_round,
    begin,
    commit_path,
    edit_json,
    fitted,
    put_views,
    tree,
    two_rounds,
    write_rows,
)

WEEK_S = 7 * 24 * 60 * 60.0
OLD = time.time() - 2 * WEEK_S
# One for all: tests have the same names in every process that collects them.
ANY = UUID("0b9e6a3c-1f6e-4d0e-9a56-2c1f1c7d9d3e")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run, all of whose files are old."""
    store = two_rounds(tmp_path_factory.mktemp("whole"))
    put_views(store)
    _make_old(Path(store.root))
    return Path(store.root)


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


def _make_old(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD))


def _litter(out: Path) -> dict[str, str]:
    """Leave what crashes leave; return its kind by path."""
    store = RoundStore.open(LocalFiles(), str(out))
    attempts = f"_attempts/{store.run_id}"
    uncommitted = store.new_attempt("round", 2)
    write_rows(Path(uncommitted.path) / "accepted", 0, 5)
    ahead = store.new_attempt("model", 9)
    Path(ahead.path).mkdir(parents=True)
    (Path(ahead.path) / "model.skops").write_bytes(b"x")
    aside = f"{attempts}/views/old-{uuid4()}"
    shutil.copytree(out / "labels", out / aside)
    built = store.new_view_dir()
    write_rows(Path(built), 0, 1)
    lost = f"_runs/{uuid4()}"
    shutil.copytree(out / "_runs" / store.run_id, out / lost)
    temps = [
        f"_commits/{store.run_id}/.round-0003.json.{uuid4().hex}.tmp",
        f".report.json.{uuid4().hex}.tmp",
        f"{Path(store.models[0].artifact.path).parent}/.model.skops.{uuid4().hex}.tmp",
    ]
    for temp in temps:
        (out / temp).write_bytes(b"{")
    committed = str(Path(store.rounds[0].accepted[0].path).parent)
    strays = [f"{committed}/part-0-of-a-lost-try.parquet", f"{committed}/_temporary/0/part-0"]
    for stray in strays:
        (out / stray).parent.mkdir(parents=True, exist_ok=True)
        (out / stray).write_bytes(b"PAR1")
    _make_old(out)
    return {
        uncommitted.rel: "attempt",
        ahead.rel: "attempt",
        aside: "view",
        str(Path(built).relative_to(out)): "view",
        lost: "start",
        **dict.fromkeys(temps, "temp"),
        **dict.fromkeys(strays, "lost"),
    }


def _collect(out: Path, *, delete: bool = True, older_than_s: float = WEEK_S) -> Collected:
    return collect(LocalFiles(), str(out), delete=delete, older_than_s=older_than_s)


def _problems(out: Path) -> list[Problem]:
    return verify(RoundStore.open(LocalFiles(), str(out)), deep=True).problems


def test_what_crashes_left_is_deleted_and_nothing_else(out: Path) -> None:
    before = tree(out)
    litter = _litter(out)
    found = _collect(out)
    assert {item.path: item.kind for item in found.items} == litter
    assert tree(out) == before
    assert _problems(out) == []
    assert _collect(out) == Collected((), 0)


def test_what_accompanies_committed_files_stays(out: Path) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    named = out / store.rounds[0].accepted[0].path
    for name in (f".{named.name}.crc", "_SUCCESS", "._SUCCESS.crc"):
        (named.parent / name).write_bytes(b"crc")
    _make_old(out)
    assert _collect(out) == Collected((), 0)


def test_a_dry_run_lists_the_same_and_changes_nothing(out: Path) -> None:
    litter = _litter(out)
    before = tree(out)
    found = _collect(out, delete=False)
    assert {item.path for item in found.items} == set(litter)
    assert tree(out) == before


def test_an_attempt_with_one_young_file_stays_whole(out: Path) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    attempt = store.new_attempt("round", 3)
    write_rows(Path(attempt.path) / "accepted", 0, 1, "part-0.parquet")
    _make_old(Path(attempt.path))
    write_rows(Path(attempt.path) / "accepted", 1, 1, "part-1.parquet")
    assert _collect(out) == Collected((), too_young=1)
    assert len(list(Path(attempt.path).rglob("*.parquet"))) == 2
    assert len(_collect(out, older_than_s=0).items) == 1
    assert not Path(attempt.path).exists()


def test_a_file_without_a_time_is_never_old() -> None:
    path = f"_attempts/r/round-0001/{uuid4()}/part-0.parquet"
    (item,) = garbage([FileInfo(path, 1, None)], ["r"], ())
    assert not item.is_older(time.time())


@pytest.mark.parametrize(
    "path",
    [
        "notes.txt",
        "labels/part-0.parquet",
        f"labels/.part-0.parquet.{ANY.hex}.tmp",
        "_attempts/r/round-0001/not-a-uuid/part-0.parquet",
        f"_attempts/other/round-0001/{ANY}/part-0.parquet",
        f"_attempts/r/strange/{ANY}/part-0.parquet",
        f"_attempts/r/round-0001/{ANY}",
        "_commits/r/round-0001.json",
        "_runs/r/config.json",
        "_layout.json",
        "_lease/lease.json",
    ],
)
def test_what_this_package_did_not_leave_behind_is_not_garbage(path: str) -> None:
    assert garbage([FileInfo(path, 1, 0)], ["r"], ()) == []


def test_a_model_committed_again_keeps_the_file_of_the_first(tmp_path: Path) -> None:
    store = begin(tmp_path)
    first = add_model(store)
    add_round(store)
    store.commit_model(
        store.new_attempt("model", 2),
        fitted(first.artifact, (False, True), "boolean"),
    )
    _make_old(tmp_path)
    assert _collect(tmp_path) == Collected((), 0)
    assert _problems(tmp_path) == []


def test_a_kill_in_the_middle_leaves_a_whole_run(out: Path) -> None:
    litter = _litter(out)
    code = (
        "import sys; from spark_pseudolabel.cli import main; sys.exit(main(sys.argv[1:]))",
        "gc",
        str(out),
        "--delete",
    )
    env = os.environ | {
        "SPL_FAILPOINT": "gc.before_delete:4",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    ended = subprocess.run([sys.executable, "-c", *code], env=env, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert _problems(out) == []
    assert len(_collect(out).items) == len(litter) - 3


def test_a_live_run_is_left_alone(out: Path) -> None:
    litter = _litter(out)
    with hold(LocalFiles(), str(out), "run-1"):
        for delete in (False, True):
            with pytest.raises(OutputBusyError) as caught:
                _collect(out, delete=delete)
            assert caught.value.exit_code == 4
    assert all((out / path).exists() for path in litter)


def test_no_run_begins_while_it_deletes(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _litter(out)

    def starting(self: LocalFiles, path: str) -> None:
        with hold(LocalFiles(), str(out), "run-2"):
            pytest.fail("a second holder")

    monkeypatch.setattr(LocalFiles, "delete_tree", starting)
    with pytest.raises(OutputBusyError):
        _collect(out)


def test_nothing_is_deleted_where_the_manifests_cannot_be_read(out: Path) -> None:
    _litter(out)
    store = RoundStore.open(LocalFiles(), str(out))
    edit_json(commit_path(store, "round-0001.json"), number=7)
    before = tree(out)
    with pytest.raises(StoredStateError):
        _collect(out)
    assert tree(out) == before


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        _collect(tmp_path)
    assert list(tmp_path.iterdir()) == []


# The command


def test_the_command_lists_first_and_deletes_when_told(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    litter = _litter(out)
    assert main(["gc", str(out)]) == 0
    assert "would be deleted, with --delete" in " ".join(capsys.readouterr().out.split())
    assert main(["gc", str(out), "--delete", "--output-format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {item["path"] for item in document["items"]} == set(litter)
    assert (document["deleted"], document["too_young"]) == (True, 0)
    assert main(["gc", str(out), "--older-than", "0s"]) == 0
    assert "holds nothing to delete." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("age", ["", "7", "d", "-1d", "7w", "1e9d"])
def test_an_age_that_is_none_is_refused(age: str, out: Path) -> None:
    assert main(["gc", str(out), f"--older-than={age}"]) == 2
