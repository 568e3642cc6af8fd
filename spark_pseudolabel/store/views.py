"""Views: the directories of an output that anyone may read, rebuilt from manifests when needed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from spark_pseudolabel.errors import RunFailedError
from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import Files, join, require_seen
from spark_pseudolabel.store.manifest import FinalManifest, canonical_json, damaged
from spark_pseudolabel.store.problem import Problem
from spark_pseudolabel.wording import counted

_OLD = "old-"


class ViewFile(BaseModel):
    """One file of a view; `path` is relative to the view."""

    model_config = ConfigDict(frozen=True)

    path: str
    bytes: int


class ViewMarker(BaseModel):
    """What a view says about itself, in a hidden file.

    Parameters
    ----------
    name
        Of the view.
    commit_id
        Of the end of the run that it shows.
    review
        The last commit after that end which it follows; None: it shows the end as it was.
    rows, files
        What it holds.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    commit_id: str
    review: str | None = None
    rows: int
    files: tuple[ViewFile, ...]


@dataclass(frozen=True)
class ViewCommit:
    """What a view is that of.

    Parameters
    ----------
    run_id
        The run.
    end
        Commit id of its end.
    review
        Commit id of what people did last that changed labels; None: nothing.
    """

    run_id: str
    end: str
    review: str | None = None


def mark_view(
    files: Files,
    root: str,
    commit: ViewCommit,
    name: str,
    built_dir: str,
    rows: int | None,
    written: Mapping[str, int] | None,
) -> None:
    """Check a built directory, and let it say what it holds; see `RoundStore.put_view`."""
    marker = _built(files, root, commit, name, built_dir, rows, written)
    files.replace(join(built_dir, layout.VIEW_MARKER), canonical_json(marker.model_dump()))
    files.sync(built_dir, [join(built_dir, path) for path in _names(marker.files)])


def add_to_view(
    files: Files,
    root: str,
    final: FinalManifest,
    name: str,
    built_dir: str,
    rows: int | None,
    written: Mapping[str, int] | None,
    generation: int,
) -> None:
    """Move the files of a later generation to those of a view; else as :func:`put_view`.

    Their names tell the generation, so that a crash between two of them, or before the marker,
    leaves files that the next start finds and replaces: no row is ever there twice. A reader sees
    each file from the moment of its one rename. Without rows no file comes: the schema is there.
    """
    commit = ViewCommit(final.run_id, final.commit_id)
    built = _built(files, root, commit, name, built_dir, rows, written)
    files.sync(built_dir, [join(built_dir, file.path) for file in built.files])
    target = join(root, name)
    for left in _of_generation(files, target, generation):
        files.delete_tree(join(target, left.path))
    failpoint("view.add.tmp")
    added = []
    moved = built.files if built.rows else ()
    for number, file in enumerate(sorted(moved, key=lambda file: file.path)):
        path = layout.added_name(generation, f"part-{number:06d}.parquet")
        files.rename_dir(join(built_dir, file.path), join(target, path))
        added.append(ViewFile(path=path, bytes=file.bytes))
        failpoint("view.add.one")
    marker = built.model_copy(update={"files": tuple(added)})
    files.replace(join(target, layout.view_marker(generation)), canonical_json(marker.model_dump()))
    failpoint("view.add.done")
    with contextlib.suppress(OSError):
        files.delete_tree(built_dir)


def _built(
    files: Files,
    root: str,
    commit: ViewCommit,
    name: str,
    built_dir: str,
    rows: int | None,
    written: Mapping[str, int] | None,
) -> ViewMarker:
    """Check a built directory; return what is to be said of it."""
    if name not in layout.VIEWS:
        raise ValueError(f"A view must be one of {layout.VIEWS}. Got {name!r}.")
    data = _of_generation(files, built_dir, 1)
    if written is not None:
        data = _without_lost_tries(files, built_dir, data, written)
    if not data:
        raise ValueError(
            f"A view must hold at least one file, with its schema. {built_dir} is empty."
        )
    total = _count(files, built_dir, data) if written is None else sum(written.values())
    if rows is not None and total != rows:
        raise RunFailedError(
            f"{name} must hold {counted(rows, 'row')}, and {total:,} were written. Nothing was put "
            "in its place; run again.",
            code="rows_lost",
            where=join(root, name),
        )
    return ViewMarker(name=name, commit_id=commit.end, review=commit.review, rows=total, files=data)


def read_marker(files: Files, root: str, name: str, generation: int = 1) -> ViewMarker | None:
    """Return what a view says about itself, None if there is no view or no readable marker.

    Of a later generation: what it has added to it.
    """
    return marker_in(files, join(root, name), generation)


