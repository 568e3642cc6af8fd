"""What a finished run publishes: tables and the model, built from manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.columns import (
    CONFIDENCE,
    GIVEN,
    LABEL,
    LOWER,
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
    UPPER,
    WEIGHT,
)
from spark_pseudolabel.core.published_rows import Published, Undecided, Unscored
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.spark.pool import Pool, Publication, RowsByFile
from spark_pseudolabel.spark.reading.schema import arrow_type
from spark_pseudolabel.store.following import follow, put_built
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import RoundManifest
from spark_pseudolabel.store.store import RoundStore

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
    "double": pa.float64(),
    "boolean": pa.bool_(),
}
"""What keys and labels may be, besides strings."""


def build_views(run: Run, end: Finish) -> None:
    """Build the tables and the model copy that are missing or out of date."""
    store = run.store
    tables = _Tables(run.setting, store, run.backend.pool, end, run.model_name)
    if store.reviews:
        follow(store)
    for name, write in tables.writers.items():
        if name in store.views and not store.view_is_current(name):
            with run.events.stage(end.n_iter, f"write {name}"):
                built = store.new_view_dir()
                rows, written = write(built)
                put_built(store, name, built, rows, written)
    if "suspects" in store.views and not store.view_is_current("suspects"):
        tables.put_suspects()
    if "model" in store.views and not store.view_is_current("model"):
        store.put_model_view()


_Written = tuple[int, RowsByFile | None]
"""How many rows a table must have, and what was written."""


@dataclass(frozen=True)
class _Tables:
    """The published tables of a run that has ended.

    Parameters
    ----------
    setting, store, pool
        Of the run.
    end
        How it ended.
    model_name
        What labels call its models, by their number.
    """

    setting: Setting
    store: RoundStore
    pool: Pool
    end: Finish
    model_name: str

    @property
    def writers(self) -> Mapping[str, Callable[[str], _Written]]:
        """What writes each of the tables into a directory."""
        return {
            "labels": self._write_labels,
            "undecided": self._write_undecided,
            "training": self._write_training,
            "invalid": self._write_invalid,
        }

    def put_suspects(self) -> None:
        """Publish the labeled rows whose given label is probably wrong; none: with its schema."""
        inputs = self.setting.inputs
        label = _arrow_type(inputs.label_type)
        types = {name: arrow_type(kind) for name, kind in inputs.training_types.items()}
        schema = self._schema([*OF_SUSPECTS], {**types, GIVEN: label, SUGGESTED: label})
        entry = self.store.models[0].suspects
        table = schema.empty_table()
        if entry is not None:
            stored = read_bytes(self.store.read_file(entry))
            table = stored.rename_columns(schema.names).cast(schema)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, write_page_checksum=True)
        self.store.put_table_view("suspects", sink.getvalue().to_pybytes(), table.num_rows)

    @property
    def _rounds(self) -> tuple[RoundManifest, ...]:
        return self.setting.published(self.store.rounds, self.end.best_round)

    def _write_labels(self, target: str) -> _Written:
        """Write every accepted row once, as it is published."""
        output = self.setting.config.output
        raw = [RAW_CONFIDENCE] if self.setting.carried.raw else []
        extra = [PROBABILITIES] if output.probabilities else []
        columns = [LABEL, CONFIDENCE, *self._bounds, *raw, ROUND, MODEL, WEIGHT, *extra]
        columns += self._features
        rows = self._published(columns)
        written = self.pool.publish(
            Publication(
                "accepted", self._rounds, rows, rows.schema, target, features=output.features
            )
        )
        return _accepted(self._rounds), written

    def _write_training(self, target: str) -> _Written:
        """Write labeled and accepted rows with the weight that the final model gave them."""
        inputs = self.setting.inputs
        # Of labeled rows, too, whose ids and numbers may be longer than the pool's.
        types = {name: arrow_type(kind) for name, kind in inputs.training_types.items()}
        rows = self._published([LABEL, WEIGHT, SOURCE, ROUND, *self._features], types)
        labeled = rows.given(inputs.labeled)
        written = self.pool.publish(
            Publication(
                "accepted",
                self._rounds,
                rows,
                rows.schema,
                target,
                features=self.setting.config.output.features,
                more=labeled,
            )
        )
        return _accepted(self._rounds) + labeled.num_rows, written

    def _write_invalid(self, target: str) -> _Written:
        """Write the rows that could not be scored, and why."""
        schema = self._schema([REASON, ROUND], {})
        rounds = [manifest for manifest in self._rounds if manifest.counts.invalid]
        written = self.pool.publish(Publication("scored", rounds, Unscored(schema), schema, target))
        return sum(manifest.counts.invalid for manifest in rounds), written

    def _write_undecided(self, target: str) -> _Written:
        """Write the rows that are not invalid and have no label: those the last round left."""
        used, inputs = self._rounds, self.setting.inputs
        # Where the guard has discarded every round, the first one has looked at all rows.
        rounds = used[-1:] or self.store.rounds[:1]
        undecided = Undecided(
            self._schema([LABEL, CONFIDENCE, REASON], {}),
            inputs.classes,
            inputs.keys,
            used[-1].plan if used else None,
        )
        n_rows = sum(manifest.counts.left for manifest in rounds) + (
            0 if used else _accepted(rounds)
        )
        table = Publication("scored", rounds, undecided, undecided.schema, target)
        return n_rows, self.pool.publish(table)

    def _published(
        self, columns: list[str], types: Mapping[str, pa.DataType] | None = None
    ) -> Published:
        training = self.store.models[self.end.best_round].training
        plans = {manifest.number: manifest.taught_plan for manifest in self._rounds}
        return Published(
            schema=self._schema(columns, types or {}),
            classes=self.setting.inputs.classes,
            keys=self.setting.inputs.keys,
            weights=training.weights,
            hash_limits=training.hash_limits,
            taught={number: plan for number, plan in plans.items() if plan is not None},
            model=self.model_name,
        )

    @property
    def _bounds(self) -> list[str]:
        return [LOWER, UPPER] if self.setting.carried.numbers else []

    @property
    def _features(self) -> list[str]:
        if not self.setting.config.output.features:
            return []
        return [feature.name for feature in self.setting.inputs.features]

    def _schema(self, columns: list[str], others: Mapping[str, pa.DataType]) -> pa.Schema:
        """Return keys and features in the pool's own types, or in others, and columns in theirs."""
        inputs = self.setting.inputs
        fields = [inputs.pool.schema[name] for name in self._features]
        types = {key: _arrow_type(kind) for key, kind in inputs.key_types.items()}
        types |= {field.name: arrow_type(field.dataType) for field in fields}
        types |= {**others, **_TYPES, LABEL: _arrow_type(inputs.label_type)}
        types |= dict.fromkeys(self._bounds, pa.float64())
        return pa.schema([pa.field(name, types[name]) for name in [*inputs.keys, *columns]])


def _accepted(rounds: Sequence[RoundManifest]) -> int:
    return sum(manifest.counts.accepted for manifest in rounds)


def _arrow_type(name: str) -> pa.DataType:
    """Return the type of a key or label; Spark's own parser of names would wake its SQL engine."""
    return _KEY_TYPES.get(name, pa.string())
