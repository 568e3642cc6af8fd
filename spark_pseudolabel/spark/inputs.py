"""Everything a run reads, opened, checked and split before any model is fitted."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_pseudolabel.columns import (
    CODE,
    FILE,
    HASH,
    LABEL,
    OF_NUMBERS,
    OF_SUSPECTS,
    PUBLISHED,
    RESERVED,
    ROW_INDEX,
    UNREADABLE,
    VALUE,
)
from spark_pseudolabel.config import Config
from spark_pseudolabel.config.sections import Table as TableSection
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.core.hashing import xxhash64
from spark_pseudolabel.core.key_sets import KeySet
from spark_pseudolabel.core.numbers import NUMBER, NumberTask
from spark_pseudolabel.core.teachers.rules import codes_of
from spark_pseudolabel.core.teachers.training import Label, class_codes
from spark_pseudolabel.core.text_types import MISSING
from spark_pseudolabel.core.uniqueness import Hashes
from spark_pseudolabel.core.validation_split import group_validation_mask, validation_mask
from spark_pseudolabel.errors import ConfigError, InputError, Problem, text_of
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.spark.answered import Answers, read_answers
from spark_pseudolabel.spark.direct.keys import key_hashes, require_reach, survey_keys
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.evaluation import HeldOutRows, open_test
from spark_pseudolabel.spark.frame import keys as frame_keys
from spark_pseudolabel.spark.number_labels import (
    published_type,
    require_numbers,
    task_of,
    with_values,
)
from spark_pseudolabel.spark.reading.collecting import collect, require_spark_reads
from spark_pseudolabel.spark.reading.csv_files import other_separator
from spark_pseudolabel.spark.reading.names import column, columns
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.rules import Functions, RuleSet
from spark_pseudolabel.spark.reading.schema import (
    KEY_TYPES,
    LABEL_TYPES,
    completed,
    feature_names,
    find_features,
    nameless,
    require_kinds,
    require_type,
    select_features,
    selected_schema,
    type_name,
    type_of_both,
    unshared,
    with_typed_nulls,
)
from spark_pseudolabel.spark.reading.settle_types import notes_on_strings, settle_types
from spark_pseudolabel.spark.reading.tables import (
    Note,
    Table,
    open_table,
    reasons_of,
    require_columns,
    require_in_all_files,
    some,
    to_arrow,
    with_hash,
)
from spark_pseudolabel.spark.snapshot import Choice, Freezer, PoolSnapshot, Typed, choose
from spark_pseudolabel.spark.startup.warm_up import warm_up
from spark_pseudolabel.store.files import same_system
from spark_pseudolabel.store.inputs import (
    FrozenInputs,
    FrozenPool,
    FrozenRows,
    FrozenSnapshot,
    FrozenTable,
    PinnedTable,
    SeenFile,
)
from spark_pseudolabel.wording import agreeing, counted

Frames = Mapping[str, DataFrame]
"""DataFrames given in Python, by section name: labeled, unlabeled, validation, test."""

GROUP = "spl_group"
LABEL_COLUMN = "spl_label"
_SEEN = "spl_seen"
UNLABELED = -1
"""The label that means none to scikit-learn."""
_ID = "spl_id"
_SHOWN = 3
_SURE = ("damaged_file", "encrypted_file", "version_expired")
"""Codes of what workers find wrong with files, that Spark would find, too."""
_SHOWING = 1000
"""Rows of the pool that show what columns hold, where no labeled row does."""


@dataclass(frozen=True)
class Groups:
    """The group of each row.

    Parameters
    ----------
    labeled
        Of the labeled rows, in their order; a null is a group of its own.
    validation
        Of the validation rows; None where these are a table without the column.
    pool
        The pool as keys and ``spl_group``; None where it lacks the column.
    """

    labeled: pa.ChunkedArray
    validation: pa.ChunkedArray | None
    pool: Table | None


@dataclass(frozen=True)
class NewRows:
    """Which rows of the pool are read, where earlier generations have seen others.

    Parameters
    ----------
    files
        Of the pool's directory, those that are read; None: all rows there are.
    seen
        Tells of hashes of ids, ascending, which of them were seen; None: none was.
    """

    files: frozenset[str] | None = None
    seen: Callable[[Hashes], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class Inputs:
    """What a run works on.

    Parameters
    ----------
    keys
        The id column, or ``file`` and ``row_index``.
    key_types
        Their Spark types in the pool; inside a run all integers are bigint.
    training_types
        By key and feature, the Spark type that holds the values of labeled rows and of the pool's.
    features
        Input columns of the model.
    classes
        The labels that occur among the labeled rows, ascending; one where labels are numbers.
    label_type
        Spark type of the label column, such as ``string``; of numbers, that of published ones.
    labeled
        Training rows with given labels: keys, features, ``spl_code``, and ``spl_value`` where
        labels are numbers. On the driver.
    validation
        Rows with true labels that no model is trained on, in the same form; empty if there are
        none. Labels the model can't know have code -1.
    pool
        The unlabeled rows: keys and features.
    pool_rows
        How many there are.
    scan
        The same rows as parts that workers read by themselves, or None.
    no_scan
        Why they don't.
    freezing
        Whether the pool is frozen first, and why; None where workers read it as it is.
    refrozen
        Whether it was frozen anew, so that rounds may have found its rows in other places.
    test
        Rows with true labels, or None.
    frozen
        What must not change while the run lasts: file lists and fingerprints, for the store.
    notes
        What a user should know of how the tables were read.
    groups
        Which rows belong together, where a column says it.
    votes
        The column with the votes of rules, in all tables; empty where no rules label the pool.
    rule_columns
        What the rules look at.
    selected
        Which labeled rows were chosen to be labeled, by a queue or an audit: models are trained on
        them, and nothing is measured on them. None: none.
    overlap
        Rows of the pool's table that an earlier generation has seen, and that are left out.
    numbers
        What is asked of labels that are numbers; None: they are classes.
    """

    keys: tuple[str, ...]
    key_types: dict[str, str]
    training_types: dict[str, T.DataType]
    features: tuple[Feature, ...]
    classes: tuple[Label, ...]
    label_type: str
    labeled: pa.Table
    validation: pa.Table
    pool: Table
    pool_rows: int
    scan: Scan | None
    no_scan: str
    test: HeldOutRows | None
    frozen: FrozenInputs
    notes: tuple[Note, ...] = ()
    groups: Groups | None = None
    votes: tuple[Feature, ...] = ()
    rule_columns: tuple[Feature, ...] = ()
    overlap: int = 0
    selected: NDArray[np.bool_] | None = None
    freezing: Choice | None = None
    refrozen: bool = False
    numbers: NumberTask | None = None

    @property
    def seed_features(self) -> tuple[Feature, ...]:
        """What model 1 sees: the votes where rules make it."""
        return self.votes or self.features


def read_inputs(
    spark: SparkSession,
    config: Config,
    frames: Frames | None = None,
    probe: str | None = None,
    modules: Sequence[str] = (),
    proved: FrozenInputs | None = None,
    functions: Functions | None = None,
    new_rows: NewRows | None = None,
    freezer: Freezer | None = None,
) -> Inputs:
    """Open and check all tables of a configuration.

    Parameters
    ----------
    spark
        The session.
    config
        The configuration.
    frames
        The DataFrames of sections that say ``from: dataframe``.
    probe
        A file of the output: workers that see it can write there.
    modules
        What workers will need: they import it while the tables are looked at.
    proved
        What was frozen when a run of the same configuration began: what it says about the ids of
        the same tables need not be found out again. None for a new run.
    functions
        Rules that are functions in Python, by their name.
    new_rows
        Which rows of the pool are read; None: all.
    freezer
        Freezes a pool that workers can't read themselves; None: nothing is written.

    Raises
    ------
    InputError
        If they do not hold what the configuration says; names the column, file or key.
    ConfigError
        If a column's name collides with one of the output.
    """
    new_rows = new_rows or NewRows()
    pinned = {} if proved is None else proved.pinned
    opened = _open_tables(spark, config, frames or {}, new_rows.files, pinned)
    keys = (config.id,) if config.id is not None else (FILE, ROW_INDEX)
    _require_columns(opened, config, keys)
    rules = None if config.rules is None else RuleSet(spark, config.rules.rules, functions or {})
    looked_at = [] if rules is None else rules.columns()
    settled = settle_types(opened, config, keys, looked_at)
    tables = _with_labeled(_split_off_pool(settled.tables, config), config)
    plain = tables["unlabeled"].plain
    if plain is not None and modules:
        warm_up(spark.sparkContext, len(plain.parts), modules)
    _check_columns(tables, config, keys)
    key_types = {key: type_name(tables["unlabeled"].schema, key) for key in keys}
    as_read = {name: table.schema for name, table in tables.items()}
    tables = {name: _with_pool_key_type(table, tables, keys) for name, table in tables.items()}
    no_features = [config.label, *_group_columns(config), *config.features.exclude]
    tables = with_typed_nulls(tables, [*keys, *no_features, *settled.empty])
    features = _features(tables, config, keys, settled.empty)
    frozen_pool = _frozen_table(tables["unlabeled"])
    frozen_test = {"test": _frozen_table(tables["test"])} if "test" in tables else {}
    voted = _Voted.on(tables, rules)
    tables, votes = voted.tables, voted.votes
    labeled, classes, shown = _labeled_rows(tables, config, keys, [*features, *votes])
    answers = read_answers(spark, config.reviews, keys[0]) if config.reviews else None
    of_strings = notes_on_strings(tables["labeled"], shown, features, config.features)
    numbers = None
    if config.of_numbers:
        numbers = task_of(config, labeled[VALUE].to_numpy(), tables["labeled"].schema)
    features = completed(features, shown, config.features)
    read = (*features, *votes)
    labeled, validation = split_labeled(labeled, config)
    if "validation" in tables:
        validation = _collect_validation(tables["validation"], config, keys, read, classes)
    answered = None
    if answers is not None:
        parts = _Labeled(labeled, validation, classes)
        answered = _answered_rows(spark, tables["unlabeled"], config, keys, read, parts, answers)
        labeled, validation, classes = answered.labeled
    (labeled, validation), groups = _groups_apart(labeled, validation, tables, config, keys)
    if config.labeled is not None and numbers is None:
        _require_two_classes(labeled, classes)
    known = _known_keys(tables, labeled, validation, keys)
    selected = None if answered is None else answered.among(labeled, keys)
    asked = None if answered is None else answered.ids
    seen = _seen_before(spark, tables["unlabeled"], config, keys, features, new_rows)
    pool = _pool(spark, tables["unlabeled"], keys, read, known, config, seen, asked)
    frozen_labeled = _fingerprint(labeled, features, keys, groups)
    frozen_validation = _fingerprint(validation, features, keys)
    before = _known_before(frozen_labeled, frozen_validation, frozen_pool, proved)
    survey = _survey(
        spark, tables["unlabeled"], config, keys, features, known, probe, before, seen, asked
    )
    freezing, copy = None, None
    if survey.scan is None:
        require_spark_reads(tables["unlabeled"], [feature.name for feature in features])
        freezing = choose(config, tables["unlabeled"], reached=not survey.tried)
        nothing_new = seen is not None and not len(seen.new)
        if freezer is not None and freezer.wanted(freezing) and not nothing_new:
            grouped = groups is not None and groups.pool is not None
            of_group = _group_columns(config) if grouped else []
            wide = _pool(
                spark, tables["unlabeled"], keys, read, known, config, seen, asked, of_group
            )
            as_is = seen is None and _left_out(config, known, asked) is None and not of_group
            as_is = as_is and config.unlabeled.from_ != "labeled" and not votes
            typed = Typed.of(tables["unlabeled"], pool.schema, keys[0]) if as_is else None
            whole = _Pool(wide, pool, config, keys, known, before, typed)
            copy = _copied(spark, freezer, whole, probe)
            pool, survey, groups = copy.pool, copy.survey, copy.groups(groups)
    ids = survey.ids or _check_keys(spark, pool, known, keys, config, before)
    return Inputs(
        keys=keys,
        key_types=key_types,
        training_types={
            name: type_of_both(
                as_read["labeled"][name].dataType, as_read["unlabeled"][name].dataType
            )
            for name in (*keys, *(feature.name for feature in features))
        },
        features=features,
        classes=classes,
        label_type=(type_name if numbers is None else published_type)(
            tables["labeled"].schema, config.label
        ),
        labeled=labeled.drop_columns([HASH]),
        validation=validation,
        pool=pool,
        pool_rows=ids.rows,
        scan=survey.scan,
        no_scan=survey.no_scan,
        test=_test_rows(spark, tables, config, keys, read, known, survey.scan),
        frozen=FrozenInputs(
            labeled=frozen_labeled,
            validation=frozen_validation,
            unlabeled=ids.of(frozen_pool, None if copy is None else copy.frozen),
            **frozen_test,
            seen=_seen(tables, config),
            pinned={
                name: table.pinned for name, table in opened.items() if table.pinned is not None
            },
        ),
        notes=(
            *settled.notes,
            *of_strings,
            *_notes(tables, config, keys, settled.empty, classes),
            *(() if answered is None else answered.notes),
        ),
        selected=selected,
        groups=groups,
        votes=votes,
        rule_columns=voted.columns,
        overlap=0 if seen is None else len(seen.hashes),
        freezing=freezing,
        refrozen=copy is not None and copy.again,
        numbers=numbers,
    )


def _open_tables(
    spark: SparkSession,
    config: Config,
    frames: Frames,
    only: frozenset[str] | None,
    pinned: Mapping[str, PinnedTable],
) -> dict[str, Table]:
    positions = config.id is None
    sections: dict[str, TableSection | None] = {
        "labeled": config.labeled,
        "unlabeled": None if config.unlabeled.from_ == "labeled" else config.unlabeled,
        "test": config.test,
    }
    if config.validation.is_table:
        sections["validation"] = config.validation
    tables: dict[str, Table] = {}
    for name, section in sections.items():
        if section is None:
            continue
        if section.from_ == "dataframe":
            tables[name] = Table.of_rows(name, frames[name])
        else:
            of_pool = only if name == "unlabeled" else None
            tables[name] = open_table(
                spark,
                section,
                name,
                positions=positions,
                only=of_pool,
                pinned=pinned.get(name),
            )
    return tables


def _split_off_pool(tables: dict[str, Table], config: Config) -> dict[str, Table]:
    """Let rows with a null label be the pool where one table holds both."""
    if config.unlabeled.from_ != "labeled":
        return tables
    both, label = tables["labeled"], column(config.label)
    others = T.StructType([field for field in both.schema if field.name != config.label])

    def pool(rows: DataFrame) -> DataFrame:
        # The label of a row that can't be read may be another column's.
        known = reduce(Column.__and__, _readable(rows), label.isNotNull())
        return rows.filter(~known).drop(label)

    return tables | {
        "labeled": both.changed(
            both.schema,
            lambda rows: rows.filter(reduce(Column.__and__, _readable(rows), label.isNotNull())),
        ),
        "unlabeled": replace(both.changed(others, pool), name="unlabeled"),
    }


def _with_labeled(tables: dict[str, Table], config: Config) -> dict[str, Table]:
    """Let labeled rows be none of the pool's where there is no table of them."""
    if config.labeled is not None:
        return tables
    pool, label = tables["unlabeled"], T.StructField(config.label, T.StringType())
    fields = [field for field in pool.schema if field.name != label.name]
    nothing = Table(
        "labeled",
        T.StructType([*fields, label]),
        lambda: pool.rows.limit(0).withColumn(label.name, F.lit(None).cast(label.dataType)),
    )
    return tables | {"labeled": nothing}


