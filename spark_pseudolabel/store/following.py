"""Published tables follow what people did after the end of a run, without Spark.

A label that was taken back leaves ``OUT/labels`` and ``OUT/training`` and is in ``OUT/undecided``;
one that answers have certified goes the other way. Each table is streamed from what it was into a
new one, which takes its place at once, so that a crash leaves a whole table, the old or the new.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spark_pseudolabel.columns import (
    CONFIDENCE,
    FILE,
    LABEL,
    PSEUDO,
    REASON,
    ROUND,
    ROW_INDEX,
    SOURCE,
    WEIGHT,
)
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.formats import is_hidden
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import Files, LocalFiles, join, local_path
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import canonical_json
from spark_pseudolabel.store.publish import writing
from spark_pseudolabel.store.review import ReviewManifest
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.views import ViewFile, ViewMarker, marker_in, parquet_rows

REVOKED = "revoked"
"""Why a row in ``OUT/undecided`` has no label any more."""


_BATCH_ROWS = 131_072


def key_columns(store: RoundStore) -> tuple[str, ...]:
    """Return the columns that identify a row of the pool."""
    return (store.settings.id,) if store.settings.id else (FILE, ROW_INDEX)


def follow(store: RoundStore) -> tuple[str, ...]:
    """Bring every table that can be made from what it was up to date.

    Returns
    -------
    tuple of str
        The tables that are out of date still: only a run, with Spark, can build these anew.
    """
    left = []
    for name in layout.FOLLOWING:
        if store.view_is_current(name):
            continue
        source = _source_of(store, name)
        if source is None:
            left.append(name)
        else:
            put_followed(store, name, source)
    return tuple(left)


@dataclass(frozen=True)
class Source:
    """A whole table to start from.

    Parameters
    ----------
    folder
        Full path.
    since
        How many of the reviews it follows already.
    """

    folder: str
    since: int = 0


def put_followed(store: RoundStore, name: str, source: Source) -> None:
    """Put a table in place that is a source and what people did since."""
    built = store.new_view_dir()
    changes = _Changes.of(store, source.since)
    with writing(built):
        rows = _build(store, name, source, changes, built)
    failpoint("view.followed")
    store.put_view(name, built, rows)


def put_built(
    store: RoundStore,
    name: str,
    built: str,
    rows: int,
    written: Mapping[str, int] | None,
) -> None:
    """Put a table in place that a run has built from its rounds, and what people did since.

    Parameters
    ----------
    store
        The run.
    name, built, rows, written
        See :meth:`RoundStore.put_view`.
    """
    if store.adds_to(name):
        _put_added(store, name, built, rows, written)
        return
    if store.view_commit(name).review is None:
        store.put_view(name, built, rows, written)
        return
    # Made a whole table first, so that what lost tries have left is not streamed with it.
    store.mark_view(name, built, rows, written)
    put_followed(store, name, Source(built))
    store.files.delete_tree(built)


def _put_added(
    store: RoundStore, name: str, built: str, rows: int, written: Mapping[str, int] | None
) -> None:
    """Add the rows of a later generation, without those that people have moved since.

    There are such where its files were lost and are built again.
    """
    changes = _Changes.of(RoundStore.open(store.files, store.root), 0)
    if changes.reviews:
        lost, built = built, store.new_view_dir()
        listed = [info.path for info in store.files.list(lost) if info.path.endswith(".parquet")]
        with writing(built):
            rows = sum(
                _copied(store, name, join(lost, path), join(built, path), changes)[0]
                for path in listed
                if written is None or path in written
            )
        store.files.delete_tree(lost)
        written = None
    store.put_view(name, built, rows, written)


def _source_of(store: RoundStore, name: str) -> Source | None:
    """Find a whole table of the run's latest end, in its place or put aside by a crash."""
    folder = join(store.root, layout.view_build_dir(store.run_id, ""))
    candidates = [name, *(f"{folder.rstrip('/')}/{each}" for each in store.files.names(folder))]
    for candidate in candidates:
        place = candidate if candidate != name else join(store.root, name)
        since = _follows(store, name, place)
        if since is not None:
            return Source(place, since)
    return None


