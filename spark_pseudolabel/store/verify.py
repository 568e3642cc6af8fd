"""Verification: is everything that the manifests name there, whole and unchanged."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import FILE, ROW_INDEX
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.uniqueness import GROUP_ROWS, group_count, in_groups, repeated
from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.facts import Json
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.generations import Generations
from spark_pseudolabel.store.manifest import (
    FileEntry,
    FinalManifest,
    GraphManifest,
    Manifest,
    ModelManifest,
    Ref,
    RoundManifest,
    read_json,
)
from spark_pseudolabel.store.problem import Problem
from spark_pseudolabel.store.review import ReviewManifest
from spark_pseudolabel.store.snapshots import Snapshots
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.views import read_parquet
from spark_pseudolabel.wording import agreeing
from spark_pseudolabel.wording import counted as words

_CHUNK = 2**20
# Hashes that are looked for in one reading of all ids; a table of doubles takes several.
_COMPARED = 1_000_000
_MAX_SHOWN = 5
SINCE_THE_END = ("review", "audits", "certified")
"""What ``report.json`` says besides the report of the run's end."""


@dataclass(frozen=True)
class VerifyResult:
    """Outcome of a verification.

    Parameters
    ----------
    checked
        How many files were looked at.
    problems
        Each thing that is wrong.
    """

    checked: int = 0
    problems: list[Problem] = field(default_factory=list)

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
        generations = Generations.read(files, root)
        if generations is not None and generations.end(1) is not None:
            return _verify_generations(generations, deep)
        store = RoundStore.open(files, root)
    except StoredStateError as error:
        place = (error.where or "").removeprefix(redacted(root)).lstrip("/")
        return VerifyResult(1, [Problem(place, error.message)])
    return verify(store, deep)


@dataclass(frozen=True)
class _Asked:
    """What is asked of the files of a run.

    Parameters
    ----------
    deep
        Whether files are read.
    superseded
        Whether a later generation has put a model, and the tables that go with it, in place.
    retired
        Whether the scored rows were deleted, since the generation is an old one.
    report
        The document that ``report.json`` must be; None: it is that of another generation.
    counts_labels
        Whether the rows of ``OUT/labels`` are all its own.
    """

    deep: bool
    superseded: bool = False
    retired: bool = False
    report: Mapping[str, object] | None = None
    counts_labels: bool = True


def _verify_generations(generations: Generations, deep: bool) -> VerifyResult:
    """Check what all generations have left, each by its own manifests."""
    stores, ended = list(generations.stores()), generations.ended
    assert ended is not None
    end, _ = ended
    fitted = max(store.generation for store in stores if store.fits)
    problems = list(_chain_problems(generations))
    for store in stores:
        latest = store.final is not None and end.report is None and store.run_id == end.run_id
        asked = _Asked(
            deep,
            superseded=store.generation < fitted,
            retired=store.generation < generations.retired,
            report=store.final.report.document if latest and store.final is not None else None,
            counts_labels=False,
        )
        problems += _problems(store, asked)
    if end.report is not None:
        problems += report_problems(stores[0], end.report.document)
    for entry in end.entries:
        problems += _remembered_problems(stores[0], entry)
    if deep and not any(problem.path.startswith("labels/") for problem in problems):
        problems += _labels_problems(*(store for store in stores if store.final is not None))
    listed = sum(len(m.listed_files()) for store in stores for m in store.history.manifests)
    manifests = sum(len(store.history.manifests) for store in stores) + 2 * len(stores)
    views = sum(map(_view_files, stores))
    return VerifyResult(manifests + listed + views + len(end.entries), problems)


def _chain_problems(generations: Generations) -> Iterator[Problem]:
    """Yield slots of generations that are not what the slot after them names."""
    changed = "was changed after it was written: what follows it names another sha256"
    before: Ref | None = None
    for number in (1, *generations.numbers):
        claim = None if number == 1 else generations.claim(number)
        if claim is not None and before is not None and claim[0].previous != before:
            yield Problem(before.name, changed)
        ended = generations.end(number)
        if ended is not None and claim is not None and ended[0].claim != claim[1]:
            yield Problem(claim[1].name, changed)
        before = None if ended is None else ended[1]


def _remembered_problems(store: RoundStore, entry: FileEntry) -> Iterator[Problem]:
    if not store.files.exists(join(store.root, entry.path)):
        yield Problem(entry.path, "is gone")
        return
    yield from _entry_problems(store, entry)


def verify(store: RoundStore, deep: bool = False) -> VerifyResult:
    """Check an output against its manifests, whose chain was checked when `store` was opened.

    Parameters
    ----------
    store
        The opened run.
    deep
        Also read every file: rows, page checksums and sha256 (where recorded) of the data, rows
        and ids of the views.

    Returns
    -------
    VerifyResult
        All problems, not only the first.
    """
    document = None if store.final is None else store.final.report.document
    problems = list(_problems(store, _Asked(deep, report=document)))
    listed = sum(len(manifest.listed_files()) for manifest in store.history.manifests)
    checked = len(store.history.manifests) + listed + _view_files(store)
    return VerifyResult(checked, problems)


