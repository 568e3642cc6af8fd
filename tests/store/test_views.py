from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spark_pseudolabel.errors import RunFailedError
from tests.store.builders import (
    add_model,
    add_round,
    begin,
    finish,
    go_on,
    kill_at,
    put_views,
    two_rounds,
    write_rows,
)


def _ids(view: Path) -> list[int]:
    return sorted(pq.read_table(view).column("row_id").to_pylist())


def test_a_view_is_plain_parquet(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    put_views(store)
    assert _ids(tmp_path / "labels") == [100, 101, 200, 201]
    assert store.view_is_current("labels")
    assert (tmp_path / "model" / "model.skops").read_bytes() == store.read_model_bytes(3)


def test_a_view_replaces_the_one_before_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    for first in (0, 10):
        built = Path(store.new_view_dir())
        write_rows(built, first, 2, f"part-{first}.parquet")
        store.put_view("labels", str(built))
    assert _ids(tmp_path / "labels") == [10, 11]
    assert os.listdir(tmp_path / "_attempts" / store.run_id / "views") == []


def test_a_view_replaces_a_directory_that_was_made_by_hand(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    write_rows(tmp_path / "labels", 0, 9)
    assert not store.view_is_current("labels")
    put_views(store)
    assert len(_ids(tmp_path / "labels")) == 4


def test_an_empty_view_keeps_its_schema(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    put_views(store)
    assert pq.read_table(tmp_path / "training").column_names == ["row_id", "label"]


def test_a_view_is_stale_once_the_run_went_on(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    put_views(store)
    add_round(store)
    add_model(store)
    assert store.view_is_current("labels")
    finish(store)
    assert not store.view_is_current("labels")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda view: (view / "part-1.parquet").unlink(), "is gone"),
        (lambda view: (view / "part-1.parquet").write_bytes(b""), "must have"),
        (lambda view: write_rows(view, 0, 1, "part-9.parquet"), "is not part of the view"),
        (lambda view: (view / "_view.json").unlink(), "was not put in place"),
        (lambda view: (view / "_view.json").write_bytes(b"{"), "was not put in place"),
        (shutil.rmtree, "is missing"),
    ],
)
def test_a_damaged_view_is_not_current(tmp_path: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    store = two_rounds(tmp_path)
    put_views(store)
    damage(tmp_path / "labels")
    assert not store.view_is_current("labels")
    assert said in store.view_problems("labels")[0][1]
    put_views(store)
    assert store.view_is_current("labels")


def test_files_that_readers_skip_do_not_matter(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    put_views(store)
    for name in ("_SUCCESS", ".part-1.parquet.crc"):
        (tmp_path / "labels" / name).touch()
    assert store.view_is_current("labels")


def test_a_kill_between_the_two_renames_leaves_no_view_and_the_next_start_heals_it(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    store = go_on(out)
    store.files.delete_tree(str(out / "labels" / "_view.json"))
    assert kill_at("view.swap.aside", out) == -signal.SIGKILL
    assert not (out / "labels").exists()
    assert not begin(out).view_is_current("labels")
    healed = go_on(out)
    assert healed.view_is_current("labels")
    # What was being built is an attempt like any other; what was put aside is gone.
    left = os.listdir(out / "_attempts" / healed.run_id / "views")
    assert not any(name.startswith("old-") for name in left)


def test_what_tries_that_lost_have_left_is_in_no_view(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    built = Path(store.new_view_dir())
    write_rows(built, 0, 3, "part-000000-first.parquet")
    write_rows(built, 0, 5, "part-000000-second.parquet")
    (built / "part-000000-third.parquet").write_bytes(b"PAR1 and no more")
    store.put_view("labels", str(built), 5, {"part-000000-second.parquet": 5})
    assert _ids(tmp_path / "labels") == [0, 1, 2, 3, 4]
    assert store.view_is_current("labels")


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ({"part-1.parquet": 2, "part-2.parquet": 1}, "file_not_seen"),
        ({"part-1.parquet": 2}, "rows_lost"),
        (None, "rows_lost"),
    ],
)
def test_a_view_with_too_few_rows_replaces_none(
    tmp_path: Path, written: dict[str, int] | None, code: str
) -> None:
    store = two_rounds(tmp_path)
    put_views(store)
    built = Path(store.new_view_dir())
    write_rows(built, 0, 2, "part-1.parquet")
    with pytest.raises(RunFailedError) as caught:
        store.put_view("labels", str(built), 3, written)
    assert caught.value.code == code
    assert _ids(tmp_path / "labels") == [100, 101, 200, 201]


def test_an_unfinished_run_has_no_views(tmp_path: Path) -> None:
    store = begin(tmp_path)
    add_model(store)
    assert not store.view_is_current("labels")
    with pytest.raises(ValueError, match="finished run"):
        store.put_view("labels", store.new_view_dir())


def test_a_view_without_a_file_is_refused(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    built = Path(store.new_view_dir())
    built.mkdir(parents=True)
    (built / "_SUCCESS").touch()
    with pytest.raises(ValueError, match="at least one file"):
        store.put_view("labels", str(built))


def test_only_views_can_be_put(tmp_path: Path) -> None:
    store = two_rounds(tmp_path)
    with pytest.raises(ValueError, match="must be one of"):
        store.put_view("../elsewhere", store.new_view_dir())
    with pytest.raises(ValueError, match=r"report\.json"):
        store.write_report("_layout.json", b"{}")


def test_a_later_generation_adds_files_and_replaces_what_a_crash_left(tmp_path: Path) -> None:
    first = two_rounds(tmp_path)
    put_views(first)
    second = replace(first, generation=2)
    left = tmp_path / "labels" / "generation-0002-part-000000.parquet"
    for ids in ([300, 301, 302], [300, 301]):  # the first one lost its marker
        (tmp_path / "labels" / "_view-0002.json").unlink(missing_ok=True)
        assert not second.view_is_current("labels")
        built = Path(second.new_view_dir())
        write_rows(built, 300, len(ids))
        second.put_view("labels", str(built), len(ids))
        assert _ids(tmp_path / "labels") == [100, 101, 200, 201, *ids]
    assert left.exists()
    assert second.view_is_current("labels")
    assert first.view_is_current("labels")
    left.unlink()
    assert not second.view_is_current("labels")
    assert first.view_is_current("labels")


def test_a_generation_without_rows_adds_no_file(tmp_path: Path) -> None:
    store = replace(two_rounds(tmp_path), generation=2)
    put_views(replace(store, generation=1))
    built = Path(store.new_view_dir())
    write_rows(built, 0, 0)
    store.put_view("labels", str(built), 0)
    assert store.view_is_current("labels")
    assert list((tmp_path / "labels").glob("generation-*")) == []
