"""Garbage: what crashes left in an output, found by what no manifest names, and deleted if old."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spark_pseudolabel.store import layout
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import FileInfo, Files, join
from spark_pseudolabel.store.generations import End, Generations
from spark_pseudolabel.store.lease import hold, require_free
from spark_pseudolabel.store.manifest import GraphManifest, RoundManifest
from spark_pseudolabel.store.publish import writing
from spark_pseudolabel.store.snapshots import Snapshots
from spark_pseudolabel.store.store import RoundStore

DAY_S: Final = 24 * 60 * 60.0
# Younger ones may belong to a run whose lease went unnoticed, such as on another machine.
OLDER_THAN_S: Final = 7 * DAY_S

GarbageKind = Literal["attempt", "lost", "view", "start", "temp", "retired", "snapshot"]

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_STEPS = "graph|model|round|final|review"
_TEMP = re.compile(r"(?:^|/)\.[^/]+\.[0-9a-f]{32}\.tmp$")


@dataclass(frozen=True)
class Garbage:
    """Files that belong together and that nothing needs.

    Parameters
    ----------
    path
        Directory or file, relative to the output.
    kind
        ``attempt``: a try of a step that was not committed; ``lost``: a file beside those of a
        committed step, by a task that failed or ran twice; ``view``: a table built or put aside;
        ``start``: what a start froze before another one took the output; ``temp``: a file that
        was being written; ``retired``: what an old generation has scored, and what it knew of ids;
        ``snapshot``: a pool that was being frozen, or that no run names.
    files, bytes
        How much it is.
    changed_at
        When one of its files was last changed, in seconds since 1970; None if that is not known.
    """

    path: str
    kind: GarbageKind
    files: int
    bytes: int
    changed_at: float | None

    def is_older(self, moment: float) -> bool:
        """Tell whether nothing in it changed since a moment; what has no time never is."""
        return self.changed_at is not None and self.changed_at <= moment


@dataclass(frozen=True)
class Collected:
    """Outcome of a collection.

    Parameters
    ----------
    items
        What was deleted, or in a dry run would be.
    too_young
        How many others are garbage, too, but changed since.
    """

    items: tuple[Garbage, ...]
    too_young: int


def collect(
    files: Files,
    root: str,
    *,
    delete: bool = False,
    older_than_s: float = OLDER_THAN_S,
    retain: int | None = None,
) -> Collected:
    """Find, and delete if asked to, what no manifest names and no run is writing.

    Parameters
    ----------
    files, root
        The output directory.
    delete
        False for a dry run, which changes nothing.
    older_than_s
        Leave alone what was changed in the last so many seconds.
    retain
        Of an incremental run, the latest generations whose scored rows are kept, whatever their
        age; their labels, models and manifests are kept of all. None: of all.

    Raises
    ------
    InputError
        If there is no run, or it cannot be written to.
    OutputBusyError
        If a live run holds the output.
    StoredStateError
        If the manifests cannot be read, so that garbage cannot be told from data.
    """
    if not delete:
        require_free(files, root)
        return _find(files, root, older_than_s, retain)
    RoundStore.open(files, root)
    with hold(files, root, owner="gc"):
        collected = _find(files, root, older_than_s, retain)
        generations = Generations.read(files, root)
        if generations is not None and (before := _first_kept(generations, retain)) > 1:
            # First: whoever finds files gone is to know why.
            generations.retire(before)
            failpoint("gc.retired")
        for item in collected.items:
            failpoint("gc.before_delete")
            with writing(join(root, item.path)):
                files.delete_tree(join(root, item.path))
    return collected


def garbage(
    listing: Iterable[FileInfo], run_ids: Collection[str], named: Iterable[str]
) -> list[Garbage]:
    """Return what nothing needs among the files of an output, sorted by path.

    Parameters
    ----------
    listing
        All files of the output.
    run_ids
        Its run; of an incremental run those of all generations.
    named
        Directories and files that manifests name; they and all that lies in them stay.
    """
    needed = set(named)
    committed = {_attempt_of(path) for path in needed} - needed
    members: dict[tuple[str, GarbageKind], list[FileInfo]] = {}
    for info in listing:
        unit = _unit(info.path, run_ids)
        if unit is not None and not needed.intersection(_with_parents(info.path)):
            if unit[0] in committed:
                if _accompanies(info.path, needed):
                    continue
                unit = (info.path, "temp" if _is_temp(info.path) else "lost")
            members.setdefault(unit, []).append(info)
        elif _is_temp(info.path):
            members.setdefault((info.path, "temp"), []).append(info)
    return [_sum(path, kind, members[path, kind]) for path, kind in sorted(members)]


def _find(files: Files, root: str, older_than_s: float, retain: int | None) -> Collected:
    moment = time.time() - older_than_s
    # Listed first: what is committed meanwhile is then named by a manifest that is read.
    listing = files.list(root)
    RoundStore.open(files, root)  # refuses a directory without a run
    generations = Generations.read(files, root)
    assert generations is not None
    stores, ends = list(generations.stores()), list(_ends(generations))
    named = {path for store in stores for path in _named(store)} | _named_by_ends(ends)
    named |= {path for store in stores for path in _snapshot_of(store)}
    items = garbage(listing, [store.run_id for store in stores], named)
    old = [item for item in items if item.is_older(moment)]
    retired = list(_retired(listing, stores, ends, _first_kept(generations, retain)))
    return Collected((*old, *retired), len(items) - len(old))


def _first_kept(generations: Generations, retain: int | None) -> int:
    """Return the first generation whose scored rows are kept."""
    return 1 if retain is None else max(1, generations.count - retain + 1)


def _ends(generations: Generations) -> Iterator[End]:
    for number in (1, *generations.numbers):
        if (ended := generations.end(number)) is not None:
            yield ended[0]


def _named_by_ends(ends: Sequence[End]) -> set[str]:
    return {entry.path for end in ends for entry in end.entries}


def _retired(
    listing: Iterable[FileInfo], stores: Sequence[RoundStore], ends: Sequence[End], kept: int
) -> Iterator[Garbage]:
    """Yield the files of old generations that only their history needs: scored rows, old segments.

    Models stay, since labels name them, and so does what the latest end remembers.
    """
    old = {
        path
        for store in stores
        if store.generation < kept
        for manifest in store.history.manifests
        if isinstance(manifest, RoundManifest | GraphManifest)
        for path, _ in manifest.listed_files()
    }
    if ends and kept > 1:
        old |= _named_by_ends([end for end in ends if end.generation < kept])
        old -= _named_by_ends(ends[-1:])
    for info in listing:
        if info.path in old:
            yield _sum(info.path, "retired", [info])


def _named(store: RoundStore) -> Iterator[str]:
    """Yield the files that manifests name, and the attempts of those that name none of their own.

    A model may be committed again with the file of the one before.
    """
    for manifest in store.history.manifests:
        kind: layout.CommitKind = manifest.kind  # type: ignore[assignment]
        attempt = layout.attempt_dir(store.run_id, kind, manifest.number, manifest.attempt_id)
        paths = [path for path, _ in manifest.listed_files()]
        yield from paths
        if not any(_attempt_of(path) == attempt for path in paths):
            yield attempt


def _snapshot_of(store: RoundStore) -> Iterator[str]:
    frozen = store.inputs.unlabeled.snapshot
    if frozen is not None:
        yield from Snapshots(store.files, store.root).needed(frozen)


def _attempt_of(path: str) -> str:
    return "/".join(path.split("/")[:4])


def _accompanies(path: str, needed: set[str]) -> bool:
    """Whether a file says something of those that are kept: a checksum, that a job has ended."""
    folder, _, name = path.rpartition("/")
    of = name.removeprefix(".").removesuffix(".crc")
    return of == "_SUCCESS" or (name == f".{of}.crc" and f"{folder}/{of}" in needed)


def _unit(path: str, run_ids: Collection[str]) -> tuple[str, GarbageKind] | None:
    """Return the directory that a file stands or falls with; None outside of such."""
    run = path.split("/")[1] if path.count("/") > 1 else ""
    if run not in run_ids:
        return _left_by_a_start(path)
    run = re.escape(run)
    kinds: dict[GarbageKind, str] = {
        "attempt": rf"{layout.ATTEMPTS_DIR}/{run}/(?:(?:{_STEPS})-\d{{4,}}|scratch)/{_UUID}",
        "view": rf"{layout.ATTEMPTS_DIR}/{run}/views/(?:old-)?{_UUID}",
    }
    for kind, pattern in kinds.items():
        if match := re.match(f"({pattern})/", path):
            return match[1], kind
    return None


def _left_by_a_start(path: str) -> tuple[str, GarbageKind] | None:
    """Return what a start has written for a run that another one has begun instead, or frozen."""
    if match := re.match(rf"({layout.SNAPSHOTS_DIR}/{_UUID}/{_UUID})/", path):
        return match[1], "snapshot"
    if match := re.match(rf"({layout.SNAPSHOTS_DIR}/{_UUID}/snapshot\.json)$", path):
        return match[1], "snapshot"
    match = re.match(rf"((?:{layout.RUNS_DIR}|{layout.ATTEMPTS_DIR})/{_UUID})/", path)
    return (match[1], "start") if match else None


def _is_temp(path: str) -> bool:
    """Tell whether a file was being written when a crash came; never one of a published table."""
    return bool(_TEMP.search(path)) and path.split("/")[0] not in layout.VIEWS


def _with_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _sum(path: str, kind: GarbageKind, members: list[FileInfo]) -> Garbage:
    changed = [info.mtime_ns for info in members if info.mtime_ns is not None]
    known = len(changed) == len(members)
    return Garbage(
        path=path,
        kind=kind,
        files=len(members),
        bytes=sum(info.bytes for info in members),
        changed_at=max(changed) / 1e9 if known else None,
    )
