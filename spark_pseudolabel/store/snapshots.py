"""Snapshots: pools that workers cannot read themselves, frozen as Parquet while a run lasts.

Data first, in a directory that one try has to itself, then one small manifest, put if absent: from
there on the snapshot is real. Its manifest is the first that is deleted, so that half of a snapshot
is never taken for one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import uuid4

from pydantic import ValidationError

from spark_pseudolabel.errors import StoredStateError
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.facts import Content, Fact
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.inputs import FrozenSnapshot
from spark_pseudolabel.store.manifest import Id, Writer, canonical_json, now, read_json
from spark_pseudolabel.store.problem import Problem
from spark_pseudolabel.store.publish import publish, writing


class SnapshotFile(NamedTuple):
    """One of its Parquet files, by its name in the directory of the try that wrote it."""

    path: str
    bytes: int


class SnapshotManifest(Fact):
    """What ``snapshot.json`` says.

    Parameters
    ----------
    layout
        Of the file itself.
    id
        Of the snapshot, as the inputs of its run name it.
    attempt_id
        Directory of the files.
    commit_id
        Identifies this commit.
    content
        Fingerprint of the rows.
    files
        All of them, in the order of their names.
    again
        Whether the rows were frozen anew after an earlier snapshot of them was deleted.
    written_at, writer
        For people.
    """

    layout: Literal[1]
    id: Id
    attempt_id: Id
    commit_id: Id
    content: Content
    files: tuple[SnapshotFile, ...]
    again: bool
    written_at: str
    writer: Writer


@dataclass(frozen=True)
class Snapshot:
    """A committed snapshot.

    Parameters
    ----------
    frozen
        How the inputs of its run name it.
    root
        Full path of the directory with its files.
    files
        Their names there and lengths.
    again
        Whether rounds may have been committed by an earlier snapshot of the same rows, in which
        they may have other places.
    """

    frozen: FrozenSnapshot
    root: str
    files: tuple[SnapshotFile, ...]
    again: bool


@dataclass(frozen=True)
class SnapshotAttempt:
    """A directory that one try to freeze a pool has to itself.

    Parameters
    ----------
    id
        Of the snapshot.
    attempt_id
        Of the try.
    root
        Full path of the directory; it is not created yet.
    """

    id: str
    attempt_id: str
    root: str


@dataclass(frozen=True)
class Snapshots:
    """The snapshots of an output, for whoever holds it.

    Parameters
    ----------
    files, root
        Where the output directory is.
    """

    files: Files
    root: str

    def find(self, frozen: FrozenSnapshot) -> Snapshot | None:
        """Return a committed snapshot, None if it is gone.

        Raises
        ------
        StoredStateError
            If it is damaged: its manifest, or a file that is gone or has another length.
        """
        manifest = self._manifest(frozen.id)
        if manifest is None:
            return None
        where = layout.snapshot_dir(frozen.id)
        if (manifest.id, manifest.content) != (frozen.id, frozen.content):
            raise _damaged(self.root, where, "is not the one that its run has begun with")
        for problem in self._problems(manifest):
            raise _damaged(self.root, where, f"is damaged: {problem.path} {problem.problem}")
        root = join(self.root, layout.snapshot_rows_dir(frozen.id, manifest.attempt_id))
        return Snapshot(frozen, root, manifest.files, manifest.again)

    def problems(self, frozen: FrozenSnapshot) -> list[Problem]:
        """Return every file of a committed snapshot that is gone or has another length."""
        try:
            manifest = self._manifest(frozen.id)
        except StoredStateError as error:
            return [Problem(layout.snapshot_file(frozen.id), error.message)]
        return [] if manifest is None else list(self._problems(manifest))

    def new_attempt(self, frozen: FrozenSnapshot | None = None) -> SnapshotAttempt:
        """Name a fresh directory for a pool; of a new snapshot unless one is to be frozen anew."""
        own = frozen.id if frozen is not None else str(uuid4())
        attempt_id = str(uuid4())
        root = join(self.root, layout.snapshot_rows_dir(own, attempt_id))
        return SnapshotAttempt(own, attempt_id, root)

    def commit(
        self,
        attempt: SnapshotAttempt,
        content: Content,
        files: tuple[SnapshotFile, ...],
        *,
        again: bool,
    ) -> Snapshot:
        """Make a snapshot real.

        Raises
        ------
        OutputBusyError, PublishUnknownError, RunFailedError
            As :func:`spark_pseudolabel.store.publish.publish`.
        """
        manifest = SnapshotManifest(
            layout=1,
            id=attempt.id,
            attempt_id=attempt.attempt_id,
            commit_id=str(uuid4()),
            content=content,
            files=files,
            again=again,
            written_at=now(),
            writer=Writer.here(),
        )
        failpoint("snapshot.publish.tmp")
        with writing(attempt.root):
            self.files.sync(self.root, [join(attempt.root, file.path) for file in files])
        path = join(self.root, layout.snapshot_file(attempt.id))
        data = canonical_json(manifest.model_dump(mode="json"))
        publish(self.files, path, data, manifest.commit_id)
        failpoint("snapshot.publish.done")
        frozen = FrozenSnapshot(id=attempt.id, content=content)
        return Snapshot(frozen, attempt.root, files, again)

    def discard(self, attempt: SnapshotAttempt) -> None:
        """Delete what a try has written that is not to be committed."""
        self.files.delete_tree(attempt.root)

    def keep(self, frozen: FrozenSnapshot) -> None:
        """Let a snapshot outlive its run."""
        path = join(self.root, layout.snapshot_kept_file(frozen.id))
        with writing(path):
            self.files.put_if_absent(path, b"Asked for by unlabeled.snapshot: keep.\n")

    def delete(self, *, but: Collection[str] = ()) -> None:
        """Delete all snapshots but those of some ids and kept ones, and what was left of tries."""
        for own in self.left:
            if own in but:
                continue
            # First: whoever finds files gone finds no snapshot.
            with writing(join(self.root, layout.snapshot_dir(own))):
                self.files.delete_tree(join(self.root, layout.snapshot_file(own)))
                failpoint("snapshot.deleting")
                self.files.delete_tree(join(self.root, layout.snapshot_dir(own)))

    @property
    def left(self) -> list[str]:
        """Ids of all that are not kept for good, sorted."""
        names = self.files.names(join(self.root, layout.SNAPSHOTS_DIR))
        kept = (join(self.root, layout.snapshot_kept_file(own)) for own in names)
        return [own for own, path in zip(names, kept, strict=True) if not self.files.exists(path)]

    def needed(self, frozen: FrozenSnapshot) -> Iterator[str]:
        """Yield the paths, relative to the output, that a run's snapshot needs if it is there."""
        manifest = self._manifest(frozen.id)
        if manifest is not None:
            yield layout.snapshot_file(frozen.id)
            yield layout.snapshot_kept_file(frozen.id)
            yield layout.snapshot_rows_dir(frozen.id, manifest.attempt_id)

    def _manifest(self, own: str) -> SnapshotManifest | None:
        where = join(self.root, layout.snapshot_file(own))
        try:
            document = read_json(self.files.read(where), where)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return SnapshotManifest.model_validate(document)
        except ValidationError as error:
            what = f"does not hold what it must: {error.errors()[0]['loc']}"
            raise _damaged(self.root, layout.snapshot_file(own), what) from error

    def _problems(self, manifest: SnapshotManifest) -> Iterator[Problem]:
        folder = layout.snapshot_rows_dir(manifest.id, manifest.attempt_id)
        lengths = {info.path: info.bytes for info in self.files.list(join(self.root, folder))}
        for file in manifest.files:
            length = lengths.get(file.path)
            if length is None:
                yield Problem(f"{folder}/{file.path}", "is gone")
            elif length != file.bytes:
                what = f"must have {file.bytes:,} bytes, has {length:,}"
                yield Problem(f"{folder}/{file.path}", what)


def _damaged(root: str, place: str, what: str) -> StoredStateError:
    return StoredStateError(
        f"{join(root, place)} {what}. Restore the file; or delete the directory "
        f"{'/'.join(place.split('/')[:2])} of the output, and the run freezes its pool anew if the "
        "rows are still the same.",
        where=join(root, place),
    )
