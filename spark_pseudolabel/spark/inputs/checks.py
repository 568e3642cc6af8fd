"""Which columns tables have, of which types, and what a user should know of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pyspark.sql import types as T

from spark_pseudolabel.columns import (
    LABEL,
    OF_NUMBERS,
    OF_SUSPECTS,
    PUBLISHED,
    RESERVED,
    UNREADABLE,
)
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.core.text_types import MISSING
from spark_pseudolabel.errors import ConfigError, InputError, Problem
from spark_pseudolabel.spark.number_labels import require_numbers
from spark_pseudolabel.spark.reading.csv_files import other_separator
from spark_pseudolabel.spark.reading.names import column
from spark_pseudolabel.spark.reading.schema import (
    KEY_TYPES,
    LABEL_TYPES,
    feature_names,
    find_features,
    nameless,
    require_kinds,
    require_type,
    unshared,
)
from spark_pseudolabel.spark.reading.tables import (
    Note,
    Table,
    require_columns,
    require_in_all_files,
    some,
)


def require_all_columns(tables: Mapping[str, Table], config: Config, keys: Sequence[str]) -> None:
    """Refuse tables without their ids and labels, and names that are taken."""
    label, group = config.label, group_columns(config)
    of_id = [] if config.id is None else _reserved(config.id)
    reserved = [*_published(config), *OF_SUSPECTS, *of_id]
    if config.id in reserved:
        raise ConfigError(
            [
                Problem(
                    "id", f"the name {config.id!r} is taken by a column of the output. Rename it."
                )
            ]
        )
    wanted = {"labeled": [*keys, label, *group], "unlabeled": keys}
    for name, table in tables.items():
        _require_one_name(table)
        _require_no_reasons(table)
        require_columns(table.schema, wanted.get(name, [*keys, label]), name)
        require_in_all_files(table, wanted.get(name, [*keys, label]))


def _require_no_reasons(table: Table) -> None:
    if UNREADABLE in table.schema.names:
        raise InputError(
            f"{table.name} has a column {UNREADABLE!r}, a name that is used inside. Rename it.",
            code="reserved_name",
            where=UNREADABLE,
        )


def _published(config: Config) -> tuple[str, ...]:
    """Return the names of columns that published tables may have."""
    return (*PUBLISHED, *(OF_NUMBERS if config.of_numbers else ()))


def _reserved(name: str) -> list[str]:
    return [name] if name.startswith(RESERVED) else []


def _require_one_name(table: Table) -> None:
    """Say what is likely wrong where a CSV header is one name only."""
    mark = other_separator(table.schema.names) if table.texts else None
    if mark is not None:
        raise InputError(
            f"{table.name} has one column, {table.schema.names[0]!r}. Its fields seem to be "
            f"separated by {mark!r}: write options: {{sep: {mark!r}}}.",
            code="separator",
            where=table.name,
        )


def check_types(tables: Mapping[str, Table], config: Config, keys: Sequence[str]) -> None:
    """Refuse ids and labels of types that are none, or of others than the labeled rows have."""
    label = config.label
    if config.of_numbers:
        require_numbers(tables["labeled"].schema, label, "labeled")
    else:
        require_type(
            tables["labeled"].schema,
            label,
            LABEL_TYPES,
            "labeled",
            "a string, an integer or a boolean (or a number, with task: regression)",
        )
    for name, table in tables.items():
        if name in ("validation", "test"):
            if config.of_numbers:
                require_numbers(table.schema, label, name)
            else:
                _require_label_type(table, tables["labeled"], label)
        for key in keys:
            require_type(table.schema, key, KEY_TYPES, name, "a string or an integer")


def _require_label_type(table: Table, labeled: Table, label: str) -> None:
    kind, wanted = (each.schema[label].dataType for each in (table, labeled))
    both_integers = isinstance(kind, T.IntegralType) and isinstance(wanted, T.IntegralType)
    if type(kind) is not type(wanted) and not both_integers:
        raise InputError(
            f"{table.name} column {label!r} must be {wanted.simpleString()}, as in labeled. It is "
            f"{kind.simpleString()}: cast it.",
            code="type_differs",
            where=label,
        )


def with_pool_key_type(table: Table, tables: Mapping[str, Table], keys: Sequence[str]) -> Table:
    """Let ids of all tables have one type, the pool's, so that they can be compared."""
    pool = tables["unlabeled"].schema
    for key in keys:
        kind, wanted = table.schema[key].dataType, pool[key].dataType
        if isinstance(kind, T.StringType) != isinstance(wanted, T.StringType):
            raise InputError(
                f"id column {key!r} must have the same type in all tables. It is "
                f"{kind.simpleString()} in {table.name} and {wanted.simpleString()} in unlabeled.",
                code="type_differs",
                where=key,
            )
    integers = [key for key in keys if isinstance(pool[key].dataType, T.IntegralType)]
    if not integers:
        return table
    schema = T.StructType(
        [T.StructField(f.name, T.LongType()) if f.name in integers else f for f in table.schema]
    )
    return table.changed(
        schema,
        lambda rows: rows.withColumns({key: column(key).cast("bigint") for key in integers}),
    )


