from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.store import seen
from spark_pseudolabel.store.inputs import SeenFile
from spark_pseudolabel.store.manifest import FileEntry
from spark_pseudolabel.store.store import RoundStore
from tests.store.builders import begin

Entries = tuple[FileEntry, ...]


def hashes(seed: int, n: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    return chance.integers(0, 2**64, n, dtype=np.uint64)


def add(store: RoundStore, entries: Entries, *chunks: np.ndarray) -> Entries:
    return seen.add_ids(store, store.new_attempt("final", 0), entries, chunks)


def test_what_was_added_is_known_and_nothing_else(tmp_path: Path) -> None:
    store, entries = begin(tmp_path), ()
    for seed in range(20):
        entries = add(store, entries, hashes(seed, 50))
    old, new = hashes(7, 50), hashes(99, 50)
    asked = np.sort(np.concatenate([old, new]))
    np.testing.assert_array_equal(seen.known(store, entries, asked), np.isin(asked, old))
    assert seen.known(store, entries, asked[:0]).shape == (0,)


def test_segments_grow_as_the_logarithm_of_generations(tmp_path: Path) -> None:
    store, entries, written = begin(tmp_path), (), 0
    for seed in range(64):
        before = entries
        entries = add(store, entries, hashes(seed, 10))
        written += sum(entry.rows for entry in entries if entry not in before)
    assert sum(entry.rows for entry in entries) == 640
    assert len(entries) == 1
    assert len(add(store, entries, hashes(64, 10))) == 2
    assert written == 640 + 6 * 320  # every id is written once, and again at each doubling


def test_a_large_first_generation_is_not_written_again(tmp_path: Path) -> None:
    store = begin(tmp_path)
    first = add(store, (), hashes(0, 5000))
    entries = first
    for seed in range(1, 40):
        entries = add(store, entries, hashes(seed, 10))
    assert entries[0] == first[0]
    assert len(entries) <= 1 + 6


def test_chunks_of_one_generation_are_one_segment_until_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "MAX_ROWS", 100)
    store, parts = begin(tmp_path), [hashes(seed, 60) for seed in range(3)] + [hashes(9, 250)]
    entries = add(store, (), *parts)
    assert sum(entry.rows for entry in entries) == 430
    assert max(entry.rows for entry in entries) <= 100
    asked = np.sort(np.concatenate(parts))
    assert seen.known(store, entries, asked).all()


def test_files_are_remembered_with_length_and_time(tmp_path: Path) -> None:
    store, entries, files = begin(tmp_path), (), [SeenFile(f"{i}.csv", i, i) for i in range(9)]
    for file in files:
        attempt = store.new_attempt("final", 0)
        entries = seen.add_files(store, attempt, entries, [file])
    assert sorted(seen.read_files(store, entries)) == files
    assert len(entries) == 2
    assert seen.add_files(store, store.new_attempt("final", 0), entries, []) == entries


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    store = begin(tmp_path)
    (entry,) = add(store, (), hashes(0, 10))
    (tmp_path / entry.path).write_bytes(b"PAR1")
    with pytest.raises(StoredStateError, match="ids-0000"):
        seen.known(store, (entry,), hashes(0, 3))


def test_a_flipped_byte_of_a_segment_is_stored_damage(tmp_path: Path) -> None:
    store = begin(tmp_path)
    (ids,) = add(store, (), hashes(0, 1000))
    read = [SeenFile(f"{name:x}", 1, 2) for name in hashes(1, 1000).tolist()]
    (files,) = seen.add_files(store, store.new_attempt("final", 0), (), read)
    for entry in (ids, files):
        data = bytearray((tmp_path / entry.path).read_bytes())
        data[1000] ^= 1
        (tmp_path / entry.path).write_bytes(data)
    with pytest.raises(StoredStateError, match="ids-0000"):
        seen.known(store, (ids,), np.sort(hashes(0, 3)))
    with pytest.raises(StoredStateError, match=r"files\.parquet"):
        seen.read_files(store, (files,))
