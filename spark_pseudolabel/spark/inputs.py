"""Everything a run reads, opened, checked and split before any model is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import CODE, FILE, HASH, LABEL, PUBLISHED, ROW_INDEX
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.splitting import group_validation_mask, validation_mask
from spark_pseudolabel.core.training import Label, class_codes
from spark_pseudolabel.errors import ConfigError, InputError, Problem
from spark_pseudolabel.spark.schema import (
    KEY_TYPES,
    LABEL_TYPES,
    feature_names,
    find_features,
    require_kinds,
    require_type,
    select_features,
    settle,
    type_name,
)
from spark_pseudolabel.spark.tables import (
    Table,
    open_table,
    require_columns,
    to_arrow,
    with_hash,
)

Frames = Mapping[str, DataFrame]
"""DataFrames given in Python, by section name: labeled, unlabeled, validation, test."""

GROUP_HASH = "spl_group_hash"
TRUE_LABEL = "spl_true_label"
LABEL_COLUMN = "spl_label"
CONTENT = "spl_content"
_SHOWN = 3


@dataclass(frozen=True)
class Inputs:
    """What a run works on.

    Parameters
    ----------
    keys
        The id column, or ``file`` and ``row_index``.
    key_types
        Their Spark types in the pool; inside a run all integers are bigint.
    features
        Input columns of the model.
    classes
        The labels that occur among the labeled rows, ascending.
    label_type
        Spark type of the label column, such as ``string``.
    labeled
        Training rows with given labels: keys, features, ``spl_code``. On the driver.
    validation
        Rows with true labels that no model is trained on, in the same form; empty if there are
        none. Labels the model can't know have code -1.
    pool
        The unlabeled rows: keys and features.
    pool_rows
        How many there are.
    test
        Keys, features and ``spl_true_label``, or None.
    frozen
        What must not change while the run lasts: file lists and fingerprints, for the store.
    """

    keys: tuple[str, ...]
    key_types: dict[str, str]
    features: tuple[Feature, ...]
    classes: tuple[Label, ...]
    label_type: str
    labeled: pa.Table
    validation: pa.Table
    pool: DataFrame
    pool_rows: int
    test: DataFrame | None
    frozen: dict[str, Any]


def read_inputs(spark: SparkSession, config: Config, frames: Frames | None = None) -> Inputs:
    """Open and check all tables of a configuration.

    Parameters
    ----------
    spark
        The session.
    config
        The configuration.
    frames
        The DataFrames of sections that say ``from: dataframe``.

    Raises
    ------
    InputError
        If they do not hold what the configuration says; names the column, file or key.
    ConfigError
        If a column's name collides with one of the output.
    """
    tables = _open_tables(spark, config, frames or {})
    keys = (config.id,) if config.id is not None else (FILE, ROW_INDEX)
    _check_columns(tables, config, keys)
    key_types = {key: type_name(tables["unlabeled"].rows, key) for key in keys}
    tables = {name: _with_pool_key_type(table, tables, keys) for name, table in tables.items()}
    features = _features(tables, config, keys)
    labeled, classes = _collect_labeled(tables["labeled"], config, keys, features)
    features = settle(features, labeled, config.features)
    labeled, validation = _split(labeled, config)
    if "validation" in tables:
        validation = _collect_validation(tables["validation"], config, keys, features, classes)
    _require_two_classes(labeled, classes)
    pool = tables["unlabeled"].rows.select(
        *keys, *select_features(tables["unlabeled"].rows, features)
    )
    known = _known_keys(spark, tables, labeled, validation, keys)
    if config.unlabeled.drop_labeled:
        pool = pool.join(F.broadcast(known), on=list(keys), how="left_anti")
    fingerprint = _check_keys(pool, known, keys, config)
    return Inputs(
        keys=keys,
        key_types=key_types,
        features=features,
        classes=classes,
        label_type=type_name(tables["labeled"].rows, config.labeled.label),
        labeled=labeled.drop_columns([HASH, CONTENT]),
        validation=validation.drop_columns([CONTENT]),
        pool=pool,
        pool_rows=fingerprint["rows"],
        test=_test_rows(tables, config, keys, features, known),
        frozen={
            "labeled": _fingerprint(labeled),
            "validation": _fingerprint(validation),
            "unlabeled": _frozen_table(tables["unlabeled"]) | fingerprint,
            **({"test": _frozen_table(tables["test"])} if "test" in tables else {}),
        },
    )


def _open_tables(spark: SparkSession, config: Config, frames: Frames) -> dict[str, Table]:
    positions = config.id is None
    sections: dict[str, Any] = {
        "labeled": config.labeled,
        "unlabeled": config.unlabeled,
        "test": config.test,
    }
    if config.validation.is_table:
        sections["validation"] = config.validation
    tables: dict[str, Table] = {}
    for name, section in sections.items():
        if section is None or section.from_ == "labeled":
            continue
        if section.from_ == "dataframe":
            tables[name] = Table(name, frames[name])
        else:
            tables[name] = open_table(spark, section, name, positions=positions)
    return _split_off_pool(tables, config)


def _split_off_pool(tables: dict[str, Table], config: Config) -> dict[str, Table]:
    """Let rows with a null label be the pool where one table holds both."""
    if config.unlabeled.from_ != "labeled":
        return tables
    both = tables["labeled"]
    require_columns(both.rows, [config.labeled.label], "labeled")
    label = F.col(config.labeled.label)
    return tables | {
        "labeled": replace(both, rows=both.rows.filter(label.isNotNull())),
        "unlabeled": replace(
            both, name="unlabeled", rows=both.rows.filter(label.isNull()).drop(label)
        ),
    }


def _check_columns(tables: Mapping[str, Table], config: Config, keys: Sequence[str]) -> None:
    label = config.labeled.label
    if config.id in PUBLISHED:
        raise ConfigError(
            [
                Problem(
                    "id", f"the name {config.id!r} is taken by a column of the output. Rename it."
                )
            ]
        )
    require_columns(tables["labeled"].rows, [*keys, label, *_group_columns(config)], "labeled")
    require_columns(tables["unlabeled"].rows, keys, "unlabeled")
    require_type(
        tables["labeled"].rows, label, LABEL_TYPES, "labeled", "a string, an integer or a boolean"
    )
    for name, table in tables.items():
        if name in ("validation", "test"):
            require_columns(table.rows, [*keys, label], name)
            _require_label_type(table, tables["labeled"], label)
        for key in keys:
            require_type(table.rows, key, KEY_TYPES, name, "a string or an integer")


def _require_label_type(table: Table, labeled: Table, label: str) -> None:
    mine, wanted = (one.rows.schema[label].dataType for one in (table, labeled))
    both_integers = isinstance(mine, T.IntegralType) and isinstance(wanted, T.IntegralType)
    if type(mine) is not type(wanted) and not both_integers:
        raise InputError(
            f"{table.name} column {label!r} must be {wanted.simpleString()}, as in labeled. It is "
            f"{mine.simpleString()}: cast it.",
            code="type_differs",
            where=label,
        )


def _with_pool_key_type(table: Table, tables: Mapping[str, Table], keys: Sequence[str]) -> Table:
    """Let ids of all tables have one type, the pool's, so that they can be compared."""
    pool = tables["unlabeled"].rows
    for key in keys:
        mine, wanted = table.rows.schema[key].dataType, pool.schema[key].dataType
        if isinstance(mine, T.StringType) != isinstance(wanted, T.StringType):
            raise InputError(
                f"id column {key!r} must have the same type in all tables. It is "
                f"{mine.simpleString()} in {table.name} and {wanted.simpleString()} in unlabeled.",
                code="type_differs",
                where=key,
            )
    integers = [key for key in keys if isinstance(pool.schema[key].dataType, T.IntegralType)]
    wide = {key: F.col(key).cast("bigint") for key in integers}
    return replace(table, rows=table.rows.withColumns(wide)) if wide else table


