"""Columns that are text for want of a type of their own: looked at once, then cast."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException, PythonException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import BREAKS, UNREADABLE
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.text_types import (
    MISSING,
    NUMBER,
    TextFacts,
    TextSurvey,
    survey_text,
)
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.schema import INTEGERS, KEY_TYPES, arrow_type
from spark_pseudolabel.spark.reading.tables import Table

_FACTS = "spl_facts"


def look_at_text(table: Table, names: Sequence[str], keys: Sequence[str]) -> TextSurvey:
    """Look at every value of text columns, and at the keys of rows that can't be read; a job.

    Raises
    ------
    InputError
        If the files can't be read at all.
    """
    safe = {f"c{i}": name for i, name in enumerate(dict.fromkeys([*names, *keys]))}
    of_keys = [alias for alias, name in safe.items() if name in keys]
    try:
        rows = table.rows
        reasons = column(UNREADABLE) if UNREADABLE in rows.columns else F.lit(None).cast("string")
        picked = [column(name).alias(alias) for alias, name in safe.items()]
        # Of all columns: a quote that is not closed takes rows along, whatever field it is in.
        texts = columns(table.schema.names) if table.unclosed is not None else []
        breaks = F.concat_ws("", *texts).contains("\n")
        marked = rows.select(*picked, reasons.alias(UNREADABLE), breaks.alias(BREAKS))
        parts = marked.mapInArrow(_survey_batches(of_keys), f"{_FACTS} string").collect()
    except PythonException:
        raise  # not the files' fault
    except (PySparkException, Py4JError) as error:
        raise InputError(
            f"{table.name} can't be read: {_cause(error)}", code="unreadable", where=table.name
        ) from error
    survey = reduce(TextSurvey.merged, (_from_json(part[0]) for part in parts), TextSurvey())
    if survey.line_breaks:
        _require_closed(table)
    facts = {name: survey.facts.get(alias, TextFacts()) for alias, name in safe.items()}
    return replace(survey, facts={name: facts[name] for name in names})


def _require_closed(table: Table) -> None:
    """Refuse a file in which a quote is not closed: the rows after it would be one value."""
    file = table.unclosed() if table.unclosed is not None else None
    if file is not None:
        raise InputError(
            f"{table.name}: the quotes in {file} are odd in number. One is not closed, and the "
            "rows after it would be taken for a value, or it stands inside of a field and is not "
            "doubled. Correct it, or give options: {quote: ''} where quotes have no meaning.",
            code="unreadable_rows",
            where=file,
        )


def retyped(table: Table, types: Mapping[str, T.DataType]) -> Table:
    """Return the table with text columns, and columns of nothing, as other types.

    Text that is no such value becomes null: it is what spells a missing one, as a survey has shown.
    """
    changes = {name: t for name, t in types.items() if table.schema[name].dataType != t}
    if not changes:
        return table
    schema = T.StructType(
        [T.StructField(f.name, changes.get(f.name, f.dataType)) for f in table.schema]
    )
    empty = {f.name for f in table.schema if isinstance(f.dataType, T.NullType)}

    def cast(rows: DataFrame) -> DataFrame:
        return rows.select(
            *[_cast(name, changes.get(name), name in empty) for name in rows.columns]
        )

    changed = table.changed(schema, cast)
    if table.plain is None:
        return changed
    arrow = {name: arrow_type(t) for name, t in changes.items()}
    return replace(changed, plain=table.plain.retyped(arrow))


def _cast(name: str, kind: T.DataType | None, empty: bool) -> Column:
    if kind is None:
        return column(name)
    cast = F.lit(None).cast(kind) if empty else column(name).try_cast(kind)
    return cast.alias(name)


def with_key_types(table: Table, keys: Sequence[str], types: Mapping[str, str]) -> Table:
    """Return a table whose keys have the types that a run has published them in.

    What the rows' own ids look like decides nothing: other rows of the same ids would have others.

    Parameters
    ----------
    table
        Any table.
    keys
        Its keys.
    types
        Spark type of each key in the run, such as ``string`` or ``int``; another key keeps its own.

    Raises
    ------
    InputError
        If a row can't be read as far as its key, or a key is no value of its type.
    """
    wanted = {key: _KEY_TYPES.get(name, T.StringType()) for key, name in types.items()}
    for key in keys:
        kind = table.schema[key].dataType
        if not isinstance(kind, (*KEY_TYPES, T.NullType)):
            raise _other_key(key, wanted.get(key, kind), f"It is {kind.simpleString()}")
    texts = [key for key in keys if isinstance(table.schema[key].dataType, T.StringType)]
    unknown = [key for key in texts if isinstance(wanted.get(key), T.IntegralType)]
    if unknown or table.first_unreadable is not None:
        survey = look_at_text(table, unknown, keys)
        if survey.lost:
            raise unreadable_rows(table, survey)
        for key in unknown:
            facts = survey.facts[key]
            if facts.integers < facts.present:
                example = f", such as {facts.other_example!r}" if facts.other_example else ""
                raise _other_key(key, wanted[key], f"It holds text{example}")
    for key, kind in wanted.items():
        _require_fits(table, key, kind)
    return retyped(table, wanted)


_KEY_TYPES: Mapping[str, T.DataType] = {kind.simpleString(): kind for kind in INTEGERS}


def _require_fits(table: Table, key: str, wanted: T.DataType) -> None:
    """Refuse integers that a shorter type does not hold; a job where one might not."""
    kind = table.schema[key].dataType
    if not isinstance(wanted, T.IntegralType) or isinstance(kind, T.NullType):
        return
    has = kind if isinstance(kind, T.IntegralType) else T.LongType()
    if INTEGERS.index(has) <= INTEGERS.index(wanted):
        return
    # What is no integer at all is in a row that can't be read.
    is_integer = column(key).try_cast(T.LongType()).isNotNull()
    lost = table.rows.filter(is_integer & column(key).try_cast(wanted).isNull())
    if first := lost.select(column(key)).head(1):
        raise _other_key(key, wanted, f"It holds {first[0][0]}")


def _other_key(key: str, wanted: T.DataType, what: str) -> InputError:
    must = "text or integers"
    if isinstance(wanted, T.IntegralType):
        must = f"integers, {wanted.simpleString()} as the ids of the run"
    return InputError(
        f"id column {key!r} must hold {must}. {what}. Correct these ids, or use a run whose ids "
        "are of this type.",
        code="type_differs",
        where=key,
    )


def unreadable_rows(table: Table, survey: TextSurvey) -> InputError:
    """Return the error that says where the first row is that can't be read."""
    where = table.first_unreadable() if table.first_unreadable is not None else None
    lost = "; no id can be read of some" if survey.lost else ""
    remedy = "Correct the row: a field with a comma, a quote or a line break needs quotes, and a "
    remedy += "quote inside is doubled."
    if table.strings_may_be_empty:
        remedy = "Correct the line, or take it out."
    rows = "1 row" if survey.unreadable == 1 else f"{survey.unreadable:,} rows"
    return InputError(
        f"{table.name}: {rows} of {survey.rows:,} cannot be read{lost}. The first: "
        f"{where or survey.example}. {remedy}",
        code="unreadable_rows",
        where=table.name,
    )


