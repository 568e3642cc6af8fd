"""What is known of rows besides their keys: read from the inputs, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.columns import FILE, PSEUDO, RESERVED, ROW_INDEX, SOURCE
from spark_pseudolabel.core.calendars import calendar_of
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import LOGGED_FORMATS, is_hidden
from spark_pseudolabel.output.review.finished import FinishedRun
from spark_pseudolabel.output.text_rows import TextFormat, text_batches
from spark_pseudolabel.store.arrow_files import reached_otherwise
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.identity import StoredTable
from spark_pseudolabel.store.logs.opening import stored_version
from spark_pseudolabel.store.logs.rows import read_rows
from spark_pseudolabel.store.logs.version import TableVersion
from spark_pseudolabel.store.snapshots import Snapshots

PlaceKind = Literal["input", "copy", "published"]
"""Files of the user's, a snapshot of them, or a table of this output, both of which name keys."""

_BATCH_ROWS = 65_536
_PARTITION = re.compile(r"(?:^|/)[^/=]+=[^/]*/")


@dataclass(frozen=True)
class Place:
    """Files that hold rows of the pool with their features.

    Parameters
    ----------
    files, root
        Where.
    names
        The files, relative to it.
    text
        How they are written where they are text, as is every value then; None: Parquet.
    columns
        The features that are there.
    kind
        What they are.
    version
        What the log of the table says, where it keeps one.
    """

    files: Files
    root: str
    names: tuple[str, ...]
    text: TextFormat | None
    columns: tuple[str, ...]
    kind: PlaceKind = "input"
    version: TableVersion | None = None

    @property
    def published(self) -> bool:
        """Whether it is a table of this output."""
        return self.kind == "published"


def place_of(run: FinishedRun) -> Place:
    """Find where the features of pool rows can be read without Spark.

    Raises
    ------
    InputError
        If they can't; says what to do.
    """
    place = _input(run) or _kept(run) or _published(run)
    if place is None:
        raise InputError(
            "The features of pool rows can't be read without Spark: unlabeled is not Parquet, "
            "Delta, Iceberg, CSV or JSON by path, or not where the configuration says from this "
            "directory. Run the command where the run was started; let runs keep a copy: "
            "unlabeled.snapshot: keep; or write ids alone with --no-features, and join them to "
            "your table.",
            code="features_not_found",
            where="unlabeled",
        )
    return place


def place_of_labeled(run: FinishedRun, pool: Place) -> Place | None:
    """Find where the features of labeled rows are; None where only Spark can tell."""
    settings = run.store.settings
    if pool.published or settings.unlabeled.from_ == "labeled":
        return pool if not pool.published else None
    return _of_table(run, settings.labeled, "labeled")


def _input(run: FinishedRun) -> Place | None:
    settings = run.store.settings
    if settings.unlabeled.from_ == "labeled":
        return _of_table(run, settings.labeled, "labeled")
    return _of_table(run, settings.unlabeled, "unlabeled")


def _of_table(run: FinishedRun, table: StoredTable | None, name: str) -> Place | None:
    if table is None or table.path is None:
        return None
    if table.format in LOGGED_FORMATS:
        return _of_version(run, table, name)
    text = TextFormat.of(table)
    if text is None and table.format != "parquet":
        return None
    with reached_otherwise():
        files, root = open_files(table.path)
        listed = [info.path for info in files.list(root) if not is_hidden(info.path)]
        return _place(run, files, root, listed, text)
    return None


def _of_version(run: FinishedRun, table: StoredTable, name: str) -> Place | None:
    with reached_otherwise():
        found = stored_version(table, run.store.inputs.pinned.get(name))
        if found is None or not set(run.keys) <= set(found[1].schema.names):
            return None
        files, version = found
        columns = tuple(each for each in _wanted(run) if each in version.schema.names)
        return Place(files, version.root, (), None, columns, version=version)
    return None


def _kept(run: FinishedRun) -> Place | None:
    """Return the copy of the pool that the run was told to keep."""
    frozen = run.store.inputs.unlabeled.snapshot
    snapshot = None if frozen is None else Snapshots(run.store.files, run.store.root).find(frozen)
    if snapshot is None:
        return None
    listed = [file.path for file in snapshot.files]
    return _place(run, run.store.files, snapshot.root, listed, None, kind="copy")


def _published(run: FinishedRun) -> Place | None:
    """Return a table of this output: it holds features where the run was told to keep them."""
    if not run.store.settings.output.features:
        return None
    root = join(run.store.root, "training")
    listed = [info.path for info in run.store.files.list(root) if not is_hidden(info.path)]
    return _place(run, run.store.files, root, listed, None, kind="published")


def _place(
    run: FinishedRun,
    files: Files,
    root: str,
    listed: Sequence[str],
    text: TextFormat | None,
    *,
    kind: PlaceKind = "input",
) -> Place | None:
    # Directories that name columns are left to Spark, and so is what Arrow does not decompress.
    if not listed or any(_PARTITION.search(name) for name in listed):
        return None
    if text is not None and not all(map(text.reads, listed)):
        return None
    by_position = not run.store.settings.id and kind == "input"
    try:
        names = [_columns(files, join(root, name), text) for name in listed]
    except (OSError, pa.ArrowException, InputError):
        return None  # found out where it is read: by a run, or by who moved the files
    if not by_position and any(not set(run.keys) <= set(of_file) for of_file in names):
        return None
    known = set().union(*map(set, names))
    columns = tuple(name for name in _wanted(run) if name in known)
    return Place(files, root, tuple(listed), text, columns, kind)