def _group_columns(config: Config) -> list[str]:
    return [config.validation.group] if config.validation.group else []


def _features(
    tables: Mapping[str, Table], config: Config, keys: Sequence[str]
) -> tuple[Feature, ...]:
    labeled, pool = tables["labeled"].rows, tables["unlabeled"].rows
    left_out = [*keys, config.labeled.label, *_group_columns(config)]
    names = feature_names(labeled, pool, config.features, left_out)
    if config.output.features and (taken := sorted(set(names) & {LABEL, *PUBLISHED})):
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
            require_kinds(tables[name].rows, features, name)
    return features


def _require_numbers(features: Sequence[Feature]) -> None:
    strings = [feature.name for feature in features if not feature.numeric]
    if strings:
        raise InputError(
            f"mode: sklearn takes numbers only, as SelfTrainingClassifier does. {strings} are "
            "strings: leave them out by features.exclude, or leave out the mode.",
            code="bad_type",
            where=strings[0],
        )


def _collect_labeled(
    table: Table, config: Config, keys: Sequence[str], features: Sequence[Feature]
) -> tuple[pa.Table, tuple[Label, ...]]:
    label, group = config.labeled.label, config.validation.group
    rows = with_hash(table.rows, keys, config.random_state)
    columns = [*_labeled_columns(rows, keys, features, label), F.col(HASH)]
    if group:
        rows = with_hash(rows.withColumnRenamed(HASH, "spl_row_hash"), [group], config.random_state)
        rows = rows.withColumnsRenamed({HASH: GROUP_HASH, "spl_row_hash": HASH})
        columns += [F.col(GROUP_HASH), F.col(group).alias("spl_group")]
    collected = to_arrow(rows.select(*columns))
    _check_labeled(collected, keys, label)
    labels = collected.column(LABEL_COLUMN).to_pylist()
    classes = tuple(np.unique(np.asarray(labels)).tolist())
    codes = pa.array(class_codes(labels, classes))
    order = pa.compute.sort_indices(collected, sort_keys=[(key, "ascending") for key in keys])
    coded = collected.drop_columns([LABEL_COLUMN]).append_column(CODE, codes)
    return coded.take(order), classes


