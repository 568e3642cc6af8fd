from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from spark_pseudolabel.core.trust.metrics import Metrics
from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.store.file_lists import MANY
from spark_pseudolabel.store.manifest import (
    FileEntry,
    FinalManifest,
    Manifest,
    ModelManifest,
    RoundManifest,
    canonical_json,
    decode,
    encode,
    normalized,
    safe_path,
    sha256,
)
from tests.store.builders import TRAINING, decided

SHA = "0" * 64


def _model(**changes: Any) -> ModelManifest:
    fields: dict[str, Any] = {
        "output_id": "o",
        "run_id": "r",
        "number": 1,
        "attempt_id": "a",
        "commit_id": "c",
        "config_sha256": SHA,
        "inputs_sha256": SHA,
        "code_version": "0.1.0",
        "written_at": "2026-01-01T00:00:00+00:00",
        "writer": {"host": "h", "pid": 1},
        "artifact": {"path": "_attempts/r/m", "bytes": 1, "sha256": SHA, "estimator": "e"},
        "classes": ["no", "yes"],
        "label_type": "string",
        "training": TRAINING,
    }
    return ModelManifest(**fields | changes)


def test_equal_documents_have_equal_bytes() -> None:
    one = canonical_json({"b": [1, 2.5], "a": {"ü": None}})
    two = canonical_json({"a": {"ü": None}, "b": (1, 2.5)})
    assert one == two == '{"a":{"ü":null},"b":[1,2.5]}\n'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": value})


def test_an_object_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="object"):
        canonical_json({"a": object()})


def test_numpy_scalars_and_models_become_plain() -> None:
    entry = FileEntry(path="_attempts/f", bytes=1, rows=2)
    assert normalized(
        {"n": np.int64(3), "x": np.float64(0.5), "b": np.bool_(True), "e": entry}
    ) == {
        "n": 3,
        "x": 0.5,
        "b": True,
        "e": {"path": "_attempts/f", "bytes": 1, "rows": 2, "sha256": None},
    }


def _round(n_files: int) -> RoundManifest:
    entries = [
        FileEntry(path=f"_attempts/r/round-0001/a/accepted/part-{i}.parquet", bytes=i, rows=2 * i)
        for i in range(n_files)
    ]
    common = _model().model_dump(include=set(Manifest.model_fields) - {"kind"})
    return RoundManifest(**common, **dict(decided(0, entries)))


@pytest.mark.parametrize("n_files", [0, 3, MANY, MANY + 1])
def test_files_of_a_round_read_back_as_they_were_written(n_files: int) -> None:
    made = _round(n_files)
    data = encode(made)
    found = decode(data, RoundManifest, "f")
    assert found.accepted == made.accepted
    assert found.listed_files() == made.listed_files()
    assert isinstance(json.loads(data)["accepted"], dict) == (n_files > MANY)
    # Lists as earlier versions wrote them, however long.
    plain = json.loads(data) | {"accepted": normalized(made.accepted)}
    plain.pop("checksum")
    signed = canonical_json({**plain, "checksum": sha256(canonical_json(plain))})
    assert decode(signed, RoundManifest, "f").accepted == made.accepted


def test_many_files_take_a_third_of_the_room() -> None:
    made = _round(MANY + 1)
    as_objects = canonical_json(normalized(made.accepted))
    assert 3 * len(canonical_json(json.loads(encode(made))["accepted"])) < len(as_objects)


@pytest.mark.parametrize(
    "changes",
    [
        {"folder": "_attempts/../../etc"},
        {"folder": "/etc"},
        {"names": ["../x"]},
        {"names": [".."]},
        {"names": ["a\nb"]},
        {"names": [""]},
        {"names": ["a\\b"]},
        {"names": ["a", "b"]},
        {"rows": [-1]},
        {"bytes": ["1"]},
        {"more": []},
    ],
)
def test_columns_of_files_are_held_to_the_same(changes: dict[str, Any]) -> None:
    right = {"folder": "_attempts/r/round-0001/a", "names": ["x"], "bytes": [1], "rows": [1]}
    assert _with_files(right).accepted[0].path == "_attempts/r/round-0001/a/x"
    with pytest.raises(ValidationError):
        _with_files(right | changes)


def _with_files(files: dict[str, Any]) -> RoundManifest:
    document = _round(0).model_dump(mode="json") | {"accepted": files}
    return RoundManifest.model_validate(document)


