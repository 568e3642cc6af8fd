from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spark_pseudolabel.core import uniqueness
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store import verify as verify_module
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.layout import VIEWS
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.verify import count_ids, verify, verify_output
from spark_pseudolabel.store.views import read_marker
from tests.store.builders import (
    add_model,
    add_round,
    begin,
    commit_path,
    edit_json,
    ended,
    put_reports,
    put_views,
    two_rounds,
    write_rows,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = two_rounds(tmp_path_factory.mktemp("whole"))
    put_views(store)
    return Path(store.root)


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _model(store: RoundStore) -> Path:
    return Path(store.root) / store.models[0].artifact.path


def _accepted(store: RoundStore) -> Path:
    return Path(store.root) / store.rounds[0].accepted[0].path


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_output_has_no_problems(whole: Path, deep: bool) -> None:
    result = verify_output(LocalFiles(), str(whole), deep)
    assert (result.ok, result.problems) == (True, [])
    # 6 manifests, 3 models, 2 data files, views: 5 times 2 tables and the model.
    assert result.checked == 22


def test_an_unfinished_run_is_verified_as_far_as_it_is(tmp_path: Path) -> None:
    store = begin(tmp_path)
    add_model(store)
    add_round(store)
    assert verify(store, deep=True).ok


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        verify_output(LocalFiles(), str(tmp_path))


def test_a_damaged_history_is_a_problem_not_an_error(out: Path) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    edit_json(commit_path(store, "round-0001.json"), number=7)
    (problem,) = verify_output(LocalFiles(), str(out)).problems
    assert problem.path == f"_commits/{store.run_id}/round-0001.json"


def test_all_problems_are_told_not_only_the_first(out: Path) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    _flip(_model(store))
    _accepted(store).unlink()
    (out / "report.json").unlink()
    paths = {problem.path for problem in verify(store, deep=False).problems}
    assert paths == {
        store.models[0].artifact.path,
        store.rounds[0].accepted[0].path,
        "report.json",
    }


SHALLOW: dict[str, tuple[Callable[[RoundStore, Path], object], str]] = {
    "model flipped": (lambda store, out: _flip(_model(store)), "sha256"),
    "model gone": (lambda store, out: _model(store).unlink(), "is gone"),
    "model truncated": (lambda store, out: _model(store).write_bytes(b"x"), "must have"),
    "accepted gone": (lambda store, out: _accepted(store).unlink(), "is gone"),
    "accepted empty": (lambda store, out: _accepted(store).write_bytes(b""), "must have"),
    "view gone": (lambda store, out: shutil.rmtree(out / "labels"), "is missing"),
    "view file gone": (lambda store, out: (out / "labels/part-1.parquet").unlink(), "is gone"),
    "view file added": (lambda store, out: write_rows(out / "labels", 0, 1), "not part"),
    "model view flipped": (lambda store, out: _flip(out / "model/model.skops"), "sha256"),
    "report damaged": (lambda store, out: (out / "report.json").write_bytes(b"{"), "not JSON"),
    "report of another run": (lambda store, out: edit_json(out / "report.json", run_id="x"), "run"),
    "page gone": (lambda store, out: (out / "report.html").unlink(), "is gone"),
}


@pytest.mark.parametrize("kind", SHALLOW)
def test_damage_is_found_without_reading_the_data(out: Path, kind: str) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    damage, said = SHALLOW[kind]
    damage(store, out)
    (problem,) = verify(store, deep=False).problems
    assert said in problem.problem


def test_deep_finds_rows_that_stand_twice(out: Path) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    length = (out / "labels" / "part-2.parquet").stat().st_size
    write_rows(out / "labels", 100, 2, "part-2.parquet")
    assert (out / "labels" / "part-2.parquet").stat().st_size == length
    assert verify(store, deep=False).ok
    (problem,) = verify(store, deep=True).problems
    assert problem == ("labels", "must hold each row once; 2 rows are repeated")


def test_ids_are_counted_in_groups_that_fit_into_memory(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    marker = read_marker(store.files, store.root, "labels")
    assert marker is not None
    rows = marker.rows
    monkeypatch.setattr(uniqueness, "GROUP_ROWS", 2)
    monkeypatch.setattr(verify_module, "GROUP_ROWS", 2)
    monkeypatch.setattr(verify_module, "_COMPARED", 1)
    assert uniqueness.group_count(rows) > 1
    assert count_ids(store) == (rows, rows)
    write_rows(out / "labels", 100, 2, "part-2.parquet")
    assert count_ids(store) == (rows, rows - 2)


def test_deep_finds_a_file_that_is_no_parquet(out: Path) -> None:
    store = RoundStore.open(LocalFiles(), str(out))
    path = _accepted(store)
    path.write_bytes(b"x" * path.stat().st_size)
    assert verify(store, deep=False).ok
    (problem,) = verify(store, deep=True).problems
    assert "not a whole Parquet file" in problem.problem
    assert problem.path == store.rounds[0].accepted[0].path


def test_deep_finds_a_view_that_lacks_rows(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    put_views(store)
    built = Path(store.new_view_dir())
    write_rows(built, 100, 3)
    store.put_view("labels", str(built))
    (problem,) = verify(store, deep=True).problems
    assert problem.problem == "must have 4 rows, has 3"


def test_deep_leaves_out_rounds_that_the_guard_discarded(tmp_path: Path) -> None:
    store = begin(tmp_path)
    for rows in (2, 5):
        add_model(store)
        add_round(store, rows)
    add_model(store)
    store.commit_final(
        store.new_attempt("final", 2),
        ended(
            best_round=1,
            rounds=[{"round": 1, "used": True}, {"round": 2, "used": False}],
            reason="validation_drop",
        ),
    )
    for name in VIEWS[:-1]:  # all but the model
        built = Path(store.new_view_dir())
        write_rows(built, 100, 2)
        store.put_view(name, str(built))
    store.put_model_view()
    put_reports(store)
    assert verify(store, deep=True).problems == []