def _labeled_columns(
    rows: DataFrame, keys: Sequence[str], features: Sequence[Feature], label: str
) -> list[Column]:
    values = [*[F.col(key) for key in keys], *select_features(rows, features)]
    content = F.xxhash64(*values, F.col(label)).alias(CONTENT)
    return [*values, F.col(label).alias(LABEL_COLUMN), content]


def _check_labeled(labeled: pa.Table, keys: Sequence[str], label: str) -> None:
    if labeled.num_rows == 0:
        raise InputError("labeled must hold at least one row. It has none.", code="no_labeled")
    nulls = labeled.column(LABEL_COLUMN).null_count
    if nulls:
        raise InputError(
            f"Every labeled row must have a label. {nulls} of {labeled.num_rows} have null in "
            f"{label!r}: fill or drop them, or say unlabeled: {{from: labeled}} if they are the "
            "pool.",
            code="null_label",
            where=label,
        )
    _check_driver_keys(labeled, keys, "labeled")


def _check_driver_keys(rows: pa.Table, keys: Sequence[str], name: str) -> None:
    for key in keys:
        if rows.column(key).null_count:
            raise _bad_key(name, key, f"{rows.column(key).null_count} rows have null")
    counted = rows.group_by(list(keys)).aggregate([([], "count_all")])
    twice = counted.filter(pa.compute.greater(counted["count_all"], 1))
    if twice.num_rows:
        examples = twice.select(list(keys)).slice(0, _SHOWN).to_pylist()
        shown = [tuple(row.values()) if len(keys) > 1 else row[keys[0]] for row in examples]
        raise _bad_key(name, keys[0], f"{twice.num_rows} ids occur more than once, such as {shown}")


def _bad_key(name: str, key: str, found: str) -> InputError:
    return InputError(
        f"{name}: ids in {key!r} must be unique and not null. {found[0].upper()}{found[1:]}.",
        code="bad_id",
        where=key,
    )


def _split(labeled: pa.Table, config: Config) -> tuple[pa.Table, pa.Table]:
    codes = labeled.column(CODE).to_numpy()
    fraction = config.validation.fraction
    if config.validation.group:
        mask = group_validation_mask(
            codes,
            labeled.column("spl_group").to_pylist(),
            labeled.column(GROUP_HASH).to_numpy(),
            fraction,
        )
        labeled = labeled.drop_columns(["spl_group", GROUP_HASH])
    else:
        mask = validation_mask(codes, labeled.column(HASH).to_numpy(), fraction)
    return labeled.filter(pa.array(~mask)), labeled.filter(pa.array(mask)).drop_columns([HASH])


def _require_two_classes(labeled: pa.Table, classes: Sequence[Label]) -> None:
    present = pa.compute.count_distinct(labeled.column(CODE)).as_py()
    if len(classes) < 2 or present < 2:
        raise InputError(
            f"labeled must hold at least two classes. It has {list(classes)}.", code="one_class"
        )


def _collect_validation(
    table: Table,
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    classes: Sequence[Label],
) -> pa.Table:
    columns = _labeled_columns(table.rows, keys, features, config.labeled.label)
    rows = to_arrow(table.rows.select(*columns))
    _check_driver_keys(rows, keys, "validation")
    codes = class_codes(rows.column(LABEL_COLUMN).to_pylist(), classes)
    return rows.drop_columns([LABEL_COLUMN]).append_column(CODE, pa.array(codes))


