"""Planted damage: each kind is refused by the name of the file, and nothing is averaged in."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spark_pseudolabel.cli import main
from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.given_rows import read_given
from spark_pseudolabel.store.manifest import Artifact, canonical_json
from spark_pseudolabel.store.problem import Problem
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.verify import verify_output
from tests.store.builders import (
    IDENTITY,
    begin,
    commit_path,
    edit_json,
    fitted,
    put_views,
    tree,
    two_rounds,
    write_rows,
)

Damage = Callable[[RoundStore], None]


def _edit(name: str, **changes: Any) -> Damage:
    return lambda store: edit_json(commit_path(store, name), **changes)


def _write(name: str, data: bytes) -> Damage:
    def damage(store: RoundStore) -> None:
        commit_path(store, name).write_bytes(data)

    return damage


def _remove(name: str) -> Damage:
    return lambda store: commit_path(store, name).unlink()


def _copy(source: str, target: str) -> Damage:
    def damage(store: RoundStore) -> None:
        shutil.copy(commit_path(store, source), commit_path(store, target))

    return damage


def _reseal(name: str, **changes: Any) -> Damage:
    """Edit as someone who knows the format would, with a right checksum."""

    def damage(store: RoundStore) -> None:
        path = commit_path(store, name)
        document = json.loads(path.read_text()) | changes
        document.pop("checksum")
        document["checksum"] = hashlib.sha256(canonical_json(document)).hexdigest()
        path.write_bytes(canonical_json(document))

    return damage


def _file(name: str, change: Callable[[Path], object]) -> Damage:
    def damage(store: RoundStore) -> None:
        (path,) = Path(store.root).glob(name)
        change(path)

    return damage


def _model_file(change: Callable[[Path], None]) -> Damage:
    return lambda store: change(Path(store.root) / store.models[1].artifact.path)


def _accepted_file(change: Callable[[Path], None]) -> Damage:
    return lambda store: change(Path(store.root) / store.rounds[1].accepted[0].path)


def _drop_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_page(path: Path) -> None:
    """Change a value, and no structure: without page checksums it is read as another value."""
    data = bytearray(path.read_bytes())
    place = data.index((101).to_bytes(8, "little"))
    data[place] ^= 0xFF
    path.write_bytes(data)


def _flip_last_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4] + b"RAP1")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _swap(one: str, other: str) -> Damage:
    """Let two files change places."""

    def damage(store: RoundStore) -> None:
        (a,), (b,) = (Path(store.root).glob(name) for name in (one, other))
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)

    return damage


def _write_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def _remove_tree(name: str) -> Damage:
    return lambda store: shutil.rmtree(Path(store.root) / name)


def _nothing_but(name: str) -> Damage:
    """Lose everything of a kind, as a clean-up by pattern would."""
    return lambda store: shutil.rmtree(Path(store.root) / name / store.run_id)


# What a start refuses: exit code 5, and nothing is written.
STORED: dict[str, tuple[Damage, str]] = {
    "edited round": (_edit("round-0001.json", code_version="x"), "round-0001.json"),
    "edited last manifest": (_edit("final-0002.json", best_round=0), "final-0002.json"),
    "resealed model": (_reseal("model-0001.json", seconds={"fit": 1}), "round-0001.json"),
    "resealed round": (_reseal("round-0002.json", seconds={"fit": 1.0}), "model-0003.json"),
    "resealed parent of the end": (
        _reseal("model-0003.json", seconds={"fit": 1}),
        "final-0002.json",
    ),
    "other output": (_reseal("model-0001.json", output_id="x"), "model-0001.json"),
    "other run": (_reseal("model-0001.json", run_id="x"), "model-0001.json"),
    "other configuration": (_reseal("round-0001.json", config_sha256="0" * 64), "round-0001.json"),
    "other inputs": (_reseal("round-0001.json", inputs_sha256="0" * 64), "round-0001.json"),
    "too late an end": (_reseal("final-0002.json", final_model=9), "final-0002.json"),
    "newer layout": (_edit("model-0002.json", layout=9), "model-0002.json"),
    "empty manifest": (_write("model-0002.json", b""), "model-0002.json"),
    "truncated manifest": (_write("model-0002.json", b'{"layout":1,'), "model-0002.json"),
    "binary manifest": (_write("model-0002.json", b"\xff\xfe\x00"), "model-0002.json"),
    "first missing": (_remove("model-0001.json"), "model-0001.json"),
    "gap": (_remove("round-0001.json"), "round-0001.json"),
    "gap before the end": (_remove("model-0003.json"), "final-0002.json"),
    "copied forward": (_copy("round-0002.json", "round-0003.json"), "round-0003.json"),
    "copied behind a gap": (_copy("round-0002.json", "round-0009.json"), "round-0003.json"),
    "copied end": (_copy("final-0002.json", "final-0001.json"), "final-0001.json"),
    "swapped kinds": (_copy("model-0002.json", "round-0002.json"), "round-0002.json"),
    "model gone": (_model_file(Path.unlink), "model.skops"),
    "model truncated": (_model_file(_drop_last_byte), "model.skops"),
    "accepted gone": (_accepted_file(Path.unlink), "part-0.parquet"),
    "accepted truncated": (_accepted_file(_drop_last_byte), "part-0.parquet"),
    "accepted empty": (_accepted_file(lambda path: path.write_bytes(b"")), "part-0.parquet"),
    "no attempts": (_nothing_but("_attempts"), "model.skops"),
    "round swapped with the next": (
        _swap("_commits/*/round-0001.json", "_commits/*/round-0002.json"),
        "round-0001.json",
    ),
    "configuration changed": (
        _file("_runs/*/config.json", _write_text('{"id": "x"}')),
        "config.json",
    ),
    "configuration gone": (_file("_runs/*/config.json", Path.unlink), "config.json"),
    "inputs changed": (_file("_runs/*/inputs.json", _write_text("{}")), "inputs.json"),
    "inputs gone": (_file("_runs/*/inputs.json", Path.unlink), "inputs.json"),
    "layout empty": (_file("_layout.json", _write_text("")), "_layout.json"),
    "layout cut off": (_file("_layout.json", _cut_in_half), "_layout.json"),
    "layout of a later version": (_file("_layout.json", _write_text('{"layout": 2}')), "_layout"),
    "layout gone": (_file("_layout.json", Path.unlink), "_layout.json"),
}

# What is found by presence and length, by `verify` without --deep.
SHALLOW: dict[str, tuple[Damage, str]] = {
    "model swapped": (_model_file(lambda path: path.write_bytes(path.read_bytes()[::-1])), "skops"),
    "models swapped": (_swap("model/model.skops", "_attempts/*/model-0001/*/*.skops"), "model"),
    "given rows gone": (_file("_runs/*/given.parquet", Path.unlink), "given.parquet"),
    "labels gone": (_remove_tree("labels"), "labels"),
    "invalid gone": (_remove_tree("invalid"), "invalid"),
    "a file of labels gone": (_file("labels/part-1.parquet", Path.unlink), "part-1.parquet"),
    "a file of labels empty": (
        _file("labels/part-1.parquet", lambda path: path.write_bytes(b"")),
        "part-1.parquet",
    ),
    "a file of labels cut off": (_file("labels/part-1.parquet", _drop_last_byte), "part-1.parquet"),
    "a file among the labels": (
        lambda store: write_rows(Path(store.root) / "labels", 0, 1, "mine.parquet"),
        "mine.parquet",
    ),
    "a folder among the labels": (
        lambda store: write_rows(Path(store.root) / "labels/round=3", 0, 1),
        "labels/round=3/part-0.parquet",
    ),
    "marker of the labels gone": (_file("labels/_view.json", Path.unlink), "labels"),
    "marker of the labels cut off": (_file("labels/_view.json", _cut_in_half), "labels"),
    "labels of another table": (
        lambda store: shutil.copytree(
            Path(store.root) / "invalid", Path(store.root) / "labels", dirs_exist_ok=True
        ),
        "labels",
    ),
    "published model gone": (_file("model/model.skops", Path.unlink), "model/model.skops"),
    "report changed": (
        _file("report.json", lambda path: edit_json(path, n_iter=99)),
        "report.json",
    ),
    "report cut off": (_file("report.json", _cut_in_half), "report.json"),
    "report gone": (_file("report.json", Path.unlink), "report.json"),
    "page gone": (_file("report.html", Path.unlink), "report.html"),
}

# What has its right length, by `verify --deep` only.
DEEP: dict[str, tuple[Damage, str]] = {
    "page of a round flipped": (
        _file("_attempts/*/round-0001/*/accepted/*", _flip_page),
        "part-0.parquet",
    ),
    "end of a round flipped": (_accepted_file(_flip_last_bytes), "part-0.parquet"),
    "round of zeros": (_accepted_file(_zeros), "part-0.parquet"),
    "page of the labels flipped": (_file("labels/part-1.parquet", _flip_page), "part-1.parquet"),
    "labels of zeros": (_file("labels/part-1.parquet", _zeros), "part-1.parquet"),
    "training table of zeros": (_file("training/part-1.parquet", _zeros), "training/part-1"),
    "rows twice": (
        _file("labels/part-2.parquet", lambda path: write_rows(path.parent, 100, 2, path.name)),
        "labels",
    ),
    "given rows of zeros": (_file("_runs/*/given.parquet", _zeros), "given.parquet"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = two_rounds(tmp_path_factory.mktemp("whole"))
    put_views(store)
    return Path(store.root)


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


def _open(root: Path) -> RoundStore:
    return RoundStore.open(LocalFiles(), str(root))


def _problems(out: Path, *, deep: bool) -> list[Problem]:
    return verify_output(LocalFiles(), str(out), deep).problems


def test_there_are_enough_kinds() -> None:
    assert len({*STORED, *SHALLOW, *DEEP}) == len(STORED) + len(SHALLOW) + len(DEEP) >= 60


def test_undamaged_nothing_is_found(out: Path) -> None:
    assert _problems(out, deep=True) == []


@pytest.mark.parametrize("kind", STORED)
def test_a_start_refuses_it_by_name_and_writes_nothing(kind: str, out: Path) -> None:
    damage, named = STORED[kind]
    damage(_open(out))
    before = tree(out)
    with pytest.raises(StoredStateError, match=named.replace(".", r"\.")) as caught:
        begin(out)
    assert caught.value.exit_code == 5
    assert named in str(caught.value.where)
    assert tree(out) == before


@pytest.mark.parametrize("kind", [kind for kind in STORED if kind != "layout gone"])
def test_verify_names_what_a_start_refuses(kind: str, out: Path) -> None:
    damage, named = STORED[kind]
    damage(_open(out))
    assert any(named in problem.path for problem in _problems(out, deep=False))


@pytest.mark.parametrize("kind", SHALLOW)
def test_verify_finds_it_without_reading_the_data(kind: str, out: Path) -> None:
    damage, named = SHALLOW[kind]
    damage(_open(out))
    assert any(named in problem.path for problem in _problems(out, deep=False))


@pytest.mark.parametrize("kind", DEEP)
def test_verify_deep_finds_what_has_its_right_length(kind: str, out: Path) -> None:
    damage, named = DEEP[kind]
    damage(_open(out))
    assert _problems(out, deep=False) == []
    (problem,) = _problems(out, deep=True)
    assert named in problem.path


def test_the_command_ends_with_5_and_tells_all(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("page of a round flipped", "labels of zeros"):
        DEEP[kind][0](_open(out))
    assert main(["verify", str(out)]) == 0
    capsys.readouterr()
    assert main(["verify", str(out), "--deep", "--output-format", "json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], len(document["problems"])) == (False, 2)


def test_damaged_given_rows_are_refused_where_they_are_used(out: Path) -> None:
    DEEP["given rows of zeros"][0](_open(out))
    with pytest.raises(StoredStateError, match=r"given\.parquet"):
        read_given(_open(out))


def test_a_file_changed_between_its_check_and_its_commit_is_not_committed(tmp_path: Path) -> None:
    store = begin(tmp_path, identity=IDENTITY)
    attempt = store.new_attempt("model", 1)
    artifact = Artifact(path=f"{attempt.rel}/m", bytes=5, sha256="0" * 64, estimator="none")
    Path(attempt.path).mkdir(parents=True)
    (Path(attempt.path) / "m").write_bytes(b"four")
    with pytest.raises(StoredStateError, match="must have 5 bytes, has 4"):
        store.commit_model(attempt, fitted(artifact))
    assert store.models == ()
