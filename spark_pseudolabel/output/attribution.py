"""Why a model is as sure of a label as it is: the row and rows to compare it with, found again.

A run stores no features. They are read where the configuration says that they are, as far as that
takes no Spark; for what only Spark reads a row can be given in a file.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spark_pseudolabel.columns import CODE, FILE, LABELED, PSEUDO, ROW_INDEX, SOURCE, VALUE
from spark_pseudolabel.core.calendars import calendar_of
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.kernel import Scores, score
from spark_pseudolabel.core.trust.attribution import attribution_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.formats import LOGGED_FORMATS, is_hidden
from spark_pseudolabel.output.scoring import committed_scorer
from spark_pseudolabel.output.text_rows import TextFormat, as_typed, text_batches
from spark_pseudolabel.report.document import FeatureEffect, ModelSays, Why
from spark_pseudolabel.store.file_systems import open_files
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.given_rows import ROLE, read_given
from spark_pseudolabel.store.identity import StoredTable
from spark_pseudolabel.store.inputs import PinnedTable
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.logs.opening import stored_version
from spark_pseudolabel.store.logs.rows import read_rows
from spark_pseudolabel.store.snapshots import Snapshots
from spark_pseudolabel.store.store import RoundStore

BACKGROUND_ROWS = 100
"""Labeled rows whose values take a feature's place: those with the lowest hash of their key."""


@dataclass(frozen=True)
class Decision:
    """What is to be explained: the label that a model gives a row.

    Parameters
    ----------
    number
        Of the model.
    code
        Index of the label in its classes.
    stored_confidence
        What the round stored; None of a row with a given label.
    in_pool
        Whether it is a row of the pool, or one with a given label.
    """

    number: int
    code: int
    stored_confidence: float | None
    in_pool: bool


def attribute(
    store: RoundStore, key: Mapping[str, str], decision: Decision, row_file: str | None = None
) -> Why:
    """Say what each feature of a row does to a model's confidence in a label.

    Parameters
    ----------
    store
        The opened run.
    key
        The row's key columns, as text.
    decision
        Model and label.
    row_file
        JSON object with the row's features, where they can't be looked up.

    Raises
    ------
    InputError
        If the row or the labeled rows can't be found again; says what to do.
    """
    number, code = decision.number, decision.code
    manifest = store.models[number - 1]
    features = manifest.features
    labels = read_given(store)
    assert labels is not None  # written before any model
    if row_file is not None:
        row = _row_given(row_file, features)
    else:
        row = _look_up(store, _typed(key, labels.schema), features, in_pool=decision.in_pool)
    background = _background(store, labels, features)
    scorer = committed_scorer(store, number, probabilities=True)
    attribution = attribution_of(row, background, scorer, code)
    if math.isnan(attribution.probability):
        raise _bad_row(row_file or "The row", f"can't be scored by {model_name(number)}")
    order = sorted(attribution.by_feature.items(), key=lambda item: (-abs(item[1]), item[0]))
    return Why(
        model=model_name(number),
        label=_label(store, number, score(row, scorer), code),
        confidence=attribution.probability,
        stored_confidence=decision.stored_confidence,
        base=attribution.base,
        background=background.num_rows,
        features=[
            FeatureEffect(feature=name, value=_shown(row, name), effect=effect)
            for name, effect in order
        ],
        final=_by_final_model(store, row),
    )


def _by_final_model(store: RoundStore, row: pa.Table) -> ModelSays | None:
    if store.final is None:
        return None
    number = store.final.final_model
    scores = score(row, committed_scorer(store, number, probabilities=True))
    code = int(scores.code[0])
    return ModelSays(
        model=model_name(number),
        label=_label(store, number, scores, code) if code >= 0 else None,
        confidence=float(scores.confidence[0]) if code >= 0 else None,
    )


def _label(store: RoundStore, number: int, scores: Scores, code: int) -> float | str:
    """Return what a model says of one row: a number, or a class."""
    manifest = store.models[number - 1]
    if manifest.numbers is None or scores.numbers is None:
        return manifest.classes[code]
    said = manifest.numbers.spelled(float(scores.numbers.value[0]))
    assert said is not None
    return said


# --- the row


def _row_given(path: str, features: Sequence[Feature]) -> pa.Table:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _bad_row(path, f"can't be read: {error}") from error
    names = [feature.name for feature in features]
    if not isinstance(values, dict) or (missing := sorted(set(names) - set(values))):
        lacking = (
            f"lacks {', '.join(map(repr, missing))}"
            if isinstance(values, dict)
            else "holds no object"
        )
        raise _bad_row(path, lacking)
    try:
        return pa.table({f.name: _one_value(values[f.name], f) for f in features})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _bad_row(path, f"holds a value of another type: {error}") from error


def _one_value(value: Any, feature: Feature) -> pa.Array:
    if feature.kind == "date":
        return pa.array([value], pa.string()).cast(pa.date32())
    if feature.kind == "timestamp":
        return pa.array([value], pa.string()).cast(pa.timestamp("us"))
    if feature.kind == "vector":
        return pa.array([value], pa.list_(pa.float64()))
    return pa.array([value], pa.float64() if feature.kind == "numeric" else None)