def _wanted(run: FinishedRun) -> tuple[str, ...]:
    """Return the columns that models and rules of the run look at."""
    first, last = run.store.models[0], run.store.models[run.final.final_model - 1]
    rules = first.training.rules
    features = [*last.features, *first.features, *(rules.columns if rules is not None else ())]
    names = dict.fromkeys(feature.name for feature in features)
    return tuple(name for name in names if not name.startswith(RESERVED))


def _columns(files: Files, path: str, text: TextFormat | None) -> Sequence[str]:
    if text is not None:
        with files.open_input(path) as stream:
            header = next(text_batches(stream, path, text, None), None)
        return [] if header is None else list(header.schema.names)
    with files.open_input(path) as stream:
        return list(pq.ParquetFile(stream).schema_arrow.names)


# --- reading


@dataclass(frozen=True)
class Found:
    """Some of the wanted rows.

    Parameters
    ----------
    places
        ndarray of shape (n_rows,): where each stands among the wanted ones.
    rows
        Their features.
    """

    places: np.ndarray[tuple[int], np.dtype[np.int64]]
    rows: pa.Table


def read_features(run: FinishedRun, place: Place, wanted: KeySet) -> Iterator[Found]:
    """Yield the wanted rows as the files have them, one batch at a time, none twice.

    Raises
    ------
    InputError
        If a file is not what the run has read.
    """
    if place.version is not None:
        try:
            for batch in read_rows(place.version, place.files, [*run.keys, *place.columns]):
                yield from _among(place, batch, [batch.column(key) for key in run.keys], wanted)
        except (OSError, pa.ArrowException) as error:
            what = f"A file of {place.version.words} ({error})"
            raise InputError.expired(what, "the run") from error
    for name in place.names:
        path = join(place.root, name)
        try:
            with place.files.open_input(path) as stream:
                yield from _found(run, place, name, path, stream, wanted)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{path} must be readable as when the run began: {error}.",
                code="inputs_changed",
                where=path,
            ) from error


def _found(
    run: FinishedRun, place: Place, name: str, path: str, stream: object, wanted: KeySet
) -> Iterator[Found]:
    first = 0
    for batch in _batches(run, place, path, stream):
        keys = _keys(run, place, name or path.rpartition("/")[2], batch, first)
        first += batch.num_rows
        yield from _among(place, batch, keys, wanted)


def _among(
    place: Place, batch: pa.RecordBatch, keys: list[pa.Array], wanted: KeySet
) -> Iterator[Found]:
    hit = wanted.find(keys)
    if place.published:
        pool = np.asarray(batch.column(SOURCE).to_pylist()) == PSEUDO
        hit = np.where(pool, hit, -1)
    rows = np.flatnonzero(hit >= 0)
    if len(rows):
        table = pa.Table.from_batches([batch]).take(pa.array(rows))
        yield Found(hit[rows], table.select([c for c in place.columns if c in batch.schema.names]))


def _keys(
    run: FinishedRun, place: Place, name: str, batch: pa.RecordBatch, first: int
) -> list[pa.Array]:
    if run.store.settings.id or place.kind != "input":
        columns = [batch.column(key) for key in run.keys]
        if place.text is None:
            return columns
        types = [run.key_schema.field(key).type for key in run.keys]
        return [column.cast(kind) for column, kind in zip(columns, types, strict=True)]
    position = np.arange(first, first + batch.num_rows, dtype=np.int64)
    by_name = {FILE: pa.repeat(name, batch.num_rows), ROW_INDEX: pa.array(position)}
    return [by_name[key] for key in run.keys]


def _batches(run: FinishedRun, place: Place, path: str, stream: object) -> Iterator[pa.RecordBatch]:
    keys = list(run.keys) if run.store.settings.id or place.kind != "input" else []
    extra = [SOURCE] if place.published else []
    if place.text is not None:
        yield from text_batches(stream, path, place.text, [*keys, *place.columns])
        return
    # In nanoseconds INT96 would hold no date before 1677 or after 2262.
    parquet = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")
    schema = parquet.schema_arrow
    names = [name for name in (*keys, *extra, *place.columns) if name in schema.names]
    dated = any(pa.types.is_temporal(schema.field(name).type) for name in names)
    if dated and calendar_of(parquet.metadata.metadata or {}) == "old":
        raise InputError(
            f"{path} counts its dates as Spark 2 did, which only Spark reads. Write ids alone "
            "with --no-features.",
            code="old_calendar",
            where=path,
        )
    if not names:  # keys are positions, and no feature is in this file
        for group in range(parquet.num_row_groups):
            n_rows = parquet.metadata.row_group(group).num_rows
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * n_rows, pa.struct([])))
        return
    yield from parquet.iter_batches(_BATCH_ROWS, columns=names, use_threads=False)