@pytest.mark.parametrize("classes", [["a", "b"], [0, 1], [False, True], ["1", "2"]])
def test_classes_keep_their_type(classes: list[Any]) -> None:
    found = decode(encode(_model(classes=classes)), ModelManifest, "f").classes
    assert [(type(c), c) for c in found] == [(type(c), c) for c in classes]


def test_a_manifest_reads_back_as_it_was_written() -> None:
    data = encode(_model(validation=Metrics(3, 0.1, 0.30000000000000004, None, None)))
    assert encode(decode(data, ModelManifest, "f")) == data


EARLIER = sorted((Path(__file__).parent / "earlier").iterdir())


@pytest.mark.parametrize("file", EARLIER, ids=lambda file: file.stem)
def test_what_an_earlier_version_wrote_is_read_and_would_be_written_the_same(file: Path) -> None:
    kinds = {"model": ModelManifest, "round": RoundManifest, "final": FinalManifest}
    cls = kinds[file.stem.split("-")[1]]
    data = file.read_bytes()
    found = decode(data, cls, file.name)
    written = json.loads(encode(found)) | {"checksum": None}
    earlier = json.loads(data) | {"checksum": None}
    # Fields may be added.
    assert _in_common(written, earlier) == earlier


def _in_common(written: Any, earlier: Any) -> Any:
    if isinstance(earlier, dict):
        return {key: _in_common(written[key], earlier[key]) for key in earlier}
    return written


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("_attempts/r/round-0001/a/part-0.parquet", True),
        ("_attempts/a b/ü", True),
        ("_attempts", False),
        ("_attempts/../../etc/passwd", False),
        ("_attempts/./a", False),
        ("_attempts//a", False),
        ("/etc/passwd", False),
        ("../other/_attempts/a", False),
        ("labels/part-0.parquet", False),
        ("s3://other/bucket", False),
        ("_attempts/..\\..\\a", False),
        ("_attempts/a\0b", False),
        ("", False),
    ],
)
def test_a_path_stays_below_the_attempts(path: str, fits: bool) -> None:
    if fits:
        assert safe_path(path) == path
    else:
        with pytest.raises(ValueError, match="_attempts"):
            safe_path(path)


def test_a_manifest_cannot_name_a_file_elsewhere() -> None:
    document = json.loads(encode(_model()))
    document["artifact"]["path"] = "_attempts/../../secret"
    with pytest.raises(StoredStateError, match=r"without '\.\.'"):
        decode(canonical_json(document), ModelManifest, "model-0001.json")


def test_only_allowed_spark_settings_reach_a_manifest() -> None:
    manifest = _model(
        spark={
            "app_id": "app-1",
            "version": "4.3.0",
            "master": "spark://user:hunter2@host:7077",
            "spark.hadoop.fs.s3a.secret.key": "hunter3",
        }
    )
    data = encode(manifest)
    assert manifest.spark == {
        "app_id": "app-1",
        "master": "spark://host:7077",
        "version": "4.3.0",
    }
    assert b"hunter" not in data


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b"\x80\x04]q\x00.", "is not JSON"),
        (b"[1]", "must hold a JSON object"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "must say its layout"),
        (b'{"layout": true}', "must say its layout"),
        (b'{"layout": 1}', "does not hold a RoundManifest"),
        (b'{"layout": 1, "x": NaN}', "NaN is not JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(data: bytes, said: str) -> None:
    with pytest.raises(StoredStateError, match=said) as caught:
        decode(data, RoundManifest, "/out/round-0001.json")
    assert caught.value.where == "/out/round-0001.json"
    assert "/out/round-0001.json" in caught.value.message


def test_a_newer_layout_is_refused_before_its_schema() -> None:
    with pytest.raises(StoredStateError, match="layout 2") as caught:
        decode(b'{"layout": 2, "new_key": 1}', RoundManifest, "f")
    assert caught.value.code == "newer_layout"


@pytest.mark.parametrize("key", ["number", "code_version", "label_type", "checksum"])
def test_an_edit_shows_without_a_later_manifest(key: str) -> None:
    document = json.loads(encode(_model()))
    document[key] = 7 if key == "number" else "edited"
    with pytest.raises(StoredStateError, match="checksum"):
        decode(canonical_json(document), ModelManifest, "f")


def test_an_unknown_key_is_refused() -> None:
    document = json.loads(encode(_model())) | {"extra": 1}
    with pytest.raises(StoredStateError, match="extra"):
        decode(canonical_json(document), ModelManifest, "f")


def test_a_manifest_cannot_be_changed_in_memory() -> None:
    with pytest.raises(ValidationError):
        _model().number = 2  # type: ignore[misc]
