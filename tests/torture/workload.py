"""A run without Spark and models: small known rows in the files, the real store around them.

Everything goes the way of a run: lease, begin or resume, model and round in turn, end, views.
Told on a pipe is what a caller would be told: that a step has been committed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spark_pseudolabel.errors import InputError, StoredStateError
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.facts import StoredReport
from spark_pseudolabel.store.files import Files, LocalFiles, join
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.manifest import Artifact, FileEntry, canonical_json
from spark_pseudolabel.store.publish import writing
from spark_pseudolabel.store.store import Attempt, RoundStore
from spark_pseudolabel.store.verify import verify
from tests.store.builders import decided, ended, fitted, frozen

ROUNDS = 2
ROWS = 3
IDENTITY = {"id": "row_id", "selection": {"policy": "threshold", "threshold": 0.9}}
INPUTS = frozen(("part-0.parquet", 10, 1))

Tell = Callable[[str], object]


def _read_committed(root: str) -> list[int]:
    store = RoundStore.open(LocalFiles(), root)
    return [row for done in store.rounds for entry in done.accepted for row in rows_in(root, entry)]


@dataclass(frozen=True)
class Ways:
    """How the work is done; a planted bug is another way.

    Parameters
    ----------
    files
        Where it goes.
    store
        What commits.
    data_first
        False writes the data after the manifest that names it.
    read
        How a reader reads the rows of an output.
    """

    files: Files = field(default_factory=LocalFiles)
    store: type[RoundStore] = RoundStore
    data_first: bool = True
    read: Callable[[str], list[int]] = _read_committed


def to_the_end(root: str, ways: Ways, tell: Tell = lambda said: None) -> None:
    """Take a run from wherever it is to its end."""
    with hold(ways.files, root, owner="torture"):
        work(root, ways, tell)


def work(root: str, ways: Ways, tell: Tell = lambda said: None) -> None:
    """Do the same without a lease."""
    store = ways.store.begin(ways.files, root, IDENTITY, INPUTS, "0")
    with writing(root):
        ways.files.put_if_absent(join(root, layout.given_file(store.run_id)), b"given")
    tell("run")
    while (step := _next(store)) is not None:
        commit_step(store, ways, *step)
        tell("{}-{:04d}".format(*step))
    for name in layout.VIEWS:
        if not store.view_is_current(name):
            _build_view(store, ways, name)
    with writing(root):
        store.write_report(layout.REPORT_JSON, canonical_json(_report_of(store)))
        store.write_report(layout.REPORT_HTML, b"<html>")


def commit_step(store: RoundStore, ways: Ways, kind: layout.CommitKind, number: int) -> None:
    """Write the data of a step and commit it."""
    attempt = store.new_attempt(kind, number)
    if kind == "final":
        _commit_final(store, attempt)
        return
    content = content_of(kind, number)
    entry = _entry(attempt, content)
    steps = [
        lambda: _write(ways.files, store.root, entry, content),
        lambda: _commit(store, attempt, entry),
    ]
    for step in steps if ways.data_first else reversed(steps):
        step()


def content_of(kind: str, number: int) -> bytes:
    """Return the data of a step: the same in every run."""
    if kind == "model":
        return f"model {number}\n".encode() * 50
    return "".join(f"{row}\n" for row in _rows_of(number)).encode()


def rows_in(root: str, entry: FileEntry) -> list[int]:
    """Return the rows of a data file."""
    return [int(line) for line in (Path(root) / entry.path).read_text().splitlines()]


def prefixes() -> list[list[int]]:
    """Return what a reader may find: the rows of no round, of the first, of the first two, ..."""
    return [[r for n in range(1, k + 1) for r in _rows_of(n)] for k in range(ROUNDS + 1)]


def problems_of(root: str, told: list[str]) -> list[str]:
    """Return what is wrong with an output after its writer was killed.

    Parameters
    ----------
    root
        The output.
    told
        The steps whose commit the writer was told of.
    """
    try:
        store = RoundStore.open(LocalFiles(), root)
    except InputError:
        return [f"lost: {told}"] if told else []
    except StoredStateError as error:
        return [f"torn: {error.message}"]
    return [*_lost(store, told), *_torn(store)]


def problems_at_the_end(root: str, before: list[str]) -> list[str]:
    """Return what is wrong with an output that should be finished.

    Parameters
    ----------
    root
        The output.
    before
        `commits` of the run before it was taken to its end.
    """
    store = RoundStore.open(LocalFiles(), root)
    problems = [f"verify: {problem}" for problem in verify(store, deep=False).problems]
    if (len(store.models), len(store.rounds)) != (ROUNDS + 1, ROUNDS) or store.final is None:
        problems.append(f"unfinished: {commits(root)}")
    labels = sorted(int(line) for line in (Path(root) / "labels/file").read_text().splitlines())
    if labels != prefixes()[-1]:
        problems.append(f"labels: {labels}")
    if not set(before) <= set(commits(root)):
        problems.append(f"replaced: {sorted(set(before) - set(commits(root)))}")
    return problems


def commits(root: str) -> list[str]:
    """Return kind, number and identity of everything that is committed."""
    try:
        store = RoundStore.open(LocalFiles(), root)
    except (InputError, StoredStateError):
        return []
    return [f"{m.kind}-{m.number:04d} {m.commit_id}" for m in store.history.manifests]


def _next(store: RoundStore) -> tuple[layout.CommitKind, int] | None:
    if store.final is not None:
        return None
    kind, number = store.history.next_step()
    return ("final", ROUNDS) if (kind, number) == ("round", ROUNDS + 1) else (kind, number)


def _rows_of(number: int) -> range:
    return range(100 * number, 100 * number + ROWS)


def _entry(attempt: Attempt, content: bytes) -> FileEntry:
    return FileEntry(path=f"{attempt.rel}/accepted/file", bytes=len(content), rows=ROWS)


def _write(files: Files, root: str, entry: FileEntry, content: bytes) -> None:
    """Write data as Spark's workers do: an ordinary file that nobody flushes."""
    path = Path(root) / entry.path
    with writing(str(path)):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)


