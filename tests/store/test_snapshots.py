"""A snapshot is whole or is not there, and goes with the run that named it unless it is kept."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from spark_pseudolabel.errors import OutputBusyError, StoredStateError
from spark_pseudolabel.store.facts import Content
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.gc import collect
from spark_pseudolabel.store.inputs import FrozenInputs
from spark_pseudolabel.store.snapshots import (
    Snapshot,
    SnapshotAttempt,
    SnapshotFile,
    Snapshots,
)
from spark_pseudolabel.store.verify import verify
from tests.store.builders import INPUTS, begin

CONTENT = Content(rows=2, xor64_a=-5, xor64_b=7)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(LocalFiles(), str(tmp_path))


def write(snapshots: Snapshots, attempt: SnapshotAttempt) -> SnapshotAttempt:
    folder = Path(attempt.root)
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_bytes(b"rows")
    # Left by a task that was lost: no part of it.
    (folder / "part-1.parquet").write_bytes(b"others")
    return attempt


def put(snapshots: Snapshots) -> Snapshot:
    attempt = write(snapshots, snapshots.new_attempt())
    return snapshots.commit(attempt, CONTENT, (SnapshotFile("part-0.parquet", 4),), again=False)


def naming(snapshot: Snapshot) -> FrozenInputs:
    pool = INPUTS.unlabeled.model_copy(update={"snapshot": snapshot.frozen})
    return INPUTS.model_copy(update={"unlabeled": pool})


def test_only_a_committed_snapshot_is_found(snapshots: Snapshots) -> None:
    stored = put(snapshots)
    write(snapshots, snapshots.new_attempt(stored.frozen))
    other = write(snapshots, snapshots.new_attempt())
    assert snapshots.find(stored.frozen) == stored
    assert snapshots.find(stored.frozen.model_copy(update={"id": other.id})) is None


@pytest.mark.parametrize("harm", ["gone", "longer", "other content", "no JSON", "no files"])
def test_damage_is_told(snapshots: Snapshots, harm: str) -> None:
    stored = put(snapshots)
    file = Path(stored.root) / "part-0.parquet"
    manifest = file.parents[1] / "snapshot.json"
    frozen = stored.frozen
    if harm == "gone":
        file.unlink()
    elif harm == "longer":
        file.write_bytes(b"rows!")
    elif harm == "other content":
        frozen = frozen.model_copy(update={"content": Content(rows=2, xor64_a=1, xor64_b=7)})
    elif harm == "no JSON":
        manifest.write_bytes(b"{")
    else:
        document = json.loads(manifest.read_bytes())
        manifest.write_text(json.dumps({**document, "files": None}))
    with pytest.raises(StoredStateError) as told:
        snapshots.find(frozen)
    assert told.value.exit_code == 5
    assert len(snapshots.problems(frozen)) == (harm != "other content")


def test_what_is_kept_outlives_the_others(snapshots: Snapshots) -> None:
    kept, named, other = put(snapshots), put(snapshots), put(snapshots)
    snapshots.keep(kept.frozen)
    snapshots.delete(but={named.frozen.id})
    assert snapshots.left == [named.frozen.id]
    assert snapshots.find(other.frozen) is None
    snapshots.delete()
    assert snapshots.find(named.frozen) is None
    assert snapshots.find(kept.frozen) == kept


def test_garbage_is_what_no_run_names(snapshots: Snapshots, tmp_path: Path) -> None:
    named, unnamed = put(snapshots), put(snapshots)
    tried = write(snapshots, snapshots.new_attempt(named.frozen))
    store = begin(tmp_path, inputs=naming(named))
    old = time.time() - 30 * 24 * 60 * 60.0
    for path in tmp_path.rglob("*"):
        os.utime(path, (old, old))
    found = collect(LocalFiles(), str(tmp_path), delete=True)
    assert {item.kind for item in found.items} == {"snapshot"}
    assert not list((tmp_path / "_snapshots" / unnamed.frozen.id).rglob("*.*"))
    assert not Path(tried.root).exists()
    assert snapshots.find(named.frozen) == named
    assert verify(store).ok
    (Path(named.root) / "part-0.parquet").unlink()
    assert [problem.problem for problem in verify(store).problems] == ["is gone"]


def test_a_start_that_froze_another_snapshot_than_the_run_names_is_refused(
    snapshots: Snapshots, tmp_path: Path
) -> None:
    first, second = put(snapshots), put(snapshots)
    begin(tmp_path, inputs=naming(first))
    begin(tmp_path, inputs=naming(first))
    begin(tmp_path)  # of a run that has ended nothing is frozen again
    with pytest.raises(OutputBusyError, match="Another start has begun"):
        begin(tmp_path, inputs=naming(second))