def _problems(store: RoundStore, asked: _Asked) -> Iterator[Problem]:
    deep = asked.deep
    for manifest in store.history.manifests:
        if asked.retired and isinstance(manifest, RoundManifest | GraphManifest):
            continue
        missing = store.file_problems(manifest)
        yield from missing
        broken = {problem.path for problem in missing}
        yield from _model_problems(store, manifest, broken)
        if deep and isinstance(manifest, GraphManifest):
            for entry in (manifest.ids, *manifest.edges):
                if entry.path not in broken:
                    yield from _entry_problems(store, entry)
        if deep and isinstance(manifest, RoundManifest):
            yield from _round_problems(store, manifest, broken)
        if deep and isinstance(manifest, ReviewManifest):
            for entry in manifest.entries():
                if entry.path not in broken:
                    yield from _entry_problems(store, entry)
    if store.models:
        yield from _given_problems(store, deep)
    frozen = store.inputs.unlabeled.snapshot
    if frozen is not None:
        yield from Snapshots(store.files, store.root).problems(frozen)
    if store.final is not None:
        yield from _final_problems(store, store.final, asked)


def _model_problems(store: RoundStore, manifest: Manifest, broken: set[str]) -> Iterator[Problem]:
    if isinstance(manifest, ModelManifest) and manifest.artifact.path not in broken:
        artifact = manifest.artifact
        yield from _hash_problems(store, artifact.path, artifact.sha256)
    for table in manifest.tables() if isinstance(manifest, ModelManifest) else ():
        if table.path not in broken:
            yield from _entry_problems(store, table)


def _round_problems(
    store: RoundStore, manifest: RoundManifest, broken: set[str]
) -> Iterator[Problem]:
    for entry in (*manifest.scored, *manifest.accepted, *manifest.invalid, *manifest.taught):
        if entry.path not in broken:
            yield from _entry_problems(store, entry)
    accepted = sum(entry.rows for entry in manifest.accepted)
    counted = manifest.counts.accepted
    if accepted != counted:
        name = layout.commit_name("round", manifest.number)
        yield Problem(name, f"counts {words(counted, 'accepted row')}; its files have {accepted:,}")


def _given_problems(store: RoundStore, deep: bool) -> Iterator[Problem]:
    path = layout.given_file(store.run_id)
    if not store.files.exists(join(store.root, path)):
        yield Problem(path, "is gone; run again to rebuild it")
    elif deep:
        yield from _parquet_problems(store, path)


def _entry_problems(store: RoundStore, entry: FileEntry) -> Iterator[Problem]:
    if entry.path.endswith(".parquet"):
        yield from _parquet_problems(store, entry.path, entry.rows)
    if entry.sha256 is not None:
        yield from _hash_problems(store, entry.path, entry.sha256)


def _parquet_problems(
    store: RoundStore, path: str, expected: int | None = None
) -> Iterator[Problem]:
    try:
        rows = read_parquet(store.files, join(store.root, path))
    except StoredStateError as error:
        yield Problem(path, error.message)
    else:
        if expected is not None and rows != expected:
            yield Problem(path, f"must have {words(expected, 'row')}, has {rows:,}")


def _hash_problems(store: RoundStore, path: str, expected: str) -> Iterator[Problem]:
    digest = hashlib.sha256()
    with store.files.open_input(join(store.root, path)) as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        yield Problem(path, f"was changed: sha256 must be {expected}, is {digest.hexdigest()}")


def _final_problems(store: RoundStore, final: FinalManifest, asked: _Asked) -> Iterator[Problem]:
    names = [name for name in store.views if name in layout.ADDED_VIEWS or not asked.superseded]
    by_view = {name: store.view_problems(name) for name in names}
    for problems in by_view.values():
        yield from problems
    if asked.report is not None:
        yield from report_problems(store, asked.report)
    model = store.models[final.final_model - 1].artifact
    if not by_view.get("model", True):
        yield from _hash_problems(store, f"model/{layout.MODEL_NAME}", model.sha256)
    if asked.deep:
        unread = [problem for name in names for problem in _view_problems(store, name, by_view)]
        yield from unread
        whole = not any(problem.path.startswith("labels/") for problem in unread)
        if asked.counts_labels and not by_view["labels"] and whole:
            yield from _labels_problems(store)


def _view_problems(
    store: RoundStore, name: str, by_view: dict[str, list[Problem]]
) -> Iterator[Problem]:
    marker = store.view_marker(name)
    # What is not there as it was built has been reported already.
    if marker is not None and not by_view[name]:
        for file in marker.files:
            if file.path.endswith(".parquet"):
                yield from _parquet_problems(store, f"{name}/{file.path}")


