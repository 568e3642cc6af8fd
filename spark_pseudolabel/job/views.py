"""What a finished run leaves for everybody: tables and the model, built from manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql.types import StructField

from spark_pseudolabel.columns import (
    CONFIDENCE,
    GIVEN,
    LABEL,
    MODEL,
    OF_SUSPECTS,
    P_GIVEN,
    P_SUGGESTED,
    PROBABILITIES,
    RAW_CONFIDENCE,
    REASON,
    ROUND,
    SOURCE,
    SUGGESTED,
    WEIGHT,
)
from spark_pseudolabel.core.published_rows import Published, Undecided, Unscored
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.spark.pool import Files
from spark_pseudolabel.spark.reading.schema import arrow_type
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import RoundManifest

_TYPES = {
    CONFIDENCE: pa.float64(),
    RAW_CONFIDENCE: pa.float64(),
    ROUND: pa.int32(),
    MODEL: pa.string(),
    WEIGHT: pa.float64(),
    SOURCE: pa.string(),
    REASON: pa.string(),
    PROBABILITIES: pa.list_(pa.float64()),
    P_GIVEN: pa.float64(),
    P_SUGGESTED: pa.float64(),
}

_KEY_TYPES = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
}
"""What keys and labels may be, besides strings."""


def build_views(run: Run, end: Finish) -> None:
    """Build the tables and the model copy that are missing or out of date."""
    tables = {
        "labels": _write_labels,
        "undecided": _write_undecided,
        "training": _write_training,
        "invalid": _write_invalid,
    }
    for name, write in tables.items():
        if not run.store.view_is_current(name):
            with run.events.stage(end.n_iter, f"write {name}"):
                built = run.store.new_view_dir()
                rows, written = write(run, end, built)
                run.store.put_view(name, built, rows, written)
    if not run.store.view_is_current("suspects"):
        _put_suspects(run)
    if not run.store.view_is_current("model"):
        run.store.put_model_view()


_Written = tuple[int, Files | None]
"""How many rows a table must have, and what was written."""


def _write_labels(run: Run, end: Finish, target: str) -> _Written:
    """Write every accepted row once, as it is published."""
    raw = [RAW_CONFIDENCE] if run.adjusted else []
    extra = [PROBABILITIES] if run.config.output.probabilities else []
    columns = [LABEL, CONFIDENCE, *raw, ROUND, MODEL, WEIGHT, *extra, *_features(run)]
    rows = _published(run, end, columns)
    rounds = run.published_rounds(end.best_round)
    features = run.config.output.features
    written = run.pool.publish("accepted", rounds, rows, rows.schema, target, features=features)
    return _accepted(rounds), written


def _write_training(run: Run, end: Finish, target: str) -> _Written:
    """Write labeled and accepted rows with the weight that the final model gave them."""
    # Of labeled rows, too, whose ids and numbers may be longer than the pool's.
    types = {name: arrow_type(kind) for name, kind in run.inputs.training_types.items()}
    rows = _published(run, end, [LABEL, WEIGHT, SOURCE, ROUND, *_features(run)], types)
    rounds, given = run.published_rounds(end.best_round), rows.given(run.inputs.labeled)
    features = run.config.output.features
    written = run.pool.publish(
        "accepted", rounds, rows, rows.schema, target, features=features, more=given
    )
    return _accepted(rounds) + given.num_rows, written


def _write_invalid(run: Run, end: Finish, target: str) -> _Written:
    """Write the rows that could not be scored, and why."""
    schema = _schema(run, [REASON, ROUND], {})
    rounds = [one for one in run.published_rounds(end.best_round) if one.counts.invalid]
    written = run.pool.publish("scored", rounds, Unscored(schema), schema, target)
    return sum(one.counts.invalid for one in rounds), written


def _write_undecided(run: Run, end: Finish, target: str) -> _Written:
    """Write the rows that have a score and no label, each once: those the last round left."""
    used = run.published_rounds(end.best_round)
    # Where the guard has discarded every round, the first one has looked at all rows.
    looked = used[-1:] or run.store.rounds[:1]
    undecided = Undecided(
        _schema(run, [LABEL, CONFIDENCE, REASON], {}),
        run.inputs.classes,
        run.inputs.keys,
        used[-1].plan if used else None,
    )
    n_rows = sum(one.counts.left for one in looked) + (0 if used else _accepted(looked))
    return n_rows, run.pool.publish("scored", looked, undecided, undecided.schema, target)


def _put_suspects(run: Run) -> None:
    """Publish the labeled rows whose given label is probably wrong; with its schema if none is."""
    label = _arrow_type(run.inputs.label_type)
    types = {name: arrow_type(kind) for name, kind in run.inputs.training_types.items()}
    schema = _schema(run, [*OF_SUSPECTS], {**types, GIVEN: label, SUGGESTED: label})
    kept = run.store.models[0].suspects
    table = schema.empty_table()
    if kept is not None:
        stored = read_bytes(run.store.read_file(kept))
        table = stored.rename_columns(schema.names).cast(schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    run.store.put_table_view("suspects", sink.getvalue().to_pybytes(), table.num_rows)


def _accepted(rounds: Sequence[RoundManifest]) -> int:
    return sum(one.counts.accepted for one in rounds)


def _published(
    run: Run, end: Finish, columns: list[str], types: Mapping[str, pa.DataType] | None = None
) -> Published:
    training = run.store.models[end.best_round].training
    rounds = run.published_rounds(end.best_round)
    return Published(
        schema=_schema(run, columns, types or {}),
        classes=run.inputs.classes,
        keys=run.inputs.keys,
        weights=training.weights,
        hash_limits=training.hash_limits,
        taught={one.number: one.taught_plan for one in rounds if one.taught_plan is not None},
    )


def _features(run: Run) -> list[str]:
    return [feature.name for feature in run.inputs.features if run.config.output.features]


def _schema(run: Run, columns: list[str], others: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return keys and features in the pool's own types, or in others, and columns in theirs."""
    types = {key: _arrow_type(kind) for key, kind in run.inputs.key_types.items()}
    types |= {field.name: arrow_type(field.dataType) for field in _feature_fields(run)}
    types |= {**others, **_TYPES, LABEL: _arrow_type(run.inputs.label_type)}
    return pa.schema([pa.field(name, types[name]) for name in [*run.inputs.keys, *columns]])


def _feature_fields(run: Run) -> list[StructField]:
    return [run.inputs.pool.schema[name] for name in _features(run)]


def _arrow_type(name: str) -> pa.DataType:
    """Return the type of a key or label; Spark's own parser of names would wake its SQL engine."""
    return _KEY_TYPES.get(name, pa.string())