@dataclass(frozen=True)
class _Voted:
    """Tables with the votes of rules, where there are rules.

    Parameters
    ----------
    tables
        By section name.
    votes
        The column with the votes.
    columns
        What the rules look at.
    """

    tables: dict[str, Table]
    votes: tuple[Feature, ...] = ()
    columns: tuple[Feature, ...] = ()

    @classmethod
    def on(cls, tables: dict[str, Table], rules: RuleSet | None) -> _Voted:
        """Let rules vote on every row."""
        if rules is None:
            return cls(tables)
        columns = rules.features_of(tables["unlabeled"])
        voted = {name: rules.on(table) for name, table in tables.items()}
        return cls(voted, (rules.feature,), columns)


def _readable(rows: DataFrame) -> list[Column]:
    """Return the condition that a row could be read, where some could not."""
    return [column(UNREADABLE).isNull()] if UNREADABLE in rows.columns else []


@dataclass(frozen=True)
class _Seen:
    """Hashes of the pool's ids, ascending: those that were seen before, and those that are new."""

    hashes: Hashes
    new: Hashes

    def left(self, spark: SparkSession, pool: DataFrame, key: str) -> DataFrame:
        """Return the rows that are new; the fewer hashes are broadcast."""
        few, how = min((self.hashes, "left_anti"), (self.new, "left_semi"), key=lambda h: len(h[0]))
        table = pd.DataFrame({_SEEN: few.view(np.int64)})
        schema = T.StructType([T.StructField(_SEEN, T.LongType())])
        hashes = F.broadcast(spark.createDataFrame(table, schema=schema))
        return pool.join(hashes, on=F.xxhash64(column(key)) == F.col(_SEEN), how=how)


