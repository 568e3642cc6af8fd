"""Lands and answers, lands and fails, does not land, unreadable: each told apart, none deletes."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_pseudolabel.errors import (
    InputError,
    OutputBusyError,
    PublishUnknownError,
    RunFailedError,
)
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.manifest import canonical_json
from spark_pseudolabel.store.publish import publish, require_slots
from tests.store.builders import FlakyFiles, tree

OURS = canonical_json({"commit_id": "ours", "writer": {"host": "here", "pid": 1}})
OTHERS = canonical_json({"commit_id": "theirs", "writer": {"host": "node-7", "pid": 4711}})


@pytest.fixture
def files() -> FlakyFiles:
    return FlakyFiles()


def _lose_answer(path: str, data: bytes) -> bool:
    LocalFiles().put_if_absent(path, data)
    raise TimeoutError("no answer")


def _fail(*_: object) -> bool:
    raise OSError("no space left")


def test_a_published_file_holds_the_data(files: FlakyFiles, tmp_path: Path) -> None:
    publish(files, str(tmp_path / "slot"), OURS, "ours")
    assert tree(tmp_path) == {"slot": OURS}


def test_a_lost_answer_is_not_a_lost_publish(files: FlakyFiles, tmp_path: Path) -> None:
    files.on_put = _lose_answer
    publish(files, str(tmp_path / "slot"), OURS, "ours")
    assert tree(tmp_path) == {"slot": OURS}


def test_a_retry_that_finds_its_own_content_succeeds(files: FlakyFiles, tmp_path: Path) -> None:
    # A client that retries by itself reports "exists" for what it wrote with its first try.
    (tmp_path / "slot").write_bytes(OURS)
    publish(files, str(tmp_path / "slot"), OURS, "ours")


def test_a_lost_slot_names_the_winner(files: FlakyFiles, tmp_path: Path) -> None:
    (tmp_path / "slot").write_bytes(OTHERS)
    with pytest.raises(OutputBusyError, match="theirs of node-7, process 4711") as caught:
        publish(files, str(tmp_path / "slot"), OURS, "ours")
    assert (caught.value.exit_code, caught.value.code) == (4, "slot_lost")
    assert tree(tmp_path) == {"slot": OTHERS}


@pytest.mark.parametrize("found", [b"", b"not json", b"[]", b"{}"])
def test_a_slot_with_something_else_is_lost_too(
    files: FlakyFiles, tmp_path: Path, found: bytes
) -> None:
    (tmp_path / "slot").write_bytes(found)
    with pytest.raises(OutputBusyError, match="bytes of something else"):
        publish(files, str(tmp_path / "slot"), OURS, "ours")


def test_an_error_whose_slot_went_to_another_is_a_lost_slot(
    files: FlakyFiles, tmp_path: Path
) -> None:
    (tmp_path / "slot").write_bytes(OTHERS)
    files.on_put = _fail
    with pytest.raises(OutputBusyError):
        publish(files, str(tmp_path / "slot"), OURS, "ours")


def test_a_write_that_left_nothing_may_be_tried_again(files: FlakyFiles, tmp_path: Path) -> None:
    files.on_put = _fail
    with pytest.raises(RunFailedError, match="no space left") as caught:
        publish(files, str(tmp_path / "slot"), OURS, "ours")
    assert caught.value.exit_code == 10


@pytest.mark.parametrize("put", [_lose_answer, _fail])
def test_an_unreadable_slot_is_unknown_and_nothing_is_deleted(
    files: FlakyFiles, tmp_path: Path, put: object
) -> None:
    def unreadable(_: str) -> bytes:
        raise ConnectionError("store is gone")

    files.on_put, files.on_read = put, unreadable  # type: ignore[assignment]
    before = tree(tmp_path)
    with pytest.raises(PublishUnknownError, match="store is gone") as caught:
        publish(files, str(tmp_path / "slot"), OURS, "ours")
    assert caught.value.exit_code == 6
    assert files.deleted == []
    assert before.items() <= tree(tmp_path).items()


def test_a_publish_that_may_not_outlive_a_crash_is_unknown(
    files: FlakyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.on_put = _lose_answer
    monkeypatch.setattr(files, "sync", _fail)
    with pytest.raises(PublishUnknownError, match="survives a crash"):
        publish(files, str(tmp_path / "slot"), OURS, "ours")


def test_ctrl_c_is_not_taken_for_a_failed_write(files: FlakyFiles, tmp_path: Path) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    files.on_put = interrupted
    with pytest.raises(KeyboardInterrupt):
        publish(files, str(tmp_path / "slot"), OURS, "ours")


def test_a_place_that_refuses_the_second_file_serves(files: FlakyFiles, tmp_path: Path) -> None:
    require_slots(files, str(tmp_path))
    assert tree(tmp_path) == {}


def _replace(path: str, data: bytes) -> bool:
    LocalFiles().replace(path, data)
    return True


def test_a_place_that_replaces_the_first_file_is_refused(files: FlakyFiles, tmp_path: Path) -> None:
    files.on_put = _replace
    with pytest.raises(InputError, match="only if it is absent") as caught:
        require_slots(files, str(tmp_path))
    assert (caught.value.exit_code, caught.value.code) == (3, "no_put_if_absent")
    assert tree(tmp_path) == {}
