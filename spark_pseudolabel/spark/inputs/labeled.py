"""The rows with true labels: collected, checked, and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T

from spark_pseudolabel.columns import CODE, HASH
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.numbers import NUMBER
from spark_pseudolabel.core.teachers.rules import codes_of
from spark_pseudolabel.core.teachers.training import Label, class_codes
from spark_pseudolabel.core.validation_split import group_validation_mask, validation_mask
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.inputs.facts import GROUP, LABEL_COLUMN, Groups
from spark_pseudolabel.spark.inputs.ids import _SHOWN, bad_key, refuse_overlap, repeated
from spark_pseudolabel.spark.number_labels import with_values
from spark_pseudolabel.spark.reading.collecting import collect
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.schema import select_features
from spark_pseudolabel.spark.reading.tables import Table, reasons_of, to_arrow, with_hash

UNLABELED = -1
"""The label that means none to scikit-learn."""
_SHOWING = 1000
"""Rows of the pool that show what columns hold, where no labeled row does."""


def labeled_rows(
    tables: Mapping[str, Table], config: Config, keys: Sequence[str], features: Sequence[Feature]
) -> tuple[pa.Table, tuple[Label, ...], pa.Table]:
    """Return the labeled rows, the labels, and rows that show what columns hold."""
    if config.labeled is not None:
        labeled, classes = _collect_labeled(tables["labeled"], config, keys, features)
        if config.rules is not None:
            codes_of(config.rules.labels, classes)
        return labeled, classes, labeled
    assert config.rules is not None  # checked with the configuration
    some = _some_rows(tables["unlabeled"], keys, features, config.random_state)
    none = some.slice(0, 0)
    labeled = none.append_column(CODE, pa.array([], pa.int32()))
    return labeled, tuple(sorted(config.rules.labels, key=str)), some


@reading("unlabeled")
def _some_rows(
    table: Table, keys: Sequence[str], features: Sequence[Feature], random_state: int
) -> pa.Table:
    """Collect the rows of the pool with the lowest hash; an action, of which these come back."""
    rows = table.rows
    for reason in reasons_of(rows):
        rows = rows.filter(reason.isNull())
    chosen = rows.select(*columns(keys), *select_features(rows, features))
    hashed = with_hash(chosen, keys, random_state)
    return to_arrow(hashed.orderBy(HASH, *columns(keys)).limit(_SHOWING))


def _collect_labeled(
    table: Table, config: Config, keys: Sequence[str], features: Sequence[Feature]
) -> tuple[pa.Table, tuple[Label, ...]]:
    label, group = config.label, config.group
    columns = {LABEL_COLUMN: label, **({GROUP: group} if group else {})}
    numbers = [LABEL_COLUMN] if config.of_numbers else []
    collected = collect(table, keys, features, columns, numbers)
    if config.unlabeled.from_ == "labeled":
        collected = collected.filter(pa.compute.is_valid(collected.column(LABEL_COLUMN)))
    check_labeled(collected, keys, label, like_sklearn=config.mode == "sklearn")
    order = pa.compute.sort_indices(collected, sort_keys=[(key, "ascending") for key in keys])
    classes: tuple[Label, ...] = (NUMBER,)
    if config.of_numbers:
        coded = with_values(collected, LABEL_COLUMN, label, "labeled", keys)
    else:
        labels = collected.column(LABEL_COLUMN).to_pylist()
        classes = tuple(np.unique(np.asarray(labels)).tolist())
        codes = pa.array(class_codes(labels, classes))
        coded = collected.drop_columns([LABEL_COLUMN]).append_column(CODE, codes)
    hashes = xxhash64([*[coded.column(key) for key in keys], config.random_state])
    return coded.append_column(HASH, pa.array(hashes)).take(order), classes


def check_labeled(
    labeled: pa.Table, keys: Sequence[str], label: str, *, like_sklearn: bool
) -> None:
    """Refuse labeled rows from which nothing can be learned, or that mean something else."""
    if labeled.num_rows == 0:
        raise InputError("labeled must hold at least one row. It has none.", code="no_labeled")
    _require_no_nulls(labeled, label, "labeled")
    _refuse_nul(labeled.column(LABEL_COLUMN), label)
    if like_sklearn:
        _refuse_unlabeled(labeled.column(LABEL_COLUMN), label)
    _check_driver_keys(labeled, keys, "labeled")


def _require_no_nulls(rows: pa.Table, label: str, name: str) -> None:
    nulls = rows.column(LABEL_COLUMN).null_count
    if not nulls:
        return
    pool = ", or say unlabeled: {from: labeled} if they are the pool" if name == "labeled" else ""
    raise InputError(
        f"Every {name} row must have a label. {nulls} of {rows.num_rows} have null in {label!r}: "
        f"fill or drop them{pool}.",
        code="null_label",
        where=label,
    )


def _refuse_unlabeled(labels: pa.ChunkedArray, label: str) -> None:
    """Refuse the label by which scikit-learn's self-training marks rows that have none."""
    if not pa.types.is_integer(labels.type):
        return
    n = pa.compute.sum(pa.compute.equal(labels, UNLABELED)).as_py()
    if n:
        raise InputError(
            f"Labels must not be {UNLABELED} with mode: sklearn, where it means no label. "
            f"{n} of {len(labels)} in {label!r} are. Put these rows into the pool, say unlabeled: "
            "{from: labeled} with nulls for them, or give the label another number.",
            code="bad_label",
            where=label,
        )