def _bad_row(path: str, what: str) -> InputError:
    return InputError(
        f"--row must be a JSON object with a value for every feature. {path} {what}.",
        code="bad_row",
        where=path,
    )


def _typed(key: Mapping[str, str], schema: pa.Schema) -> pa.Table:
    return pa.table(
        {name: pa.array([value]).cast(schema.field(name).type) for name, value in key.items()}
    )


def _look_up(
    store: RoundStore, wanted: pa.Table, features: Sequence[Feature], *, in_pool: bool
) -> pa.Table:
    rows = _first_with(_places(store, in_pool=in_pool), wanted, features)
    if rows is not None:
        return rows
    raise InputError(
        "The row's features can't be looked up without Spark: its table is not Parquet, Delta, "
        "Iceberg, CSV or JSON by path, or not where the configuration says from this directory. "
        "Let runs keep a copy of the pool: unlabeled.snapshot: keep; or give them with --row FILE, "
        "a JSON object with a value for every feature.",
        code="row_not_found",
        where="--row",
    )


@dataclass(frozen=True)
class _Place:
    """Where rows with features may be: an input, or a table of the output, whose keys are columns.

    Parameters
    ----------
    path
        A directory of files, or one.
    text
        How they are written where they are text; None: Parquet.
    source
        Of a published table: which of its rows; None of another one.
    copied
        Whether it is a snapshot of the pool.
    table, pinned
        Of an input that keeps a log: how the configuration names it, and the version.
    """

    path: str
    text: TextFormat | None = None
    source: str | None = None
    copied: bool = False
    table: StoredTable | None = None
    pinned: PinnedTable | None = None


def _places(store: RoundStore, *, in_pool: bool) -> list[_Place]:
    """Return where a row and its features may be: in the inputs, or in the output."""
    settings = store.settings
    one_table = settings.unlabeled.from_ == "labeled"
    names = ["labeled", "validation"]
    if in_pool:
        names = ["labeled"] if one_table else ["unlabeled"]
    inputs = [_input_of(store, name) for name in names]
    places = [place for place in inputs if place is not None]
    frozen = store.inputs.unlabeled.snapshot
    if in_pool and frozen is not None:
        snapshot = Snapshots(store.files, store.root).find(frozen)
        places += [] if snapshot is None else [_Place(snapshot.root, copied=True)]
    if settings.output.features:
        # Its labeled and its pool rows may have the same place in two tables.
        source = PSEUDO if in_pool else LABELED
        places.append(_Place(join(store.root, "training"), source=source))
    return places


def _input_of(store: RoundStore, name: str) -> _Place | None:
    settings = store.settings
    tables = {
        "labeled": settings.labeled,
        "unlabeled": settings.unlabeled,
        "validation": settings.validation,
    }
    table = tables[name]
    if table is None or table.path is None:
        return None
    if table.format in LOGGED_FORMATS:
        return _Place(table.path, table=table, pinned=store.inputs.pinned.get(name))
    text = TextFormat.of(table)
    if text is None and table.format != "parquet":
        return None
    return _Place(table.path, text)


# --- rows to compare with


def _background(store: RoundStore, labels: pa.Table, features: Sequence[Feature]) -> pa.Table:
    """Return labeled rows, the same ones whenever the question is asked."""
    keys = [name for name in labels.column_names if name not in (CODE, ROLE, VALUE)]
    labeled = labels.filter(pc.equal(labels.column(ROLE), LABELED)).select(keys)
    if not labeled.num_rows:
        raise InputError(
            "--why compares a row with labeled ones, and this run has none. What rules have voted "
            "is told without it.",
            code="labeled_not_found",
            where="--why",
        )
    hashes = xxhash64([*labeled.columns, store.settings.random_state])
    wanted = labeled.take(np.argsort(hashes, kind="stable")[:BACKGROUND_ROWS])
    rows = _first_with(_places(store, in_pool=False), wanted, features)
    if rows is not None:
        return rows
    raise InputError(
        "The labeled rows, which a row is compared with, can't be looked up without Spark: they "
        "are not Parquet, Delta, Iceberg, CSV or JSON by path, or not where the configuration says "
        "from this directory. Run it where the run was started, or let runs keep features: "
        "output.features: true.",
        code="labeled_not_found",
        where="output.features",
    )


# --- reading


def _first_with(
    places: Sequence[_Place], wanted: pa.Table, features: Sequence[Feature]
) -> pa.Table | None:
    """Read the rows with the wanted keys from the first place that has any; None if none has."""
    read = (_rows_at(place, wanted, features) for place in places)
    return next((rows for rows in read if rows is not None), None)