def group_columns(config: Config) -> list[str]:
    """Return the name of the column that says which rows belong together, if there is one."""
    return [config.group] if config.group else []


def choose_features(
    tables: Mapping[str, Table], config: Config, keys: Sequence[str], empty: Sequence[str]
) -> tuple[Feature, ...]:
    """Return the columns that models see; refuse names and types that they cannot have."""
    labeled, pool = tables["labeled"].schema, tables["unlabeled"].schema
    left_out = [*keys, config.label, *group_columns(config)]
    names = feature_names(labeled, pool, config.features, left_out, empty)
    taken = sorted(set(names) & {LABEL, *_published(config)})
    if config.output.features and taken:
        raise ConfigError(
            [
                Problem(
                    "output.features",
                    f"features {taken} have the names of output columns. Rename them, or set "
                    "output.features: false.",
                )
            ]
        )
    features = find_features(names, labeled, pool, config.features)
    if config.mode == "sklearn":
        _require_numbers(features)
    for name in ("validation", "test"):
        if name in tables:
            require_kinds(tables[name].schema, features, name)
    return features


def notes_on_columns(
    tables: Mapping[str, Table],
    config: Config,
    keys: Sequence[str],
    empty: Sequence[str],
    classes: Sequence[Label],
) -> tuple[Note, ...]:
    """Return what is reported of columns and labels that are not as a user may think."""
    left_out = [*keys, config.label, *group_columns(config)]
    notes = unshared(
        tables["labeled"].schema, tables["unlabeled"].schema, config.features, left_out
    )
    of_pool = ["unlabeled"] if config.unlabeled.from_ != "labeled" else []
    of_labeled = ["labeled"] if config.labeled is not None else []
    for table in (tables[name] for name in (*of_labeled, *of_pool)):
        notes += nameless(table.name, table.schema, config.features, left_out)
        lost = [f"{n!r} (in {file})" for n, file in table.lacking.items() if n not in left_out]
        if lost:
            notes += (
                Note(
                    "files_differ",
                    f"Files of {table.name} lack columns that others of its files have: "
                    f"{some(lost)}. These are missing values there.",
                ),
            )
    if empty:
        notes += (
            Note(
                "empty_columns",
                f"Columns {some([repr(name) for name in empty])} hold no value, neither in labeled "
                "nor in unlabeled rows: they are left out.",
            ),
        )
    missing = [repr(label) for label in classes if re.search(MISSING, str(label))]
    if missing:
        notes += (
            Note(
                "labels_like_missing",
                f"Labels {some(missing)} are classes like others. If these rows are to have no "
                "label, leave their cells empty.",
            ),
        )
    alike: dict[str, list[str]] = {}
    for label in classes:
        alike.setdefault(str(label).strip().casefold(), []).append(str(label))
    twins = [labels for labels in alike.values() if len(labels) > 1]
    if twins:
        notes += (
            Note(
                "labels_alike",
                f"Labels {some([repr(label) for label in twins[0]])} differ in case or blanks "
                "only, and are different classes. Correct the labeled rows if they are one.",
            ),
        )
    return notes


def _require_numbers(features: Sequence[Feature]) -> None:
    strings = [feature.name for feature in features if not feature.numeric]
    if strings:
        raise InputError(
            f"mode: sklearn takes numbers only, as SelfTrainingClassifier does. {strings} are "
            "strings: leave them out by features.exclude, or leave out the mode.",
            code="bad_type",
            where=strings[0],
        )