@reading("unlabeled")
def _seen_before(
    spark: SparkSession,
    table: Table,
    config: Config,
    keys: tuple[str, ...],
    features: Sequence[Feature],
    new_rows: NewRows,
) -> _Seen | None:
    """Look which ids of the pool an earlier generation has seen; None where none was."""
    if new_rows.seen is None or config.id is None:
        return None
    hashes = _key_hashes(spark, table, config, keys, features)
    of_seen = new_rows.seen(hashes)
    return _Seen(hashes[of_seen], hashes[~of_seen]) if of_seen.any() else None


def _key_hashes(
    spark: SparkSession,
    table: Table,
    config: Config,
    keys: tuple[str, ...],
    features: Sequence[Feature],
) -> Hashes:
    if not _needs_spark(table, config, keys, features):
        assert table.plain is not None
        # What workers can't read the survey finds out, and says.
        with contextlib.suppress(OSError, PySparkException, Py4JError):
            return key_hashes(spark, Scan(table.plain.source(keys), table.plain.parts))
    hashed = to_arrow(table.rows.select(F.xxhash64(column(keys[0])).alias(HASH)))
    return np.sort(hashed.column(HASH).to_numpy().view(np.uint64))


def _left_out(config: Config, known: pa.Table, asked: pa.Array | None) -> pa.Array | None:
    """Return ids of the pool's rows that are labeled, where these are left out; None: none is."""
    if config.unlabeled.drop_labeled:
        return known.column(0).combine_chunks()
    return asked


