"""Verification: is everything that the manifests name there, whole and unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.manifest import (
    FileEntry,
    FinalManifest,
    Manifest,
    ModelManifest,
    RoundManifest,
    read_json,
)
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.views import parquet_rows, read_marker

_CHUNK = 2**20
_MAX_SHOWN = 5


@dataclass(frozen=True)
class VerifyResult:
    """Outcome of a verification.

    Parameters
    ----------
    checked
        How many files were looked at.
    problems
        ``{"path", "problem"}`` of each thing that is wrong; paths relative to the output.
    """

    checked: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


def verify_output(files: Files, root: str, deep: bool = False) -> VerifyResult:
    """Verify an output directory, even one whose history cannot be read.

    Raises
    ------
    InputError
        If there is no run.
    """
    try:
        store = RoundStore.open(files, root)
    except StoredStateError as error:
        place = (error.where or root).removeprefix(root).lstrip("/")
        return VerifyResult(1, [{"path": place, "problem": error.message}])
    return verify(store, deep)


def verify(store: RoundStore, deep: bool = False) -> VerifyResult:
    """Check an output against its manifests, whose chain was checked when `store` was opened.

    Parameters
    ----------
    store
        The opened run.
    deep
        Also read every file: rows and sha256 of the data, rows and ids of the views.

    Returns
    -------
    VerifyResult
        All problems, not only the first.
    """
    problems = list(_problems(store, deep))
    listed = sum(len(manifest.listed_files()) for manifest in store.history.manifests)
    checked = len(store.history.manifests) + listed + _view_files(store)
    return VerifyResult(checked, [{"path": p, "problem": what} for p, what in problems])


def _problems(store: RoundStore, deep: bool) -> Iterator[tuple[str, str]]:
    for manifest in store.history.manifests:
        found = store.file_problems(manifest)
        yield from found
        broken = {path for path, _ in found}
        yield from _model_problems(store, manifest, broken)
        if deep and isinstance(manifest, RoundManifest):
            yield from _round_problems(store, manifest, broken)
    if store.final is not None:
        yield from _final_problems(store, store.final, deep)


def _model_problems(
    store: RoundStore, manifest: Manifest, broken: set[str]
) -> Iterator[tuple[str, str]]:
    if isinstance(manifest, ModelManifest) and manifest.artifact.path not in broken:
        artifact = manifest.artifact
        yield from _hash_problems(store, artifact.path, artifact.sha256)


def _round_problems(
    store: RoundStore, manifest: RoundManifest, broken: set[str]
) -> Iterator[tuple[str, str]]:
    for entry in (*manifest.scored, *manifest.accepted, *manifest.invalid):
        if entry.path not in broken:
            yield from _entry_problems(store, entry)
    accepted = sum(entry.rows for entry in manifest.accepted)
    counted = manifest.counts.get("accepted", accepted)
    if accepted != counted:
        name = layout.commit_name("round", manifest.number)
        yield name, f"counts {counted:,} accepted rows; its files have {accepted:,}"


def _entry_problems(store: RoundStore, entry: FileEntry) -> Iterator[tuple[str, str]]:
    if entry.path.endswith(".parquet"):
        try:
            rows = parquet_rows(store.files, join(store.root, entry.path))
        except StoredStateError as error:
            yield entry.path, error.message
            return
        if rows != entry.rows:
            yield entry.path, f"must have {entry.rows:,} rows, has {rows:,}"
    if entry.sha256 is not None:
        yield from _hash_problems(store, entry.path, entry.sha256)


def _hash_problems(store: RoundStore, path: str, expected: str) -> Iterator[tuple[str, str]]:
    digest = hashlib.sha256()
    with store.files.open_input(join(store.root, path)) as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        yield path, f"was changed: sha256 must be {expected}, is {digest.hexdigest()}"


def _final_problems(
    store: RoundStore, final: FinalManifest, deep: bool
) -> Iterator[tuple[str, str]]:
    found = {name: store.view_problems(name) for name in layout.VIEWS}
    for problems in found.values():
        yield from problems
    yield from _report_problems(store)
    model = store.models[final.final_model - 1].artifact
    if not found["model"]:
        yield from _hash_problems(store, f"model/{layout.MODEL_NAME}", model.sha256)
    if deep and not found["labels"]:
        yield from _labels_problems(store, final)


def _report_problems(store: RoundStore) -> Iterator[tuple[str, str]]:
    where = join(store.root, layout.REPORT_JSON)
    try:
        report = read_json(store.files.read(where), where)
    except FileNotFoundError:
        yield layout.REPORT_JSON, "is gone; run again to rebuild it"
    except StoredStateError as error:
        yield layout.REPORT_JSON, error.message
    else:
        if report.get("run_id") != store.run_id:
            yield layout.REPORT_JSON, f"is not of this run: run_id is {report.get('run_id')!r}"


def _labels_problems(store: RoundStore, final: FinalManifest) -> Iterator[tuple[str, str]]:
    import pyarrow

    try:
        rows, unique = _count_ids(store)
    except (pyarrow.ArrowInvalid, OSError, KeyError) as error:
        yield "labels", f"cannot be read: {error}"
        return
    expected = _accepted_rows(store, final)
    if expected is not None and rows != expected:
        yield "labels", f"must have {expected:,} rows, has {rows:,}"
    if unique != rows:
        yield "labels", f"must hold each row once; {rows - unique:,} rows are repeated"


def _accepted_rows(store: RoundStore, final: FinalManifest) -> int | None:
    """Return how many rows the used rounds accepted, None if that cannot be added up."""
    if store.identity.get("rounds", {}).get("relabel"):
        # Every round decided the whole pool anew: only the end knows what stands.
        counted = final.counts.get("accepted")
        return None if counted is None else int(counted)
    used = {entry["round"] for entry in final.report.get("rounds", []) if entry.get("used", True)}
    if not final.report.get("rounds"):
        used = set(range(1, final.number + 1))
    return sum(
        entry.rows
        for manifest in store.rounds
        if manifest.number in used
        for entry in manifest.accepted
    )


def _count_ids(store: RoundStore) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _id_columns(store.identity)
    marker = read_marker(store.files, store.root, "labels")
    parts = []
    for file in marker.files if marker else ():
        with store.files.open_input(join(store.root, f"labels/{file.path}")) as opened:
            parts.append(pq.read_table(opened, columns=columns))
    table = pa.concat_tables(parts)
    return table.num_rows, table.group_by(columns).aggregate([]).num_rows


def _id_columns(identity: dict[str, Any]) -> list[str]:
    name = identity.get("id")
    return [name] if name else ["file", "row_index"]


def _view_files(store: RoundStore) -> int:
    markers = (read_marker(store.files, store.root, name) for name in layout.VIEWS)
    return sum(len(marker.files) for marker in markers if marker)