def marker_in(files: Files, folder: str, generation: int = 1) -> ViewMarker | None:
    """Return what a view says about itself, wherever it is; else as :func:`read_marker`."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValidationError):
        return ViewMarker.model_validate_json(
            files.read(join(folder, layout.view_marker(generation)))
        )
    return None


def added_problems(
    files: Files, root: str, final: FinalManifest, name: str, generation: int
) -> list[Problem]:
    """Return what is wrong with the files that a later generation has added to a view."""
    marker = read_marker(files, root, name, generation)
    if marker is None or marker.commit_id != final.commit_id:
        what = f"lacks the rows of generation {generation}; run again to add them"
        return [Problem(name, what)]
    actual = _of_generation(files, join(root, name), generation)
    return differences(name, marker.files, actual)


def view_problems(files: Files, root: str, commit: ViewCommit, name: str) -> list[Problem]:
    """Return what is wrong with whatever is not as it was when the view of `commit` was built."""
    marker = read_marker(files, root, name)
    if marker is None:
        return [Problem(name, "is missing, or was not put in place by this package")]
    if marker.name != name:
        return [Problem(name, f"holds the view {marker.name!r}; run again to rebuild it")]
    if marker.commit_id != commit.end:
        return [Problem(name, "is not that of the latest end of the run; run again to rebuild it")]
    if marker.review != commit.review:
        problem = "does not show what was revoked or certified since; run again to rebuild it"
        return [Problem(name, problem)]
    # What later generations have added is theirs to tell.
    return differences(name, marker.files, _of_generation(files, join(root, name), 1))


def differences(name: str, marked: Sequence[ViewFile], found: Sequence[ViewFile]) -> list[Problem]:
    """Return how the files of a view differ from those that it says it has."""
    expected = {file.path: file.bytes for file in marked}
    actual = {file.path: file.bytes for file in found}
    return [
        Problem(f"{name}/{path}", _difference(expected.get(path), actual.get(path)))
        for path in sorted(expected.keys() | actual.keys())
        if expected.get(path) != actual.get(path)
    ]


def parquet_rows(files: Files, path: str) -> int:
    """Return the number of rows by the footer of a Parquet file.

    Raises
    ------
    StoredStateError
        If it is not a whole Parquet file.
    """
    import pyarrow
    import pyarrow.parquet as pq

    with files.open_input(path) as opened:
        try:
            return int(pq.read_metadata(opened).num_rows)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise damaged(path, f"is not a whole Parquet file: {error}") from error


def read_parquet(files: Files, path: str) -> int:
    """Read every page of a Parquet file, against its checksum where it has one.

    Spark writes checksums; without this, changed bytes in a page come back as other values.

    Returns
    -------
    int
        Its rows.

    Raises
    ------
    StoredStateError
        If it is not whole.
    """
    import pyarrow
    import pyarrow.parquet as pq

    with files.open_input(path) as opened:
        try:
            file = pq.ParquetFile(opened, page_checksum_verification=True)
            return sum(int(batch.num_rows) for batch in file.iter_batches())
        except (pyarrow.ArrowException, OSError) as error:
            raise damaged(path, f"is not a whole Parquet file: {error}") from error


def swap_view(files: Files, root: str, run_id: str, name: str, built_dir: str) -> None:
    """Put a marked directory in the place of a view.

    The old view is moved away before the new one is moved in, since no file system renames a
    directory onto another: a crash between the two leaves no view, never a mixed one.
    """
    target = join(root, name)
    failpoint("view.swap.tmp")
    if files.exists(target):
        files.rename_dir(target, join(root, layout.view_build_dir(run_id, f"{_OLD}{uuid4()}")))
        failpoint("view.swap.aside")
    files.rename_dir(built_dir, target)
    failpoint("view.swap.done")
    _delete_old(files, join(root, layout.view_build_dir(run_id, "")))


def _delete_old(files: Files, folder: str) -> None:
    """Delete views put aside, those that a crash left behind too; no harm if it fails."""
    with contextlib.suppress(OSError):
        for name in files.names(folder):
            if name.startswith(_OLD):
                files.delete_tree(join(folder, name))


def _data_files(files: Files, folder: str) -> tuple[ViewFile, ...]:
    return tuple(
        ViewFile(path=info.path, bytes=info.bytes)
        for info in files.list(folder)
        if not is_hidden(info.path)
    )


def _of_generation(files: Files, folder: str, generation: int) -> tuple[ViewFile, ...]:
    """Return the files of a view that a generation has put there; one listing of names."""
    return tuple(
        file for file in _data_files(files, folder) if layout.generation_of(file.path) == generation
    )


def _without_lost_tries(
    files: Files, folder: str, data: tuple[ViewFile, ...], written: Mapping[str, int]
) -> tuple[ViewFile, ...]:
    """Return the files that tasks named; delete those of tries that failed or came second."""
    require_seen(folder, written, (file.path for file in data))
    for file in data:
        if file.path not in written:
            files.delete_tree(join(folder, file.path))
    return tuple(file for file in data if file.path in written)


def _names(data: tuple[ViewFile, ...]) -> list[str]:
    return [*(file.path for file in data), layout.VIEW_MARKER]


def _count(files: Files, folder: str, data: tuple[ViewFile, ...]) -> int:
    tables = (file.path for file in data if file.path.endswith(".parquet"))
    return sum(parquet_rows(files, join(folder, path)) for path in tables)


def _difference(expected: int | None, actual: int | None) -> str:
    if expected is None:
        return "is not part of the view; delete it"
    if actual is None:
        return "is gone; run again to rebuild the view"
    return f"must have {expected:,} bytes, has {actual:,}"