def _refuse_nul(labels: pa.ChunkedArray, label: str) -> None:
    """Refuse labels that numpy's strings, in which models keep their classes, would cut short."""
    if not pa.types.is_string(labels.type):
        return
    padded = labels.filter(pa.compute.match_substring(labels, "\0"))
    if len(padded):
        raise InputError(
            f"Labels must not hold NUL characters. {len(padded)} of {len(labels)} in {label!r} "
            f"do, such as {padded[0].as_py()!r}: a format with fields of a fixed width pads them "
            "so. Strip them, so that they are not taken for labels of their own.",
            code="bad_label",
            where=label,
        )


def _check_driver_keys(rows: pa.Table, keys: Sequence[str], name: str) -> None:
    for key in keys:
        if rows.column(key).null_count:
            raise bad_key(name, key, f"{rows.column(key).null_count} rows have null")
    counted = rows.group_by(list(keys)).aggregate([([], "count_all")])
    twice = counted.filter(pa.compute.greater(counted["count_all"], 1))
    if twice.num_rows:
        examples = twice.select(list(keys)).slice(0, _SHOWN).to_pylist()
        shown = [tuple(row.values()) if len(keys) > 1 else row[keys[0]] for row in examples]
        raise bad_key(name, keys[0], f"{repeated(twice.num_rows)}, such as {shown}")


def split_labeled(labeled: pa.Table, config: Config) -> tuple[pa.Table, pa.Table]:
    """Return the rows to learn from and those kept for validation."""
    codes = labeled.column(CODE).to_numpy()
    fraction = config.validation.fraction
    if config.group and fraction:
        groups = labeled.column(GROUP)
        hashes = xxhash64([groups, config.random_state])
        mask = group_validation_mask(codes, groups.to_pylist(), hashes, fraction)
        if not mask.any():
            raise InputError(
                f"validation.group {config.group!r} leaves no row for validation: each of its "
                "values has all rows of a label, which a model has to learn from. Name a column "
                "with more values, give a validation table, or say validation: {fraction: 0}.",
                code="no_validation",
                where="validation.group",
            )
    else:
        mask = validation_mask(codes, labeled.column(HASH).to_numpy(), fraction)
    return labeled.filter(pa.array(~mask)), labeled.filter(pa.array(mask)).drop_columns([HASH])


def require_two_classes(labeled: pa.Table, classes: Sequence[Label]) -> None:
    """Refuse labeled rows that are all alike."""
    present = pa.compute.count_distinct(labeled.column(CODE)).as_py()
    if len(classes) < 2 or present < 2:
        raise InputError(
            f"labeled must hold at least two classes. It has {list(classes)}.", code="one_class"
        )


def collect_validation(
    table: Table,
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    classes: Sequence[Label],
) -> pa.Table:
    """Collect the rows of a validation table, in the form of labeled ones; an action."""
    group = config.group if config.group in table.schema.names else None
    columns = {LABEL_COLUMN: config.label, **({GROUP: group} if group else {})}
    rows = collect(table, keys, features, columns, [LABEL_COLUMN] if config.of_numbers else [])
    _check_driver_keys(rows, keys, "validation")
    if config.of_numbers:
        _require_no_nulls(rows, config.label, "validation")
        return with_values(rows, LABEL_COLUMN, config.label, "validation", keys)
    codes = class_codes(rows.column(LABEL_COLUMN).to_pylist(), classes)
    return rows.drop_columns([LABEL_COLUMN]).append_column(CODE, pa.array(codes))


def groups_apart(
    labeled: pa.Table,
    validation: pa.Table,
    tables: Mapping[str, Table],
    config: Config,
    keys: Sequence[str],
) -> tuple[tuple[pa.Table, pa.Table], Groups | None]:
    """Take the group column out of the collected rows."""
    group, table = config.group, tables["unlabeled"]
    if group is None:
        return (labeled, validation), None
    pool = None
    if group in table.schema.names:
        schema = T.StructType([*(table.schema[key] for key in keys), table.schema[group]])
        pool = table.changed(
            schema, lambda rows: rows.select(*columns(keys), column(group).alias(GROUP))
        )
    both = (labeled, validation)
    of_rows = [rows[GROUP] if GROUP in rows.column_names else None for rows in both]
    apart = [rows.drop_columns([GROUP]) if GROUP in rows.column_names else rows for rows in both]
    assert of_rows[0] is not None
    return (apart[0], apart[1]), Groups(of_rows[0], of_rows[1], pool)


def known_keys(
    tables: Mapping[str, Table], labeled: pa.Table, validation: pa.Table, keys: Sequence[str]
) -> pa.Table:
    """Return the ids of labeled and validation rows; refuse a row that is in both."""
    of_labeled, of_validation = labeled.select(list(keys)), validation.select(list(keys))
    if "validation" in tables:
        both = of_labeled.join(of_validation, keys=list(keys), join_type="inner")
        refuse_overlap(both, "validation", "labeled", keys, "no model may be trained on them")
    return pa.concat_tables([of_labeled, of_validation])