def _follows(store: RoundStore, name: str, folder: str) -> int | None:
    """Return how many reviews a table follows; None where it is not whole, or of another end."""
    marker = marker_in(store.files, folder)
    if marker is None or marker.name != name or store.final is None:
        return None
    if marker.commit_id != store.final.commit_id or not _is_whole(store.files, folder, marker):
        return None
    if marker.review is None:
        return 0
    numbers = [each.number for each in store.reviews if each.commit_id == marker.review]
    return numbers[0] if numbers else None


def _is_whole(files: Files, folder: str, marker: ViewMarker) -> bool:
    there = {
        info.path: info.bytes
        for info in files.list(folder)
        if not is_hidden(info.path) and layout.generation_of(info.path) == 1
    }
    return there == {file.path: file.bytes for file in marker.files}


@dataclass(frozen=True)
class _Changes:
    """What people did since a table was built.

    Parameters
    ----------
    reviews
        Those that changed labels.
    revoked
        Keys of all rows that lost their label since.
    published
        Keys of all rows that got one since.
    """

    reviews: tuple[ReviewManifest, ...]
    revoked: KeySet
    published: KeySet

    @classmethod
    def of(cls, store: RoundStore, since: int) -> _Changes:
        keys = key_columns(store)
        reviews = tuple(each for each in store.reviews[since:] if each.changes_labels)
        return cls(
            reviews,
            _keys_of([table.select(keys) for table in _revoked_tables(store, reviews)], keys),
            _keys_of([table.select(keys) for table in _published_tables(store, reviews)], keys),
        )


def revoked_keys(store: RoundStore, reviews: Sequence[ReviewManifest] | None = None) -> KeySet:
    """Return the keys of all rows that lost their label."""
    keys = key_columns(store)
    tables = _revoked_tables(store, store.reviews if reviews is None else reviews)
    return _keys_of([table.select(keys) for table in tables], keys)


def _keys_of(tables: Sequence[pa.Table], keys: Sequence[str]) -> KeySet:
    if not tables:
        return KeySet.of([pa.array([], pa.string()) for _ in keys])
    together = pa.concat_tables(tables, promote_options="permissive")
    return KeySet.of(together.columns)


def _revoked_tables(store: RoundStore, reviews: Sequence[ReviewManifest]) -> Iterator[pa.Table]:
    for review in reviews:
        for step in review.revoked:
            yield read_bytes(store.read_file(step.rows))


def _published_tables(store: RoundStore, reviews: Sequence[ReviewManifest]) -> Iterator[pa.Table]:
    for review in reviews:
        for entry in review.published.files if review.published is not None else ():
            yield read_bytes(store.read_file(entry))


# --- building


def _build(store: RoundStore, name: str, source: Source, changes: _Changes, target: str) -> int:
    """Write the files of a table; return its rows, without those of later generations."""
    rows, schema = 0, None
    for path in files_of(store.files, source.folder):
        written, schema = _copied(
            store, name, join(source.folder, path), join(target, path), changes
        )
        rows += written if layout.generation_of(path) == 1 else 0
    assert schema is not None  # a view has at least one file
    for review in changes.reviews:
        more = [table for table in _added(store, name, review, schema, changes) if table.num_rows]
        if more:
            path = f"review-{review.number:04d}.parquet"
            added = (batch for table in more for batch in table.to_batches())
            rows += write_parquet(store.files, join(target, path), schema, added)
    _mark_generations(store.files, source.folder, target)
    return rows


def _copied(
    store: RoundStore, name: str, path: str, target: str, changes: _Changes
) -> tuple[int, pa.Schema]:
    """Stream a file of a table into a new one, without the rows that leave; return what it has."""
    with store.files.open_input(path) as stream:
        # In nanoseconds INT96 would hold no date before 1677 or after 2262.
        parquet = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")
        schema = parquet.schema_arrow
        batches = parquet.iter_batches(_BATCH_ROWS, use_threads=False)
        kept = (_kept(name, batch, key_columns(store), changes) for batch in batches)
        return write_parquet(store.files, target, schema, kept), schema


def files_of(files: Files, folder: str) -> list[str]:
    """Return the data files of a whole table: those of a generation that is being added are not."""
    listed = [info.path for info in files.list(folder) if info.path.endswith(".parquet")]
    return [
        path
        for path in listed
        if not is_hidden(path) and marker_in(files, folder, layout.generation_of(path)) is not None
    ]