def _rows_at(place: _Place, wanted: pa.Table, features: Sequence[Feature]) -> pa.Table | None:
    """Read the rows of a place that have the wanted keys.

    Keys are read first: other columns only of row groups that hold one of the rows.

    Returns
    -------
    Table or None
        None where there is none, the files can't be read, or lack a column.
    """
    if place.table is not None:
        with contextlib.suppress(OSError, pa.ArrowException, KeyError):
            names = [feature.name for feature in features]
            return _of_version(place.table, place.pinned, wanted, names)
        return None
    try:
        files, root = open_files(place.path)
        listed = [info.path for info in files.list(root) if not is_hidden(info.path)]
        tables = [
            rows
            for name in listed
            for rows in (_texts_in if place.text is not None else _rows_in)(
                files, join(root, name), place, name, wanted, features
            )
        ]
    except (OSError, pa.ArrowException, KeyError, ValueError, InputError):
        return None
    return pa.concat_tables(tables, promote_options="permissive") if tables else None


def _texts_in(
    files: Files,
    path: str,
    place: _Place,
    name: str,
    wanted: pa.Table,
    features: Sequence[Feature],
) -> list[pa.Table]:
    tables, keys = [], wanted.column_names
    assert place.text is not None
    if not place.text.reads(path):
        return []
    columns = list(dict.fromkeys([*keys, *(feature.name for feature in features)]))
    with files.open_input(path) as stream:
        for batch in text_batches(stream, path, place.text, columns):
            rows = pa.Table.from_batches([batch])
            hit = pc.is_in(_as_text(rows.select(keys)), value_set=_as_text(wanted))
            if pc.any(hit).as_py():
                tables.append(as_typed(rows.filter(hit), features, place.text))
    return tables


def _of_version(
    table: StoredTable, pinned: PinnedTable | None, wanted: pa.Table, columns: Sequence[str]
) -> pa.Table | None:
    found = stored_version(table, pinned)
    if found is None:
        return None
    files, version = found
    keys, looked_for = wanted.column_names, _as_text(wanted)
    tables = []
    for batch in read_rows(version, files, list(dict.fromkeys([*keys, *columns]))):
        rows = pa.Table.from_batches([batch])
        hit = pc.is_in(_as_text(rows.select(keys)), value_set=looked_for)
        if pc.any(hit).as_py():
            tables.append(rows.filter(hit).select(list(columns)))
    return pa.concat_tables(tables) if tables else None


def _rows_in(
    files: Files,
    path: str,
    place: _Place,
    name: str,
    wanted: pa.Table,
    features: Sequence[Feature],
) -> list[pa.Table]:
    tables, first = [], 0
    columns = [feature.name for feature in features]
    with files.open_input(path) as stream:
        # In nanoseconds INT96 would hold no date before 1677 or after 2262.
        parquet = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")
        _require_today(parquet, path, columns)
        for group in range(parquet.num_row_groups):
            n_rows = parquet.metadata.row_group(group).num_rows
            by_place = place.source is None and not place.copied
            if by_place and wanted.column_names == [FILE, ROW_INDEX]:
                hit = _positions(wanted, name or path.rpartition("/")[2], first, n_rows)
            else:
                hit = _keys(parquet, group, wanted, place.source)
            if hit.any():
                rows = parquet.read_row_group(group, columns=columns)
                tables.append(rows.filter(pa.array(hit)).select(columns))
            first += n_rows
    return tables


def _require_today(parquet: pq.ParquetFile, path: str, columns: Sequence[str]) -> None:
    """Leave dates that Spark moves into today's calendar to Spark."""
    kinds = [parquet.schema_arrow.field(name).type for name in columns]
    dated = any(map(pa.types.is_temporal, kinds))
    if dated and calendar_of(parquet.metadata.metadata or {}) == "old":
        raise InputError(f"{path} counts its dates as Spark 2 did.", code="old_calendar")


def _keys(
    parquet: pq.ParquetFile, group: int, wanted: pa.Table, source: str | None
) -> NDArray[np.bool_]:
    names = wanted.column_names
    extra = [SOURCE] if source is not None else []
    keys = parquet.read_row_group(group, columns=[*names, *extra])
    hit = pc.is_in(_as_text(keys.select(names)), value_set=_as_text(wanted))
    if source is not None:
        hit = pc.and_(hit, pc.equal(keys.column(SOURCE).combine_chunks(), source))
    return np.asarray(hit.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _as_text(keys: pa.Table) -> pa.Array:
    columns = [column.cast(pa.string()) for column in keys.columns]
    joined = pc.binary_join_element_wise(*columns, ":")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _positions(wanted: pa.Table, file: str, first: int, n_rows: int) -> NDArray[np.bool_]:
    of_file = wanted.filter(pc.equal(wanted.column(FILE), file)).column(ROW_INDEX).to_numpy()
    return np.isin(np.arange(first, first + n_rows), of_file)


def _shown(row: pa.Table, name: str) -> Any:
    """Return a value as JSON has it; null for vectors, which say nothing to people."""
    value = row.column(name)[0].as_py()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if isinstance(value, (list, dict)) else str(value)
