"""Small runs on disk, and a file system that fails as told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spark_pseudolabel.core.selection.counts import Counts
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.teachers.weights import RowWeights
from spark_pseudolabel.store.facts import Content, RoundCounts, RunCounts, StoredReport, Training
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.inputs import FrozenInputs, FrozenPool, FrozenRows, SeenFile
from spark_pseudolabel.store.layout import VIEWS, given_file
from spark_pseudolabel.store.manifest import (
    Artifact,
    DecidedRound,
    FileEntry,
    FinalManifest,
    FittedModel,
    ModelManifest,
    RoundManifest,
    RunEnd,
)
from spark_pseudolabel.store.store import RoundStore

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

IDENTITY = {"id": "row_id", "selection": {"policy": "threshold", "threshold": 0.9}}


def frozen(*files: tuple[str, int, int], rows: int = 2, seen: int = 1) -> FrozenInputs:
    """Freeze two labeled rows, and a pool of some files that was listed at a time."""
    listed = tuple(SeenFile(*file) for file in files)
    return FrozenInputs(
        labeled=FrozenRows(rows=2, sha256="0" * 64),
        validation=FrozenRows(rows=0, sha256="1" * 64),
        unlabeled=FrozenPool(schema="struct<row_id:bigint>", rows=rows, files=listed),
        seen={"labeled": (SeenFile("", 5, seen),)},
    )


INPUTS = frozen(("part-0.parquet", 10, 1))


class FlakyFiles(LocalFiles):
    """Local files whose operations can be replaced, and that count deletions."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.on_put: Callable[[str, bytes], bool] | None = None
        self.on_read: Callable[[str], bytes] | None = None

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self.on_put(path, data) if self.on_put else super().put_if_absent(path, data)

    def read(self, path: str) -> bytes:
        return self.on_read(path) if self.on_read else super().read(path)

    def delete_tree(self, path: str) -> None:
        self.deleted.append(path)
        super().delete_tree(path)


def begin(root: Path, **changes: Any) -> RoundStore:
    """Begin or continue a run in `root`."""
    given = {"identity": IDENTITY, "inputs": INPUTS, "code_version": "0.1.0", **changes}
    return RoundStore.begin(LocalFiles(), str(root), **given)


