"""Tables that follow what people do after the end of a run."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_pseudolabel.errors import OutputBusyError
from spark_pseudolabel.store import failpoint as failpoint_module
from spark_pseudolabel.store.failpoint import FailpointError
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.following import follow
from spark_pseudolabel.store.review import PublishedRows, ReviewStep, Revoked
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.views import ViewFile, ViewMarker, read_marker
from tests.store.builders import put_views, two_rounds, write_rows


def finished(root: Path) -> RoundStore:
    """End a run with the labels 100, 101, 200 and 201."""
    store = two_rounds(root)
    put_views(store)
    sources = ["pseudo", "labeled", "pseudo", "pseudo"]
    for name, ids in {"training": [100, 101, 200, 201], "undecided": [7]}.items():
        built = Path(store.new_view_dir())
        built.mkdir(parents=True)
        labels, of = [True] * len(ids), sources[: len(ids)]
        columns = {"row_id": pa.array(ids, pa.int64()), "label": labels, "source": of}
        pq.write_table(pa.table(columns), built / "part-0.parquet", write_page_checksum=True)
        store.put_view(name, str(built))
    return store


def table(ids: list[int]) -> bytes:
    rows = pa.table({"row_id": pa.array(ids, pa.int64()), "label": [True] * len(ids)})
    sink = io.BytesIO()
    pq.write_table(rows, sink, write_page_checksum=True)
    return sink.getvalue()


def revoke(store: RoundStore, ids: list[int]) -> None:
    attempt = store.new_attempt("review", len(store.reviews) + 1)
    entry = store.write_file(attempt, "revoked.parquet", table(ids), len(ids))
    store.commit_review(attempt, ReviewStep(revoked=(Revoked(by="ids", rows=entry),)))


def publish(store: RoundStore, ids: list[int]) -> None:
    attempt = store.new_attempt("review", len(store.reviews) + 1)
    entry = store.write_file(attempt, "labels.parquet", table(ids), len(ids))
    store.commit_review(attempt, ReviewStep(published=PublishedRows(files=(entry,))))


def ids_of(store: RoundStore, name: str) -> list[int]:
    read = [pq.read_table(p).column("row_id") for p in Path(store.root, name).glob("*.parquet")]
    return sorted(value for column in read for value in column.to_pylist())


def test_rows_go_where_the_commits_say(tmp_path: Path) -> None:
    store = finished(tmp_path)
    revoke(store, [101, 200])
    assert not store.view_is_current("labels")
    assert follow(store) == ()
    assert store.views_are_current()
    assert ids_of(store, "labels") == [100, 201]
    assert ids_of(store, "undecided") == [7, 101, 200]
    # Row 101 of `training` is a labeled one of the same place in another table.
    assert ids_of(store, "training") == [100, 101, 201]
    publish(store, [7])
    assert follow(store) == ()
    assert ids_of(store, "labels") == [7, 100, 201]
    assert ids_of(store, "undecided") == [101, 200]
    assert ids_of(store, "training") == [7, 100, 101, 201]
    assert follow(store) == ()
    opened = RoundStore.open(LocalFiles(), str(tmp_path))
    assert opened.views_are_current()
    assert opened.change_of_labels == -1


def test_files_of_later_generations_are_kept_and_marked_anew(tmp_path: Path) -> None:
    store, labels = finished(tmp_path), tmp_path / "labels"
    for generation, marked in ((2, True), (3, False)):
        name = f"generation-{generation:04d}-part-000000.parquet"
        write_rows(labels, first=300 * (generation - 1), rows=2, name=name)
        size = (labels / name).stat().st_size
        files = (ViewFile(path=name, bytes=size),)
        marker = ViewMarker(name="labels", commit_id="x", rows=2, files=files)
        if marked:
            (labels / f"_view-{generation:04d}.json").write_text(marker.model_dump_json())
    revoke(store, [300, 201])
    assert follow(store) == ()
    # What a generation was about to add when it was killed it adds again.
    assert ids_of(store, "labels") == [100, 101, 200, 301]
    marker = read_marker(store.files, store.root, "labels", 2)
    assert marker is not None
    assert (marker.commit_id, marker.rows) == ("x", 1)
    assert marker.files[0].bytes == (labels / marker.files[0].path).stat().st_size


@pytest.mark.parametrize("point", ["view.followed", "view.swap.tmp", "view.swap.aside"])
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_crash_at_any_step_leaves_whole_tables_that_are_followed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, turn: int
) -> None:
    store = finished(tmp_path)
    revoke(store, [101, 200])
    with monkeypatch.context() as armed:
        armed.setattr(failpoint_module, "_reached", Counter())
        armed.setenv("SPL_FAILPOINT", f"{point}:{turn}:raise")
        with pytest.raises(FailpointError):
            follow(store)
    again = RoundStore.open(LocalFiles(), str(tmp_path))
    assert follow(again) == ()
    assert again.views_are_current()
    assert ids_of(again, "labels") == [100, 201]
    assert ids_of(again, "undecided") == [7, 101, 200]


def test_of_two_who_commit_at_once_one_wins(tmp_path: Path) -> None:
    first = finished(tmp_path)
    second = RoundStore.open(LocalFiles(), str(tmp_path))
    revoke(first, [101])
    with pytest.raises(OutputBusyError):
        revoke(second, [200])
    assert len(RoundStore.open(LocalFiles(), str(tmp_path)).reviews) == 1