def report_problems(store: RoundStore, document: Mapping[str, object]) -> Iterator[Problem]:
    """Yield what is wrong with reports that are not those of the run's end."""
    if not store.files.exists(join(store.root, layout.REPORT_HTML)):
        yield Problem(layout.REPORT_HTML, "is gone; run again to rebuild it")
    where = join(store.root, layout.REPORT_JSON)
    try:
        report = read_json(store.files.read(where), where)
    except FileNotFoundError:
        yield Problem(layout.REPORT_JSON, "is gone; run again to rebuild it")
    except StoredStateError as error:
        yield Problem(layout.REPORT_JSON, error.message)
    else:
        # What people did since is told from commits of its own.
        of_end = {key: value for key, value in report.items() if key not in SINCE_THE_END}
        if of_end != {k: v for k, v in document.items() if k not in SINCE_THE_END}:
            yield Problem(
                layout.REPORT_JSON, "is not the report of this run's end; run again to rebuild it"
            )
        elif store.reviews and _commits_told(report) != len(store.reviews):
            yield Problem(
                layout.REPORT_JSON, "does not tell what people did since; run again to rebuild it"
            )


def _commits_told(report: Json) -> object:
    told = report.get("review")
    return told.get("commits") if isinstance(told, dict) else 0


def _labels_problems(*stores: RoundStore) -> Iterator[Problem]:
    try:
        rows, unique = count_ids(*stores)
    except (pa.ArrowException, OSError, KeyError) as error:
        yield Problem("labels", f"cannot be read: {error}")
        return
    expected = sum(map(_accepted_rows, stores))
    if rows != expected:
        yield Problem("labels", f"must have {words(expected, 'row')}, has {rows:,}")
    if unique != rows:
        again = f"{words(rows - unique, 'row')} {agreeing(rows - unique, 'is', 'are')} repeated"
        yield Problem("labels", f"must hold each row once; {again}")


def _accepted_rows(store: RoundStore) -> int:
    """Return how many rows the used rounds accepted, less and more what people did since."""
    assert store.final is not None
    return _accepted_by_rounds(store, store.final) + store.change_of_labels


def _accepted_by_rounds(store: RoundStore, final: FinalManifest) -> int:
    if store.settings.rounds.relabel:
        # Every round decided the whole pool anew: only the end knows what stands.
        return final.counts.accepted
    used = {entry.round for entry in final.report.rounds if entry.used}
    return sum(
        entry.rows
        for manifest in store.rounds
        if manifest.number in used
        for entry in manifest.accepted
    )


def count_ids(*stores: RoundStore) -> tuple[int, int]:
    """Count the rows of ``OUT/labels`` and their different ids, in bounded memory.

    Of all generations that are given, each of which has files of its own there.

    Hashes of ids, 8 bytes each, wait on the local disk in groups that fit into memory; only ids
    whose hashes are equal are compared themselves.
    """
    markers = [store.view_marker("labels") for store in stores]
    n_groups = group_count(sum(marker.rows for marker in markers if marker))
    rows, shared = 0, [np.zeros(0, dtype=np.uint64)]
    with tempfile.TemporaryDirectory(prefix="spark-pseudolabel-") as folder:
        for hashes in _hashes(stores):
            rows += len(hashes)
            for group, run in in_groups(hashes, n_groups):
                with open(f"{folder}/{group}", "ab") as waiting:
                    waiting.write(run.tobytes())
        for name in os.listdir(folder):
            shared.append(repeated([np.fromfile(f"{folder}/{name}", dtype=np.uint64)]))
    return rows, rows - _count_again(stores, np.concatenate(shared))


def _hashes(stores: Sequence[RoundStore]) -> Iterator[NDArray[np.int64]]:
    """Yield hashes of all ids, some million at a time, so that few files are opened for them."""
    waiting = [np.zeros(0, dtype=np.int64)]
    for batch in _ids(stores):
        waiting.append(xxhash64(batch.columns))
        if sum(map(len, waiting)) >= GROUP_ROWS:
            yield np.concatenate(waiting)
            waiting = waiting[:1]
    yield np.concatenate(waiting)


def _count_again(stores: Sequence[RoundStore], shared: NDArray[np.uint64]) -> int:
    """Count the rows whose id is in an earlier one, among those that share a hash."""
    if not len(shared):
        return 0
    values = pa.array(np.sort(shared).view(np.int64))
    again = 0
    for first in range(0, len(values), _COMPARED):
        part = values.slice(first, _COMPARED)
        same = [
            batch.filter(pc.is_in(pa.array(xxhash64(batch.columns)), value_set=part))
            for batch in _ids(stores)
        ]
        table = pa.Table.from_batches(same)
        again += table.num_rows - table.group_by(table.column_names).aggregate([]).num_rows
    return again


def _ids(stores: Sequence[RoundStore]) -> Iterator[pa.RecordBatch]:
    for store in stores:
        columns = [store.settings.id] if store.settings.id else [FILE, ROW_INDEX]
        marker = store.view_marker("labels")
        for file in marker.files if marker else ():
            with store.files.open_input(join(store.root, f"labels/{file.path}")) as opened:
                yield from pq.ParquetFile(opened).iter_batches(columns=columns)


def _view_files(store: RoundStore) -> int:
    markers = (store.view_marker(name) for name in store.views)
    return sum(len(marker.files) for marker in markers if marker)
