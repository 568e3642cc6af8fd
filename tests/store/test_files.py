from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store import files as files_module
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import FileInfo, LocalFiles, join, unglobbed

RACERS = 16

RACER = """
import sys, time, pathlib
from spark_pseudolabel.store.files import LocalFiles
folder, me = pathlib.Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{me}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
print(LocalFiles().put_if_absent(str(folder / "slot"), me.encode() * 1000))
"""

# Dies by SIGKILL when the named function of `os` is called, before or after its work.
KILLED = """
import os, signal, sys
from spark_pseudolabel.store.files import LocalFiles
name, when, target = sys.argv[1:]
real = getattr(os, name)
def dying(*args, **kwargs):
    if when == "after":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, name, dying)
LocalFiles().put_if_absent(target, b"content")
"""


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "links are refused here")


@pytest.fixture(params=["links", "no links"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LocalFiles:
    if request.param == "no links":
        monkeypatch.setattr(os, "link", _refuse)
    return LocalFiles()


def test_arrow_reads_local_files_without_the_interpreter(tmp_path: Path) -> None:
    # Its threads may hold what they read from until after the interpreter's end.
    (tmp_path / "data").write_bytes(b"content")
    with LocalFiles().open_input(str(tmp_path / "data")) as opened:
        assert isinstance(opened, pa.OSFile)
        assert opened.read() == b"content"
    with pytest.raises(FileNotFoundError):
        LocalFiles().open_input(str(tmp_path / "gone"))


def test_the_first_content_stays(files: LocalFiles, tmp_path: Path) -> None:
    slot = str(tmp_path / "a" / "slot")
    assert files.put_if_absent(slot, b"first")
    assert not files.put_if_absent(slot, b"second")
    assert files.read(slot) == b"first"


def test_no_temporary_file_is_left_by_winner_or_loser(files: LocalFiles, tmp_path: Path) -> None:
    for _ in range(2):
        files.put_if_absent(str(tmp_path / "slot"), b"x")
    assert os.listdir(tmp_path) == ["slot"]


def test_racing_threads_have_one_winner(files: LocalFiles, tmp_path: Path) -> None:
    for turn in range(20):
        slot = str(tmp_path / f"slot-{turn}")
        barrier, won = threading.Barrier(RACERS), []

        def race(
            me: int,
            slot: str = slot,
            barrier: threading.Barrier = barrier,
            won: list[int] = won,
        ) -> None:
            barrier.wait()
            if files.put_if_absent(slot, str(me).encode() * 1000):
                won.append(me)

        threads = [threading.Thread(target=race, args=(me,)) for me in range(RACERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert files.read(slot) == str(won[0]).encode() * 1000


def test_racing_processes_have_one_winner(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, tmp_path, str(me)], stdout=subprocess.PIPE)
        for me in range(8)
    ]
    deadline = time.monotonic() + 60
    while sum(name.startswith("ready") for name in os.listdir(tmp_path)) < len(racers):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    (tmp_path / "go").touch()
    answers = [racer.communicate()[0].strip() for racer in racers]
    assert sorted(answers) == [b"False"] * (len(racers) - 1) + [b"True"]
    winner = answers.index(b"True")
    assert (tmp_path / "slot").read_bytes() == str(winner).encode() * 1000


@pytest.mark.parametrize(
    ("call", "when", "published"),
    [
        ("fsync", "before", False),
        ("fsync", "after", False),
        ("link", "before", False),
        ("link", "after", True),
        ("unlink", "before", True),
        ("unlink", "after", True),
    ],
)
def test_a_kill_leaves_all_or_nothing(
    tmp_path: Path, call: str, when: str, published: bool
) -> None:
    slot = tmp_path / "slot"
    run = subprocess.run([sys.executable, "-c", KILLED, call, when, slot])
    assert run.returncode == -signal.SIGKILL
    assert slot.exists() == published
    assert not published or slot.read_bytes() == b"content"
    # Whatever else was left is hidden, and no hindrance to the next try.
    assert all(name.startswith(".") for name in os.listdir(tmp_path) if name != "slot")
    assert LocalFiles().put_if_absent(str(slot), b"content") != published


def test_a_kill_without_links_leaves_an_empty_claim_never_half_a_file(tmp_path: Path) -> None:
    code = "import os, errno\ndef link(*_): raise OSError(errno.EPERM, '')\nos.link = link\n"
    slot = tmp_path / "slot"
    subprocess.run([sys.executable, "-c", code + KILLED, "replace", "before", slot])
    assert slot.read_bytes() == b""


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        LocalFiles().put_if_absent(str(tmp_path / "slot"), b"x")
    assert os.listdir(tmp_path) == []


def test_an_error_other_than_refused_links_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(OSError, match="broken disk"):
        LocalFiles().put_if_absent(str(tmp_path / "slot"), b"x")
    assert os.listdir(tmp_path) == []


def test_the_directory_is_flushed_before_success_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(files_module, "_fsync_dir", flushed.append)
    LocalFiles().put_if_absent(str(tmp_path / "new" / "slot"), b"x")
    assert flushed == [str(tmp_path), str(tmp_path / "new")]


def test_sync_flushes_each_file_and_each_directory_up_to_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    flushed: list[str] = []
    monkeypatch.setattr(files_module, "_fsync", flushed.append)
    LocalFiles().sync(str(tmp_path), [str(tmp_path / "a" / "b" / "file")])
    expected = [tmp_path / "a" / "b" / "file", tmp_path / "a" / "b", tmp_path / "a", tmp_path]
    assert flushed == [str(path) for path in expected]


def test_replace_overwrites_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        LocalFiles().replace(str(tmp_path / "status"), content)
    assert LocalFiles().read(str(tmp_path / "status")) == b"new"
    assert os.listdir(tmp_path) == ["status"]


def test_a_listing_is_recursive_sorted_and_shows_hidden_files(tmp_path: Path) -> None:
    for name in ("b/part-1", "b/part-0", ".hidden", "a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = LocalFiles().list(str(tmp_path))
    assert [(info.path, info.bytes) for info in found] == [
        (".hidden", 7),
        ("a", 1),
        ("b/part-0", 8),
        ("b/part-1", 8),
    ]
    assert LocalFiles().names(str(tmp_path)) == [".hidden", "a", "b"]


def test_a_file_lists_itself_with_an_empty_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    info = LocalFiles().list(str(tmp_path / "file"))[0]
    assert (info.path, join(str(tmp_path / "file"), info.path)) == ("", str(tmp_path / "file"))


def test_what_is_missing_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in ("missing", "file/below"):
        assert LocalFiles().list(str(tmp_path / path)) == []
        assert LocalFiles().names(str(tmp_path / path)) == []


def test_a_link_to_a_parent_directory_ends_the_listing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "file").touch()
    paths = [info.path for info in LocalFiles().list(str(tmp_path))]
    assert "a/file" in paths
    assert len(paths) <= 3


def test_rename_never_replaces_even_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError):
        LocalFiles().rename_dir(str(tmp_path / "a"), str(tmp_path / "b"))
    LocalFiles().rename_dir(str(tmp_path / "a"), str(tmp_path / "new" / "c"))
    assert sorted(os.listdir(tmp_path)) == ["b", "new"]


def test_delete_takes_files_directories_and_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "f").touch()
    for name in ("d", "f", "missing"):
        LocalFiles().delete_tree(str(tmp_path / name))
    assert os.listdir(tmp_path) == []