def tiny_model(number: int = 1) -> LogisticRegression:
    """Fit two classes on six rows; each number gives another model."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=float(number))
    return model.fit([[i] for i in range(6)], [i > 2 for i in range(6)])


def add_model(store: RoundStore) -> ModelManifest:
    """Commit the next model."""
    number = len(store.models) + 1
    attempt = store.new_attempt("model", number)
    _keep_given(store)
    artifact = store.write_model(attempt, tiny_model(number))
    return store.commit_model(attempt, fitted(artifact, (False, True), "boolean"))


def add_round(store: RoundStore, rows: int = 2) -> RoundManifest:
    """Commit the next round: `rows` accepted rows in one file, two where rows are even."""
    number = len(store.rounds) + 1
    attempt = store.new_attempt("round", number)
    write_rows(Path(attempt.path) / "accepted", first=100 * number, rows=rows)
    return store.commit_round(attempt, decided(rows, store.entries(attempt, "accepted")))


TRAINING = Training(
    rows=2,
    rows_pseudo=0,
    hash_limits=None,
    weights=RowWeights(),
    sha256="0" * 64,
    against_best=None,
)


def fitted(
    artifact: Artifact, classes: tuple[Any, ...] = (0, 1), label_type: str = "int", **more: Any
) -> FittedModel:
    """Say of a model as little as can be said."""
    return FittedModel(
        artifact=artifact, classes=classes, label_type=label_type, training=TRAINING, **more
    )


def counts_of(**rows: Any) -> RoundCounts:
    """Count the rows of a round that accepts all of them."""
    accepted = rows.get("accepted", 0)
    known = {"candidates": accepted, "accepted": accepted, "rejected": 0, "invalid": 0}
    given = known | {"accepted_by_code": (0, accepted), "changed": True} | rows
    return RoundCounts.model_validate(given)


def decided(rows: int, accepted: Sequence[FileEntry] = (), **counts: Any) -> DecidedRound:
    """Say of a round that it accepts so many rows."""
    return DecidedRound(
        plan=Plan({"policy": "threshold", "threshold": 0.9}, (None, Cut(0.9, "none"))),
        accepted=tuple(accepted),
        counts=counts_of(accepted=rows, **counts),
        histogram=Counts.from_rows(2, [(1, 950, rows)]),
        content=Content(rows=rows, xor64_a=1, xor64_b=-1),
    )


def ended(
    best_round: int,
    accepted: int = 0,
    rounds: Sequence[Mapping[str, Any]] = (),
    reason: str = "max_iter",
) -> RunEnd:
    """Say of a run that it has ended with the model after a round."""
    rows = dict.fromkeys(("labeled", "validation", "pool", "rejected", "invalid"), 0)
    return RunEnd(
        termination_condition=reason,
        best_round=best_round,
        final_model=best_round + 1,
        counts=RunCounts(**rows, accepted=accepted),
        report=StoredReport.of({"rounds": list(rounds)}),
    )


def go_on(root: Path) -> RoundStore:
    """Take a run from wherever it is to its end after two rounds, views included.

    Its files hold a few bytes each instead of models and tables: what kills it is tested without
    the seconds that importing scikit-learn takes.
    """
    store = begin(root)
    while len(store.rounds) < 2:
        _plain_step(store)
    if len(store.models) == 2:
        _plain_step(store)
    if store.final is None:
        finish(store)
    for name in VIEWS:
        if not store.view_is_current(name):
            built = Path(store.new_view_dir())
            _plain_file(built / "file", name.encode())
            store.put_view(name, str(built), rows=0)
    return store


def kill_at(armed: str, root: Path) -> int:
    """Run `go_on` in a process of its own with a failpoint armed; return its exit code."""
    code = "import pathlib, sys; from tests.store.builders import go_on; "
    code += "go_on(pathlib.Path(sys.argv[1]))"
    here = Path(__file__).parents[2]
    env = os.environ | {"SPL_FAILPOINT": armed, "PYTHONPATH": str(here)}
    return subprocess.run([sys.executable, "-c", code, root], env=env, cwd=here).returncode


def _keep_given(store: RoundStore) -> None:
    given = Path(store.root) / given_file(store.run_id)
    if not given.exists():
        write_rows(given.parent, first=0, rows=2, name=given.name)


def _plain_step(store: RoundStore) -> None:
    kind, number = store.history.next_step()
    attempt = store.new_attempt(kind, number)
    content = attempt.id.encode()
    _plain_file(Path(attempt.path) / "accepted" / "file", content)
    (entry,) = store.entries(attempt, "accepted", rows={"file": 1})
    if kind == "round":
        store.commit_round(attempt, decided(1, [entry]))
        return
    digest = hashlib.sha256(content).hexdigest()
    artifact = Artifact(path=entry.path, bytes=entry.bytes, sha256=digest, estimator="none")
    store.commit_model(attempt, fitted(artifact))


def _plain_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def finish(store: RoundStore) -> FinalManifest:
    """Commit the end of the run after its last round, model n + 1 being the final one."""
    end = ended(
        best_round=len(store.rounds),
        accepted=sum(e.rows for r in store.rounds for e in r.accepted),
        rounds=[{"round": r.number, "used": True} for r in store.rounds],
    )
    return store.commit_final(store.new_attempt("final", len(store.rounds)), end)


def two_rounds(root: Path) -> RoundStore:
    """Run two rounds to their end, without views."""
    store = begin(root)
    for _ in range(2):
        add_model(store)
        add_round(store)
    add_model(store)
    finish(store)
    return store


def put_views(store: RoundStore) -> None:
    """Build every view, and write the reports, of a run made by these builders."""
    for name in VIEWS:
        if name == "model":
            continue
        built = Path(store.new_view_dir())
        for done in store.rounds:
            rows = sum(entry.rows for entry in done.accepted) if name == "labels" else 0
            write_rows(built, 100 * done.number, rows, f"part-{done.number}.parquet")
        store.put_view(name, str(built))
    store.put_model_view()
    put_reports(store)


def put_reports(store: RoundStore) -> None:
    """Write the reports of a finished run."""
    assert store.final is not None
    store.write_report("report.json", json.dumps(store.final.report.document).encode())
    store.write_report("report.html", b"<html>")


def write_rows(folder: Path, first: int, rows: int, name: str = "part-0.parquet") -> None:
    """Write rows with ids from `first` on."""
    folder.mkdir(parents=True, exist_ok=True)
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pa.array(range(first, first + rows), pa.int64())
    # Page checksums as Spark writes them.
    table = pa.table({"row_id": ids, "label": [True] * rows})
    pq.write_table(table, folder / name, write_page_checksum=True)


def commit_path(store: RoundStore, name: str) -> Path:
    """Return the path of a manifest."""
    return Path(store.root) / "_commits" / store.run_id / name


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file by hand, as a person would."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below `root` with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