def _commit(store: RoundStore, attempt: Attempt, entry: FileEntry) -> None:
    if attempt.kind == "round":
        store.commit_round(attempt, decided(ROWS, [entry]))
        return
    digest = hashlib.sha256(content_of(attempt.kind, attempt.number)).hexdigest()
    artifact = Artifact(path=entry.path, bytes=entry.bytes, sha256=digest, estimator="none")
    store.commit_model(attempt, fitted(artifact))


def _commit_final(store: RoundStore, attempt: Attempt) -> None:
    report = StoredReport.of(_report_of(store))
    store.commit_final(attempt, ended(ROUNDS).model_copy(update={"report": report}))


def _report_of(store: RoundStore) -> dict[str, str]:
    return {"run_id": store.run_id}


def _build_view(store: RoundStore, ways: Ways, name: str) -> None:
    if name == "model":
        store.put_model_view()
        return
    built = store.new_view_dir()
    rows = [row for done in store.rounds for e in done.accepted for row in rows_in(store.root, e)]
    with writing(built):
        ways.files.make_dirs(built)
        Path(join(built, "file")).write_text("".join(f"{row}\n" for row in rows))
    store.put_view(name, built, len(rows), {"file": len(rows)})


def _lost(store: RoundStore, told: list[str]) -> Iterator[str]:
    found = {f"{m.kind}-{m.number:04d}" for m in store.history.manifests} | {"run"}
    yield from (f"lost: {name}" for name in told if name not in found)


def _torn(store: RoundStore) -> Iterator[str]:
    for manifest in store.history.manifests:
        for path, _ in manifest.listed_files():
            place = Path(store.root) / path
            expected = content_of(manifest.kind, manifest.number)
            if not os.path.exists(place) or place.read_bytes() != expected:
                yield f"torn: {manifest.kind} {manifest.number} is committed, {path} is not whole"