def as_features(table: Table, features: Sequence[Feature]) -> Table:
    """Return a table of text with the types that a model has learned from.

    A row whose text is no such value gets a reason in ``spl_unreadable``, so that it is invalid
    and takes no other row along.
    """
    empty = [f for f in features if isinstance(table.schema[f.name].dataType, T.NullType)]
    table = retyped(table, {feature.name: _spark_type(feature) for feature in empty})
    numeric = {
        feature.name: _spark_type(feature)
        for feature in features
        if feature.kind in _CASTS and _is_text(table, feature.name)
    }
    if not numeric:
        return table
    schema = T.StructType(
        [T.StructField(f.name, numeric.get(f.name, f.dataType)) for f in table.schema]
    )

    def cast(rows: DataFrame) -> DataFrame:
        has_reasons = UNREADABLE in rows.columns
        reason = column(UNREADABLE) if has_reasons else F.lit(None).cast("string")
        wrong = [_wrong(feature) for feature in features if feature.name in numeric]
        others = [name for name in rows.columns if name != UNREADABLE]
        return rows.select(
            *[_cast(name, numeric.get(name), empty=False) for name in others],
            F.coalesce(reason, *wrong).alias(UNREADABLE),
        )

    return table.changed(schema, cast)


_CASTS = {"numeric": "number", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}


def _is_text(table: Table, name: str) -> bool:
    is_string = isinstance(table.schema[name].dataType, T.StringType)
    return name in table.texts or (table.strings_may_be_empty and is_string)


def _spark_type(feature: Feature) -> T.DataType:
    if feature.kind == "vector":
        return T.ArrayType(T.DoubleType())
    if not feature.numeric:
        return T.StringType()
    if feature.kind == "numeric":
        return T.DoubleType()
    if feature.kind == "boolean":
        return T.BooleanType()
    if feature.kind == "date":
        return T.DateType()
    return T.TimestampType() if feature.type == "timestamp" else T.TimestampNTZType()


def _wrong(feature: Feature) -> Column:
    """Return why a text is no value of a feature, null where it is one or is missing."""
    text = column(feature.name)
    is_value = text.try_cast(_spark_type(feature)).isNotNull()
    if feature.kind == "numeric":
        is_value = text.rlike(NUMBER)
    message = F.concat(
        F.lit(f"feature {feature.name!r} is '"),
        F.substring(text, 1, 40),
        F.lit(f"', which is no {_CASTS[feature.kind]}"),
    )
    return F.when(text.isNotNull() & ~text.rlike(MISSING) & ~is_value, message)


def _survey_batches(
    keys: Sequence[str],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def look(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        survey = survey_text(batches, keys)
        document = {**vars(survey), "facts": {n: f.to_dict() for n, f in survey.facts.items()}}
        yield pa.RecordBatch.from_pydict({_FACTS: pa.array([json.dumps(document)])})

    return look


def _from_json(text: str) -> TextSurvey:
    document = json.loads(text)
    return TextSurvey(
        **{**document, "facts": {n: TextFacts(**f) for n, f in document["facts"].items()}}
    )


def _cause(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Of a failed task Java says first what called what, and last what was wrong.
    causes = [line.partition("Caused by: ")[2] for line in lines if "Caused by: " in line]
    messages = (
        causes[-1:] or [line[1:].strip() for line in lines[1:2] if line.startswith(":")] or lines
    )
    return (messages[0] if messages else type(error).__name__)[:300]
