"""Types for what has none of its own: text, directories' values and columns without a value.

What a column is depends on all of its values in all tables, which are looked at once; a file whose
values look otherwise would else be read otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_pseudolabel.columns import UNREADABLE
from spark_pseudolabel.config import Config, Features
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.text_types import TextFacts, TextSurvey, facts_of, type_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.direct.plain_csv import survey_plain
from spark_pseudolabel.spark.reading.names import column
from spark_pseudolabel.spark.reading.schema import candidate_features, kind_of
from spark_pseudolabel.spark.reading.tables import Note, Table
from spark_pseudolabel.spark.reading.text_columns import look_at_text, retyped, unreadable_rows

Tables = dict[str, Table]

_TYPES: Mapping[str, T.DataType] = {
    "bigint": T.LongType(),
    "double": T.DoubleType(),
    "boolean": T.BooleanType(),
    "date": T.DateType(),
    "timestamp": T.TimestampType(),
    "timestamp_ntz": T.TimestampNTZType(),
    "string": T.StringType(),
}


_SHOWN = 60


@dataclass(frozen=True)
class Settled:
    """Tables whose columns have types.

    Parameters
    ----------
    tables
        The same tables.
    empty
        Columns without a value in any of the labeled and unlabeled rows.
    notes
        What a user should know of it.
    """

    tables: Tables
    empty: tuple[str, ...]
    notes: tuple[Note, ...]


def settle_types(
    tables: Tables, config: Config, keys: Sequence[str], also: Sequence[str] = ()
) -> Settled:
    """Decide what columns of text are, from all of their values.

    Parameters
    ----------
    tables, config, keys
        Of the run.
    also
        Columns that are looked at though they are no features.

    Raises
    ------
    InputError
        If rows of another table than the pool can't be read, if a feature is a number to a person
        and text to every reader, or ids can't be told apart as numbers.
    """
    features = _features(tables, config, keys)
    features += [name for name in also if name not in features and name in _shared(tables)]
    notes: tuple[Note, ...] = ()
    surveyed: Tables = {}
    for name, table in tables.items():
        surveyed[name], further = _survey(table, config, keys, features)
        notes += further
    known = _Known(surveyed, config)
    types = {key: known.key(key) for key in keys}
    types[config.label] = known.label(config.label)
    empty = tuple(name for name in features if known.is_empty(name))
    for name in features:
        if name not in types and name not in empty:
            types[name], further = known.feature(name)
            notes += further
    settled = {name: _apply(table, types) for name, table in surveyed.items()}
    return Settled(settled, empty, notes)


def notes_on_strings(
    table: Table, labeled: pa.Table, features: Sequence[Feature], settings: Features
) -> tuple[Note, ...]:
    """Tell which columns of JSON are text only for a few values that are no numbers.

    Spark has made strings of all that is in such a column. Looked at are the labeled rows, which
    the driver has: the pool would have to be read for it once more.
    """
    if not table.strings_may_be_empty:
        return ()
    known = {*table.texts, *settings.text}
    names = [f.name for f in features if f.type == "string" and f.name not in known]
    notes = (_note_on_mixed(n, facts_of(labeled.column(n)), "labeled values") for n in names)
    return tuple(note for of_column in notes for note in of_column)


def _features(tables: Tables, config: Config, keys: Sequence[str]) -> list[str]:
    label, group = config.label, config.validation.group
    labeled, pool = _both_schemas(tables)
    return candidate_features(
        labeled, pool, config.features, [*keys, label, *([group] if group else [])]
    )


def _both_schemas(tables: Tables) -> tuple[T.StructType, T.StructType]:
    """Return the columns of labeled rows and of the pool, which may be in one table."""
    named = [tables[name].schema for name in ("labeled", "unlabeled") if name in tables]
    return named[0], named[-1]


def _shared(tables: Tables) -> set[str]:
    labeled, pool = _both_schemas(tables)
    return set(labeled.names) & set(pool.names)


def _survey(
    table: Table, config: Config, keys: Sequence[str], features: Sequence[str]
) -> tuple[Table, tuple[Note, ...]]:
    """Look at a table's values where that is needed; sort out the rows that can't be read."""
    used = [*keys, config.label, *features]
    unknown = [n for n in used if n in table.texts and table.texts[n] is None]
    if not unknown and table.first_unreadable is None:
        return table, table.notes
    present = [key for key in keys if key in table.schema.names]
    names = list(dict.fromkeys(unknown))
    survey = None
    if table.csv is not None:
        survey = survey_plain(table.rows.sparkSession, table.csv, names, present)
    if survey is None:
        survey = look_at_text(table, names, present)
        table = replace(table, csv=None)
    table = replace(table, texts={**table.texts, **survey.facts})
    if not survey.unreadable:
        if table.by_lines is not None and not survey.line_breaks:
            table = replace(table, opener=table.by_lines)
        return table.changed(table.schema, _without_reasons), table.notes
    holds_pool = table.name == "unlabeled" or config.unlabeled.from_ == "labeled"
    if not holds_pool or survey.lost:
        raise unreadable_rows(table, survey)
    return table, (*table.notes, _unreadable_rows(table, survey))


def _without_reasons(rows: DataFrame) -> DataFrame:
    return rows.select(*[column(name) for name in rows.columns if name != UNREADABLE])


def _unreadable_rows(table: Table, survey: TextSurvey) -> Note:
    return Note(
        "unreadable_rows",
        f"{survey.unreadable:,} of {survey.rows:,} rows of {table.name} cannot be read and get no "
        f"label. One of the reasons: {survey.example}. All are in invalid/.",
    )


@dataclass(frozen=True)
class _Known:
    """What is known of the columns of all tables."""

    tables: Tables
    config: Config

    def key(self, name: str) -> T.DataType:
        facts, typed = self._all(name, list(self.tables))
        whole = any(isinstance(kind, T.IntegralType) for kind in typed)
        if whole and facts.present and not facts.whole:
            example = f", such as {facts.other_example!r}" if facts.other_example else ""
            raise InputError(
                f"id column {name!r} must have the same type in all tables. It is an integer in "
                f"one and text in another{example}. Write the ids of all tables as text.",
                code="type_differs",
                where=name,
            )
        if typed:
            return T.LongType() if whole else T.StringType()
        return T.LongType() if facts.whole else T.StringType()

    def label(self, name: str) -> T.DataType:
        if "labeled" not in self.tables:
            return T.StringType()
        facts, typed = self._all(name, ["labeled"])
        others = [self.tables[n] for n in ("validation", "test") if n in self.tables]
        typed = typed or [t.schema[name].dataType for t in others if _typed(t, name)]
        if typed:
            return typed[0]
        if self.config.of_numbers and not facts.whole and type_of(facts) == "double":
            return T.DoubleType()
        return T.LongType() if facts.whole else T.StringType()

    def is_empty(self, name: str) -> bool:
        facts, typed = self._all(name, self._both)
        return not typed and not facts.present

    def feature(self, name: str) -> tuple[T.DataType, tuple[Note, ...]]:
        facts, typed = self._all(name, self._both)
        if typed:
            return self._as_typed(name, facts, typed[0]), ()
        if name in self.config.features.text:
            return T.StringType(), ()
        kind = type_of(facts)
        if kind != "string":
            return _TYPES[kind], _note_on_missing(name, facts)
        if facts.only_decorated:
            raise InputError(
                f"Feature {name!r} holds numbers that no reader takes for numbers, such as "
                f"{facts.decorated_example!r}. Write them with digits and a decimal point, leave "
                "the column out by features.exclude, or read it as text by features.text.",
                code="number_as_text",
                where=name,
            )
        return T.StringType(), _note_on_mixed(name, facts, "values")

    @property
    def _both(self) -> list[str]:
        return [name for name in ("labeled", "unlabeled") if name in self.tables]

    def _all(self, name: str, tables: Sequence[str]) -> tuple[TextFacts, list[T.DataType]]:
        """Return the facts of a column where it is text, and its types where it has one."""
        facts, typed = TextFacts(), []
        for table in (self.tables[table_name] for table_name in tables):
            if name not in table.schema.names:
                continue
            if _typed(table, name):
                typed.append(table.schema[name].dataType)
            else:
                facts = facts.merged(table.texts.get(name) or TextFacts())
        return facts, typed

    def _as_typed(self, name: str, facts: TextFacts, kind: T.DataType) -> T.DataType:
        """Return what text becomes beside a column of a type: that type where all of it is."""
        if facts.empty:
            return kind
        text_type = _TYPES[type_of(facts)]
        wanted, has = kind_of(kind, name, "labeled"), kind_of(text_type, name, "labeled")
        return text_type if wanted == has else T.StringType()


def _typed(table: Table, name: str) -> bool:
    kind = table.schema[name].dataType
    return name not in table.texts and not isinstance(kind, T.NullType)


def _apply(table: Table, types: Mapping[str, T.DataType]) -> Table:
    """Cast the columns of text; those that do not hold what they should stay text."""
    wanted = {}
    for name, kind in types.items():
        if name not in table.schema.names or _typed(table, name):
            continue
        facts = table.texts.get(name) or TextFacts()
        if _fits(facts, kind):
            wanted[name] = kind
    return retyped(table, wanted)


def _fits(facts: TextFacts, kind: T.DataType) -> bool:
    text_type = _TYPES[type_of(facts)]
    numbers = isinstance(kind, T.NumericType) and isinstance(text_type, T.NumericType)
    if isinstance(kind, T.IntegralType):
        numbers = facts.whole
    return facts.empty or text_type == kind or numbers or isinstance(kind, T.StringType)


def _note_on_missing(name: str, facts: TextFacts) -> tuple[Note, ...]:
    if not facts.missing:
        return ()
    return (
        Note(
            "read_as_missing",
            f"{facts.missing:,} values of {name!r}, such as {facts.missing_example!r}, are read as "
            "missing: all others are of one type.",
        ),
    )


def _note_on_mixed(name: str, facts: TextFacts, values: str) -> tuple[Note, ...]:
    if not facts.mostly_numbers:
        return ()
    example = (facts.other_example or facts.missing_example or "")[:_SHOWN]
    return (
        Note(
            "mixed_column",
            f"{name!r} holds {facts.numbers:,} numbers among {facts.present:,} {values} and is "
            f"read as text, a category, for others such as {example!r}. Correct these if the "
            "column is a number.",
        ),
    )