def _mark_generations(files: Files, source: str, target: str) -> None:
    """Let the files that later generations have added say again what they are."""
    by_generation: dict[int, list[ViewFile]] = {}
    for info in files.list(target):
        if not is_hidden(info.path) and (number := layout.generation_of(info.path)) > 1:
            file = ViewFile(path=info.path, bytes=info.bytes)
            by_generation.setdefault(number, []).append(file)
    for number, found in by_generation.items():
        marker = marker_in(files, source, number)
        assert marker is not None  # else its files were left out
        paths = [join(target, file.path) for file in found]
        rows = sum(parquet_rows(files, path) for path in paths)
        told = marker.model_copy(update={"files": tuple(found), "rows": rows})
        where = join(target, layout.view_marker(number))
        files.replace(where, canonical_json(told.model_dump()))
        files.sync(target, [*paths, where])


def _kept(
    name: str, batch: pa.RecordBatch, keys: Sequence[str], changes: _Changes
) -> pa.RecordBatch:
    """Return the rows of a table that stay in it."""
    leaving = changes.published if name == "undecided" else changes.revoked
    if not len(leaving):
        return batch
    gone = leaving.contains([batch.column(key) for key in keys])
    if name == "training":
        # A labeled row may stand at the same place of another table.
        gone &= pc.equal(batch.column(SOURCE), PSEUDO).to_numpy(zero_copy_only=False)
    return batch.filter(pa.array(~gone))


def _added(
    store: RoundStore, name: str, review: ReviewManifest, schema: pa.Schema, changes: _Changes
) -> Iterator[pa.Table]:
    """Yield the rows that come into a table by one review."""
    if name == "undecided":
        for table in _revoked_tables(store, [review]):
            yield _filled(table, schema, {REASON: pa.repeat(REVOKED, table.num_rows)})
        return
    for table in _published_tables(store, [review]):
        later = changes.revoked.contains([table.column(key) for key in key_columns(store)])
        standing = table.filter(pa.array(~later))
        made = {
            WEIGHT: pa.repeat(0.0, standing.num_rows),
            SOURCE: pa.repeat(PSEUDO, standing.num_rows),
        }
        yield _filled(standing, schema, made if name == "training" else {})


def _filled(table: pa.Table, schema: pa.Schema, made: Mapping[str, pa.Array]) -> pa.Table:
    """Give a table the columns of a schema; what it does not have is null."""
    columns = [
        made[field.name]
        if field.name in made
        else table.column(field.name)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    casts = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(casts, schema=schema)


def write_parquet(
    files: Files, path: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> int:
    """Stream rows into a Parquet file with page checksums; return how many.

    Where it is not on the local disk it is written there first: other file systems take whole
    files.
    """
    if isinstance(files, LocalFiles):
        files.make_dirs(os.path.dirname(local_path(path)))
        return _write(local_path(path), schema, batches)
    with tempfile.NamedTemporaryFile(suffix=".parquet") as aside:
        rows = _write(aside.name, schema, batches)
        files.put_if_absent(path, aside.read())
    return rows


def _write(path: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    with (
        pa.OSFile(path, "wb") as sink,
        pq.ParquetWriter(sink, schema, write_page_checksum=True, compression="snappy") as writer,
    ):
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch)
                rows += batch.num_rows
    return rows


# --- rows as they stand


LABEL_COLUMNS = (LABEL, CONFIDENCE, ROUND)
"""What is kept of a row that loses its label, beside its keys."""


def published_batches(
    store: RoundStore, columns: Sequence[str] = (*LABEL_COLUMNS, WEIGHT), name: str = "labels"
) -> Iterator[pa.RecordBatch]:
    """Yield keys and columns of a published table as it stands, of all generations."""
    names = [*key_columns(store), *columns]
    folder = join(store.root, name)
    for path in files_of(store.files, folder):
        with store.files.open_input(join(folder, path)) as stream:
            parquet = pq.ParquetFile(stream)
            for batch in parquet.iter_batches(columns=names, use_threads=False):
                yield batch.select(names)


def count_trained(rows: pa.Table) -> int:
    """Return how many published rows the final model was trained on."""
    return int(np.count_nonzero(rows.column(WEIGHT).to_numpy()))