def test_delete_of_a_link_keeps_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    LocalFiles().delete_tree(str(tmp_path / "link"))
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}", "file://localhost{}", "FILE:{}"])
def test_plain_paths_and_file_uris_are_the_same(tmp_path: Path, form: str) -> None:
    files, root = open_files(form.format(tmp_path))
    assert root == str(tmp_path)
    files.put_if_absent(form.format(tmp_path) + "/x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def test_a_file_uri_with_a_host_is_refused() -> None:
    with pytest.raises(InputError, match="must not name a host"):
        open_files("file://server/share")


def test_an_unknown_scheme_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="'foo://x/y'"):
        open_files("foo://x/y")


def test_file_infos_sort_by_path() -> None:
    assert sorted([FileInfo("b", 1, 5), FileInfo("a", 9, None)])[0].path == "a"


@pytest.mark.parametrize("path", ["/a/b", "s3a://bucket/a b%20", "hdfs://h:1/x"])
def test_a_plain_path_is_no_pattern(path: str) -> None:
    assert unglobbed(path) == path


def test_what_spark_would_take_for_a_pattern_is_escaped() -> None:
    assert unglobbed("/run[1]/{a,b}*?") == r"/run\[1\]/\{a,b\}\*\?"


def test_sync_of_many_files_loses_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{number}" for number in range(100)]
    for path in paths:
        path.touch()
    LocalFiles().sync(str(tmp_path), map(str, paths))

    def fails_once(path: str) -> None:
        if path == str(paths[57]):
            raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(files_module, "_fsync", fails_once)
    with pytest.raises(OSError, match="57"):
        LocalFiles().sync(str(tmp_path), map(str, paths))