def _known_keys(
    spark: SparkSession,
    tables: Mapping[str, Table],
    labeled: pa.Table,
    validation: pa.Table,
    keys: Sequence[str],
) -> DataFrame:
    """Return the ids of labeled and validation rows; refuse a row that is in both."""
    if "validation" in tables:
        both = labeled.select(list(keys)).join(
            validation.select(list(keys)), keys=list(keys), join_type="inner"
        )
        _refuse_overlap(both, "validation", "labeled", keys, "no model may be trained on them")
    ids = pa.concat_tables([labeled.select(list(keys)), validation.select(list(keys))])
    schema = tables["unlabeled"].rows.select(*keys).schema
    return spark.createDataFrame(ids.to_pandas(), schema=schema)


def _check_keys(
    pool: DataFrame, known: DataFrame, keys: Sequence[str], config: Config
) -> dict[str, Any]:
    """Check in one narrow pass that ids are unique, not null and not those of labeled rows."""
    if config.id is None:
        row = pool.select(*keys).agg(F.count(F.lit(1)).alias("rows")).collect()[0]
        return {"rows": int(row["rows"])}
    found = _key_facts(pool, known, keys[0])
    if found["nulls"]:
        raise _bad_key("unlabeled", keys[0], f"{found['nulls']} rows have null")
    if found["twice"]:
        examples = found["examples"]
        raise _bad_key(
            "unlabeled", keys[0], f"{found['twice']} ids occur more than once, such as {examples}"
        )
    if found["known"]:
        raise InputError(
            f"unlabeled holds {found['known']} rows whose ids are also labeled or validation "
            f"rows, such as {found['known_examples']}. Take them out, or set "
            "unlabeled.drop_labeled: true.",
            code="labeled_in_pool",
            where=keys[0],
        )
    return {"rows": found["rows"], "ids_xor64": found["xor64"]}


def _key_facts(pool: DataFrame, known: DataFrame, key: str) -> dict[str, Any]:
    marked = known.withColumn("known", F.lit(1))
    per_id = pool.select(key).groupBy(key).agg(F.count(F.lit(1)).alias("n"))
    twice = F.col("n") > 1
    row = (
        per_id.join(F.broadcast(marked), on=key, how="left")
        .agg(
            F.sum("n").alias("rows"),
            F.sum(F.when(F.col(key).isNull(), F.col("n"))).alias("nulls"),
            F.count(F.when(twice & F.col(key).isNotNull(), 1)).alias("twice"),
            F.min(F.when(twice, F.col(key))).alias("first_twice"),
            F.count("known").alias("known"),
            F.min(F.when(F.col("known") == 1, F.col(key))).alias("first_known"),
            F.bit_xor(F.xxhash64(key)).alias("xor64"),
        )
        .collect()[0]
    )
    return {
        "rows": int(row["rows"] or 0),
        "nulls": int(row["nulls"] or 0),
        "twice": int(row["twice"]),
        "examples": repr(row["first_twice"]),
        "known": int(row["known"]),
        "known_examples": repr(row["first_known"]),
        "xor64": row["xor64"],
    }


def _test_rows(
    tables: Mapping[str, Table],
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    known: DataFrame,
) -> DataFrame | None:
    if "test" not in tables:
        return None
    rows = tables["test"].rows
    label = F.col(config.labeled.label).alias(TRUE_LABEL)
    if config.id is not None:
        both = rows.select(*keys).join(F.broadcast(known), on=list(keys), how="left_semi")
        _refuse_overlap(to_arrow(both), "test", "labeled", keys, "a test must be of unseen rows")
    return rows.select(*keys, *select_features(rows, features), label)


def _refuse_overlap(
    both: pa.Table, name: str, other: str, keys: Sequence[str], reason: str
) -> None:
    if both.num_rows:
        examples = both.column(keys[0]).slice(0, _SHOWN).to_pylist()
        raise InputError(
            f"{name} holds {both.num_rows} rows whose ids are also {other} rows, such as "
            f"{examples}; {reason}. Take them out of one of the two.",
            code="overlap",
            where=name,
        )


def _frozen_table(table: Table) -> dict[str, Any]:
    schema = table.rows.schema.simpleString()
    if table.files is None:
        return {"schema": schema}
    listed = [[info.path, info.bytes, info.mtime_ns] for info in table.files]
    return {"schema": schema, "files": listed}


def _fingerprint(rows: pa.Table) -> dict[str, Any]:
    """Fold the hashes of a collected table's rows: the same for the same rows in any order."""
    hashes = rows.column(CONTENT).to_numpy()
    return {"rows": rows.num_rows, "xor64": int(np.bitwise_xor.reduce(hashes, initial=0))}