@dataclass(frozen=True)
class _Labeled:
    """Rows with true labels, and the labels."""

    labeled: pa.Table
    validation: pa.Table
    classes: tuple[Label, ...]


@dataclass(frozen=True)
class _Answered:
    """Labeled rows of which some were rows of the pool that people have answered.

    Parameters
    ----------
    labeled
        Labeled and validation rows, and all labels.
    ids
        Of the answered rows.
    notes
        What was not taken.
    """

    labeled: tuple[pa.Table, pa.Table, tuple[Label, ...]]
    ids: pa.Array
    notes: tuple[Note, ...]

    def among(self, labeled: pa.Table, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Return which labeled rows are answered ones."""
        return KeySet.of([self.ids]).contains([labeled.column(keys[0])])


@reading("unlabeled")
def _answered_rows(
    spark: SparkSession,
    pool: Table,
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    given: _Labeled,
    answers: Answers,
) -> _Answered:
    """Fetch answered rows from the pool and add them to the labeled ones, sorted by id again."""
    key = keys[0]
    with_labels = pa.concat_tables(
        [rows.select([key, CODE]) for rows in (given.labeled, given.validation)]
    )
    of_given = dict(
        zip(
            with_labels.column(key).to_pylist(),
            [
                given.classes[code] if code >= 0 else None
                for code in with_labels.column(CODE).to_pylist()
            ],
            strict=True,
        )
    )
    answers = answers.without(with_labels, key, of_given)
    _require_same_kind(answers.labels, given.classes)
    wanted = pa.table({key: answers.ids.cast(with_labels.schema.field(key).type)})
    found = _rows_with(spark, pool, config, keys, features, wanted)
    place = KeySet.of([wanted.column(key)]).find([found.column(key)])
    labels = [answers.labels[i] for i in place.tolist()]
    classes = tuple(np.unique(np.asarray([*given.classes, *labels])).tolist())
    recoded = pa.array([classes.index(label) for label in given.classes], pa.int32())
    parts = [_recoded(rows, recoded) for rows in (given.labeled, given.validation)]
    coded = found.append_column(CODE, pa.array(class_codes(labels, classes)))
    hashes = xxhash64([*[coded.column(k) for k in keys], config.random_state])
    coded = coded.append_column(HASH, pa.array(hashes))
    both = pa.concat_tables(
        [parts[0], coded.select(parts[0].column_names)], promote_options="permissive"
    )
    order = pa.compute.sort_indices(both, sort_keys=[(k, "ascending") for k in keys])
    notes = answers.notes + _not_in_pool(len(answers) - found.num_rows)
    return _Answered(
        (both.take(order), parts[1], classes), found.column(key).combine_chunks(), notes
    )


def _require_same_kind(labels: Sequence[Label], classes: Sequence[Label]) -> None:
    kinds = {type(label).__name__ for label in labels} - {type(classes[0]).__name__}
    if kinds:
        raise InputError(
            f"labeled.reviews must have labels of the same type as labeled: {classes[0]!r} is one "
            f"of these, and {labels[0]!r} was answered.",
            code="type_differs",
            where="labeled.reviews",
        )


def _recoded(rows: pa.Table, codes: pa.Array) -> pa.Table:
    """Number labels anew, where answers name labels that no labeled row has."""
    before = rows.column(CODE)
    known = pa.compute.if_else(pa.compute.less(before, 0), None, before)
    place = rows.column_names.index(CODE)
    return rows.set_column(place, CODE, codes.take(known).fill_null(-1))


def _rows_with(
    spark: SparkSession,
    pool: Table,
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    wanted: pa.Table,
) -> pa.Table:
    """Collect the rows of the pool with some ids: keys, features and the group."""
    rows = pool.rows
    for reason in reasons_of(rows):
        rows = rows.filter(reason.isNull())
    ids = F.broadcast(_frame(spark, wanted, pool.schema))
    chosen = Table.of_rows(pool.name, rows.join(ids, on=list(keys), how="left_semi"))
    group = config.group
    renamed = {GROUP: group} if group is not None and group in pool.schema.names else {}
    found = collect(chosen, keys, features, renamed)
    if group is not None and not renamed:
        found = found.append_column(GROUP, pa.nulls(found.num_rows, pa.string()))
    return found


def _not_in_pool(n: int) -> tuple[Note, ...]:
    if n <= 0:
        return ()
    return (
        Note(
            "answers_not_in_pool",
            f"{counted(n, 'answered row')} {agreeing(n, 'is', 'are')} not in unlabeled: the "
            "features are not known here, and nothing is learned from the answers.",
        ),
    )


def _pool(
    spark: SparkSession,
    table: Table,
    keys: Sequence[str],
    features: Sequence[Feature],
    known: pa.Table,
    config: Config,
    seen: _Seen | None,
    asked: pa.Array | None,
    of_group: Sequence[str] = (),
) -> Table:
    """Return keys and features of the unlabeled rows, without the labeled ones if so asked for.

    With ``spl_group`` where the column that says which rows belong together is named.
    """
    groups = [column(name).alias(GROUP) for name in of_group]

    def change(rows: DataFrame) -> DataFrame:
        pool = rows.select(
            *columns(keys), *select_features(rows, features), *groups, *reasons_of(rows)
        )
        if seen is not None:
            pool = seen.left(spark, pool, keys[0])
        left_out = _left_out(config, known, asked)
        if left_out is None:
            return pool
        ids = pa.table({keys[0]: left_out})
        taken = F.broadcast(_frame(spark, ids, table.schema))
        return pool.join(taken, on=list(keys), how="left_anti")

    return table.changed(selected_schema(table.schema, keys, features), change)


def _require_columns(tables: Mapping[str, Table], config: Config, keys: Sequence[str]) -> None:
    """Refuse tables without their ids and labels, and names that are taken."""
    label, group = config.label, _group_columns(config)
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


def _check_columns(tables: Mapping[str, Table], config: Config, keys: Sequence[str]) -> None:
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


def _with_pool_key_type(table: Table, tables: Mapping[str, Table], keys: Sequence[str]) -> Table:
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


def _group_columns(config: Config) -> list[str]:
    return [config.group] if config.group else []


def _features(
    tables: Mapping[str, Table], config: Config, keys: Sequence[str], empty: Sequence[str]
) -> tuple[Feature, ...]:
    labeled, pool = tables["labeled"].schema, tables["unlabeled"].schema
    left_out = [*keys, config.label, *_group_columns(config)]
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


def _notes(
    tables: Mapping[str, Table],
    config: Config,
    keys: Sequence[str],
    empty: Sequence[str],
    classes: Sequence[Label],
) -> tuple[Note, ...]:
    """Return what is reported of columns and labels that are not as a user may think."""
    left_out = [*keys, config.label, *_group_columns(config)]
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


def _labeled_rows(
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
            raise _bad_key(name, key, f"{rows.column(key).null_count} rows have null")
    counted = rows.group_by(list(keys)).aggregate([([], "count_all")])
    twice = counted.filter(pa.compute.greater(counted["count_all"], 1))
    if twice.num_rows:
        examples = twice.select(list(keys)).slice(0, _SHOWN).to_pylist()
        shown = [tuple(row.values()) if len(keys) > 1 else row[keys[0]] for row in examples]
        raise _bad_key(name, keys[0], f"{_repeated(twice.num_rows)}, such as {shown}")


def _bad_key(name: str, key: str, problem: str) -> InputError:
    return InputError(
        f"{name}: ids in {key!r} must be unique and not null. {problem[0].upper()}{problem[1:]}. "
        "Set `id` to a column that identifies a row, or correct these rows.",
        code="bad_id",
        where=key,
    )


def _repeated(n: int) -> str:
    return f"{n:,} id occurs more than once" if n == 1 else f"{n:,} ids occur more than once"


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
    group = config.group if config.group in table.schema.names else None
    columns = {LABEL_COLUMN: config.label, **({GROUP: group} if group else {})}
    rows = collect(table, keys, features, columns, [LABEL_COLUMN] if config.of_numbers else [])
    _check_driver_keys(rows, keys, "validation")
    if config.of_numbers:
        _require_no_nulls(rows, config.label, "validation")
        return with_values(rows, LABEL_COLUMN, config.label, "validation", keys)
    codes = class_codes(rows.column(LABEL_COLUMN).to_pylist(), classes)
    return rows.drop_columns([LABEL_COLUMN]).append_column(CODE, pa.array(codes))


def _groups_apart(
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


def _known_keys(
    tables: Mapping[str, Table], labeled: pa.Table, validation: pa.Table, keys: Sequence[str]
) -> pa.Table:
    """Return the ids of labeled and validation rows; refuse a row that is in both."""
    of_labeled, of_validation = labeled.select(list(keys)), validation.select(list(keys))
    if "validation" in tables:
        both = of_labeled.join(of_validation, keys=list(keys), join_type="inner")
        _refuse_overlap(both, "validation", "labeled", keys, "no model may be trained on them")
    return pa.concat_tables([of_labeled, of_validation])


def _frame(spark: SparkSession, rows: pa.Table, like: T.StructType) -> DataFrame:
    """Return rows as a DataFrame whose columns have the types they have in another table."""
    schema = T.StructType([like[name] for name in rows.column_names])
    return spark.createDataFrame(rows.to_pandas(), schema=schema)


@dataclass(frozen=True)
class _Ids:
    """How many rows the pool has, and a hash over their ids; None where there is no id column."""

    rows: int
    xor64: int | None = None

    def of(self, table: FrozenTable, snapshot: FrozenSnapshot | None) -> FrozenPool:
        """Freeze the pool."""
        pool = FrozenPool(schema=table.columns, rows=self.rows)
        changes: dict[str, object] = {}
        if snapshot is not None:
            changes["snapshot"] = snapshot
        if table.files is not None:
            changes["files"] = table.files
        if self.xor64 is not None:
            changes["ids_xor64"] = self.xor64
        return pool.model_copy(update=changes)


@dataclass(frozen=True)
class _Survey:
    """What the direct scan found out about the pool: nothing, where it can't be used.

    Tried, where workers could not read what seemed to be theirs to read.
    """

    scan: Scan | None = None
    no_scan: str = ""
    ids: _Ids | None = None
    tried: bool = False


def _survey(
    spark: SparkSession,
    table: Table,
    config: Config,
    keys: tuple[str, ...],
    features: Sequence[Feature],
    known: pa.Table,
    probe: str | None,
    before: _Before | None,
    seen: _Seen | None,
    asked: pa.Array | None,
) -> _Survey:
    """Try whether workers can read the pool by themselves, and look at its keys on the way."""
    one_table = config.unlabeled.from_ == "labeled"
    reason = _needs_spark(table, config, keys, features)
    if reason:
        return _Survey(no_scan=reason)
    assert table.plain is not None
    source = table.plain.source(
        keys,
        [feature.name for feature in features],
        only_null=config.label if one_table else None,
        excluded=_left_out(config, known, asked),
        seen=None if seen is None else seen.hashes,
    )
    scan = Scan(source, table.plain.parts)
    try:
        if before is not None and before.same_files:
            require_reach(spark, scan, probe)
            return _Survey(scan, ids=before.ids)
        pool_keys = survey_keys(spark, scan, known.column(0), probe)
    except (OSError, PySparkException, Py4JError, InputError) as error:
        if isinstance(error, InputError) and error.code in _SURE:
            raise
        return _Survey(no_scan=f"the workers can't read it ({_first_line(error)})", tried=True)
    if config.id is None:
        return _Survey(scan, ids=_Ids(pool_keys.rows))
    if pool_keys.nulls or pool_keys.known or not pool_keys.unique:
        return _Survey(scan)  # Spark finds out which id it is
    return _Survey(scan, ids=_Ids(pool_keys.rows, pool_keys.xor64))


def _needs_spark(
    table: Table, config: Config, keys: Sequence[str], features: Sequence[Feature]
) -> str:
    """Say why Spark has to read the pool; nothing where it need not."""
    if config.rules is not None:
        return "rules are SQL"
    if config.unlabeled.scan == "spark":
        return "unlabeled.scan is spark"
    if table.files is None:
        return "it is no directory of files"
    if table.plain is None:
        return "it is not a plain directory of Parquet files"
    if config.unlabeled.drop_labeled and config.id is None:
        return "unlabeled.drop_labeled needs an id"
    ids = keys if config.id is not None else ()
    if not table.plain.readable([*ids, *(feature.name for feature in features)]):
        return "it has columns of types that are left to Spark"
    return ""


@dataclass(frozen=True)
class _Pool:
    """A pool that Spark reads, and what is known of it.

    Parameters
    ----------
    wide
        Keys, features and ``spl_group``, which are frozen.
    narrow
        Keys and features.
    config, keys, known, before
        Of the run.
    plain
        The same rows as workers read them from CSV, where they do.
    """

    wide: Table
    narrow: Table
    config: Config
    keys: tuple[str, ...]
    known: pa.Table
    before: _Before | None
    plain: Typed | None


@dataclass(frozen=True)
class _Copied:
    """A pool that was frozen, in the place of the one that Spark reads.

    Parameters
    ----------
    snapshot
        The files.
    pool
        Keys and features.
    survey
        How workers read them.
    keys
        Key columns.
    """

    snapshot: PoolSnapshot
    pool: Table
    survey: _Survey
    keys: tuple[str, ...]

    @property
    def frozen(self) -> FrozenSnapshot:
        return self.snapshot.stored.frozen

    @property
    def again(self) -> bool:
        return self.snapshot.stored.again

    def groups(self, groups: Groups | None) -> Groups | None:
        """Return the groups of rows, those of the pool as they were frozen."""
        if groups is None or groups.pool is None:
            return groups
        schema, table = groups.pool.schema, self.snapshot.table
        of_keys = T.StructType([*(schema[key] for key in self.keys), table.schema[GROUP]])
        names = of_keys.names
        return replace(
            groups, pool=table.changed(of_keys, lambda rows: rows.select(*columns(names)))
        )


def _copied(spark: SparkSession, freezer: Freezer, pool: _Pool, probe: str | None) -> _Copied:
    """Open the snapshot of a run, or freeze its pool, whose ids are looked at before it is real."""
    found = freezer.found(spark)
    if found is not None:
        return _looked_at(spark, found, pool, probe, pool.before)
    with freezer.freeze(spark, pool.wide, pool.plain) as frozen:
        return _looked_at(spark, frozen, pool, probe, None)


def _looked_at(
    spark: SparkSession,
    snapshot: PoolSnapshot,
    pool: _Pool,
    probe: str | None,
    before: _Before | None,
) -> _Copied:
    rows = snapshot.narrowed(pool.narrow)
    survey = _survey_copy(spark, snapshot, pool, probe, before)
    if survey.ids is None:
        ids = _check_keys(spark, rows, pool.known, pool.keys, pool.config, before)
        survey = replace(survey, ids=ids)
    return _Copied(snapshot, rows, survey, pool.keys)


def _survey_copy(
    spark: SparkSession,
    snapshot: PoolSnapshot,
    pool: _Pool,
    probe: str | None,
    before: _Before | None,
) -> _Survey:
    """Try whether workers read a snapshot, and look at its keys where they are not known."""
    if pool.config.unlabeled.scan == "spark":
        return _Survey(no_scan="unlabeled.scan is spark")
    reasons = [UNREADABLE] if UNREADABLE in snapshot.table.schema.names else []
    features = [name for name in pool.narrow.schema.names if name not in pool.keys]
    source = snapshot.plain.source(pool.keys, [*features, *reasons])
    scan = Scan(replace(source, stored_places=True), snapshot.plain.parts)
    try:
        if before is not None or pool.config.id is None:
            require_reach(spark, scan, probe)
            return _Survey(scan, ids=_Ids(snapshot.rows) if before is None else before.ids)
        found = survey_keys(spark, scan, pool.known.column(0), probe)
    except (OSError, PySparkException, Py4JError) as error:
        return _Survey(no_scan=f"the workers can't read its snapshot ({_first_line(error)})")
    if found.nulls or found.known or not found.unique:
        return _Survey(scan)  # Spark finds out which id it is
    return _Survey(scan, ids=_Ids(found.rows, found.xor64))


def _first_line(error: BaseException) -> str:
    lines = text_of(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@reading("unlabeled")
def _check_keys(
    spark: SparkSession,
    pool: Table,
    known: pa.Table,
    keys: Sequence[str],
    config: Config,
    before: _Before | None,
) -> _Ids:
    """Check in one narrow pass that ids are unique, not null and not those of labeled rows."""
    if before is not None and before.same_files:
        return before.ids
    if config.id is None:
        row = pool.rows.select(*columns(keys)).agg(F.count(F.lit(1)).alias("rows")).collect()[0]
        return _Ids(int(row["rows"]))
    if before is not None:
        counted = _Ids(*frame_keys.count_keys(pool.rows, keys[0]))
        if before.ids == counted:
            return counted  # the same ids as were looked at when the run began
    keys_found = frame_keys.survey_keys(pool.rows, keys[0], known.column(0).combine_chunks())
    if keys_found.nulls or keys_found.known or not keys_found.unique:
        _refuse_keys(_key_facts(pool.rows, _frame(spark, known, pool.schema), keys[0]), keys[0])
    return _Ids(keys_found.rows, keys_found.xor64)


@dataclass(frozen=True)
class _Before:
    """What the pool's ids were when the run began, and whether its files are still the same."""

    ids: _Ids
    same_files: bool


def _known_before(
    labeled: FrozenRows, validation: FrozenRows, pool: FrozenTable, proved: FrozenInputs | None
) -> _Before | None:
    """Return what an earlier start found out about the ids; None if other rows are labeled now."""
    if proved is None or (proved.labeled, proved.validation) != (labeled, validation):
        return None
    before = proved.unlabeled
    same_files = before.files is not None and before.files == _stored(pool).files
    same_files = same_files and before.columns == _stored(pool).columns
    return _Before(_Ids(before.rows, before.ids_xor64), same_files)


def _refuse_keys(facts: _KeyFacts, key: str) -> None:
    if facts.nulls:
        raise _bad_key("unlabeled", key, f"{facts.nulls} rows have null")
    if facts.twice:
        examples = facts.first_twice
        raise _bad_key("unlabeled", key, f"{_repeated(facts.twice)}, such as {examples}")
    if facts.known:
        raise InputError(
            f"unlabeled holds {facts.known} rows whose ids are also labeled or validation "
            f"rows, such as {facts.first_known}. Take them out, or set "
            "unlabeled.drop_labeled: true.",
            code="labeled_in_pool",
            where=key,
        )


@dataclass(frozen=True)
class _KeyFacts:
    """Ids of the pool that are null, occur twice, or are those of labeled rows; an example each."""

    nulls: int
    twice: int
    first_twice: str
    known: int
    first_known: str


def _key_facts(pool: DataFrame, known: DataFrame, key: str) -> _KeyFacts:
    # Renamed first: no name of a user's column may be one of those below.
    ids = pool.select(column(key).alias(_ID))
    marked = known.select(column(key).alias(_ID), F.lit(1).alias("known"))
    per_id = ids.groupBy(_ID).agg(F.count(F.lit(1)).alias("n"))
    twice = F.col("n") > 1
    row = (
        per_id.join(F.broadcast(marked), on=_ID, how="left")
        .agg(
            F.sum(F.when(F.col(_ID).isNull(), F.col("n"))).alias("nulls"),
            F.count(F.when(twice & F.col(_ID).isNotNull(), 1)).alias("twice"),
            F.min(F.when(twice, F.col(_ID))).alias("first_twice"),
            F.count("known").alias("known"),
            F.min(F.when(F.col("known") == 1, F.col(_ID))).alias("first_known"),
        )
        .collect()[0]
    )
    return _KeyFacts(
        nulls=int(row["nulls"] or 0),
        twice=int(row["twice"]),
        first_twice=repr(row["first_twice"]),
        known=int(row["known"]),
        first_known=repr(row["first_known"]),
    )


def _test_rows(
    spark: SparkSession,
    tables: Mapping[str, Table],
    config: Config,
    keys: Sequence[str],
    features: Sequence[Feature],
    known: pa.Table,
    scan: Scan | None,
) -> HeldOutRows | None:
    if "test" not in tables:
        return None
    plain = tables["test"].plain
    # Workers have been tried on the pool's file system.
    direct = scan is not None and plain is not None and same_system(scan.source.root, plain.root)
    rows = open_test(spark, tables["test"], config.label, keys, features, direct=direct)
    if config.id is not None:
        shared = rows.overlap(known)
        _refuse_overlap(shared, "test", "labeled", keys, "a test must be of unseen rows")
    return rows


def _refuse_overlap(
    shared: pa.Table, name: str, other: str, keys: Sequence[str], reason: str
) -> None:
    if shared.num_rows:
        examples = shared.column(keys[0]).slice(0, _SHOWN).to_pylist()
        raise InputError(
            f"{name} holds {shared.num_rows} rows whose ids are also {other} rows, such as "
            f"{examples}; {reason}. Take them out of one of the two.",
            code="overlap",
            where=name,
        )


def _frozen_table(table: Table) -> FrozenTable:
    schema = table.schema.simpleString()
    if table.files is None:
        return FrozenTable(schema=schema)
    return FrozenTable(schema=schema, files=tuple(map(SeenFile.of, table.files)))


def _stored(table: FrozenTable) -> FrozenTable:
    """Return a table as it is stored, without secrets in names."""
    return FrozenTable.model_validate(redacted(table.model_dump(mode="json", by_alias=True)))


def _seen(tables: Mapping[str, Table], config: Config) -> dict[str, tuple[SeenFile, ...]]:
    """List the files of all tables, so that a later start can tell at once that none changed."""
    return {
        name: tuple(map(SeenFile.of, table.files or ()))
        for name, table in tables.items()
        if not (name == "unlabeled" and config.unlabeled.from_ == "labeled")
        and not (name == "labeled" and config.labeled is None)
    }


def _fingerprint(
    rows: pa.Table,
    features: Sequence[Feature],
    keys: Sequence[str],
    groups: Groups | None = None,
) -> FrozenRows:
    """Hash a collected table: the same for the same rows, however they were stored."""
    digest = hashlib.sha256()
    of_labels = [VALUE] if VALUE in rows.column_names else []
    for key in [*keys, CODE, *of_labels]:
        digest.update(repr(rows.column(key).to_pylist()).encode())
    frame = to_frame(rows, features)
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    if groups is None:
        return FrozenRows(rows=rows.num_rows, sha256=digest.hexdigest())
    of_groups = hashlib.sha256(repr(groups.labeled.to_pylist()).encode()).hexdigest()
    return FrozenRows(rows=rows.num_rows, sha256=digest.hexdigest(), groups=of_groups)
