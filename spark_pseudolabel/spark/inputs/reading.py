"""Everything a run reads, opened, checked and split before any model is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import SparkSession

from spark_pseudolabel.columns import FILE, HASH, ROW_INDEX, VALUE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.spark.answered import read_answers
from spark_pseudolabel.spark.direct.survey import Scan
from spark_pseudolabel.spark.evaluation import HeldOutRows, open_test
from spark_pseudolabel.spark.inputs.answered import LabeledRows, add_answers
from spark_pseudolabel.spark.inputs.checks import (
    check_types,
    choose_features,
    group_columns,
    notes_on_columns,
    require_all_columns,
    with_pool_key_type,
)
from spark_pseudolabel.spark.inputs.facts import Frames, Inputs, NewRows
from spark_pseudolabel.spark.inputs.fingerprints import fingerprint, frozen_table, seen_files
from spark_pseudolabel.spark.inputs.ids import check_keys, known_before, refuse_overlap
from spark_pseudolabel.spark.inputs.labeled import (
    collect_validation,
    groups_apart,
    known_keys,
    labeled_rows,
    require_two_classes,
    split_labeled,
)
from spark_pseudolabel.spark.inputs.opening import open_tables, split_off_pool, with_labeled
from spark_pseudolabel.spark.inputs.pool import ids_left_out, pool_of, seen_before
from spark_pseudolabel.spark.inputs.survey import SparkPool, copy_pool, survey_pool
from spark_pseudolabel.spark.number_labels import published_type, task_of
from spark_pseudolabel.spark.reading.collecting import require_spark_reads
from spark_pseudolabel.spark.reading.rules import Functions, RuleSet
from spark_pseudolabel.spark.reading.schema import (
    completed,
    type_name,
    type_of_both,
    with_typed_nulls,
)
from spark_pseudolabel.spark.reading.settle_types import notes_on_strings, settle_types
from spark_pseudolabel.spark.reading.tables import Table
from spark_pseudolabel.spark.snapshot import Freezer, Typed, choose
from spark_pseudolabel.spark.startup.warm_up import warm_up
from spark_pseudolabel.store.files import same_system
from spark_pseudolabel.store.inputs import FrozenInputs


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
    opened = open_tables(spark, config, frames or {}, new_rows.files, pinned)
    keys = (config.id,) if config.id is not None else (FILE, ROW_INDEX)
    require_all_columns(opened, config, keys)
    rules = None if config.rules is None else RuleSet(spark, config.rules.rules, functions or {})
    looked_at = [] if rules is None else rules.columns()
    settled = settle_types(opened, config, keys, looked_at)
    tables = with_labeled(split_off_pool(settled.tables, config), config)
    plain = tables["unlabeled"].plain
    if plain is not None and modules:
        warm_up(spark.sparkContext, len(plain.parts), modules)
    check_types(tables, config, keys)
    key_types = {key: type_name(tables["unlabeled"].schema, key) for key in keys}
    as_read = {name: table.schema for name, table in tables.items()}
    tables = {name: with_pool_key_type(table, tables, keys) for name, table in tables.items()}
    no_features = [config.label, *group_columns(config), *config.features.exclude]
    tables = with_typed_nulls(tables, [*keys, *no_features, *settled.empty])
    features = choose_features(tables, config, keys, settled.empty)
    frozen_pool = frozen_table(tables["unlabeled"])
    frozen_test = {"test": frozen_table(tables["test"])} if "test" in tables else {}
    voted = _Voted.on(tables, rules)
    tables, votes = voted.tables, voted.votes
    labeled, classes, shown = labeled_rows(tables, config, keys, [*features, *votes])
    answers = read_answers(spark, config.reviews, keys[0]) if config.reviews else None
    of_strings = notes_on_strings(tables["labeled"], shown, features, config.features)
    numbers = None
    if config.of_numbers:
        numbers = task_of(config, labeled[VALUE].to_numpy(), tables["labeled"].schema)
    features = completed(features, shown, config.features)
    read = (*features, *votes)
    labeled, validation = split_labeled(labeled, config)
    if "validation" in tables:
        validation = collect_validation(tables["validation"], config, keys, read, classes)
    answered = None
    if answers is not None:
        parts = LabeledRows(labeled, validation, classes)
        answered = add_answers(spark, tables["unlabeled"], config, keys, read, parts, answers)
        labeled, validation, classes = answered.labeled
    (labeled, validation), groups = groups_apart(labeled, validation, tables, config, keys)
    if config.labeled is not None and numbers is None:
        require_two_classes(labeled, classes)
    known = known_keys(tables, labeled, validation, keys)
    selected = None if answered is None else answered.among(labeled, keys)
    asked = None if answered is None else answered.ids
    seen = seen_before(spark, tables["unlabeled"], config, keys, features, new_rows)
    pool = pool_of(spark, tables["unlabeled"], keys, read, known, config, seen, asked)
    frozen_labeled = fingerprint(labeled, features, keys, groups)
    frozen_validation = fingerprint(validation, features, keys)
    before = known_before(frozen_labeled, frozen_validation, frozen_pool, proved)
    survey = survey_pool(
        spark, tables["unlabeled"], config, keys, features, known, probe, before, seen, asked
    )
    freezing, copy = None, None
    if survey.scan is None:
        require_spark_reads(tables["unlabeled"], [feature.name for feature in features])
        freezing = choose(config, tables["unlabeled"], reached=not survey.tried)
        nothing_new = seen is not None and not len(seen.new)
        if freezer is not None and freezer.wanted(freezing) and not nothing_new:
            grouped = groups is not None and groups.pool is not None
            of_group = group_columns(config) if grouped else []
            wide = pool_of(
                spark, tables["unlabeled"], keys, read, known, config, seen, asked, of_group
            )
            as_is = seen is None and ids_left_out(config, known, asked) is None and not of_group
            as_is = as_is and config.unlabeled.from_ != "labeled" and not votes
            typed = Typed.of(tables["unlabeled"], pool.schema, keys[0]) if as_is else None
            whole = SparkPool(wide, pool, config, keys, known, before, typed)
            copy = copy_pool(spark, freezer, whole, probe)
            pool, survey, groups = copy.pool, copy.survey, copy.groups(groups)
    ids = survey.ids or check_keys(spark, pool, known, keys, config, before)
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
            seen=seen_files(tables, config),
            pinned={
                name: table.pinned for name, table in opened.items() if table.pinned is not None
            },
        ),
        notes=(
            *settled.notes,
            *of_strings,
            *notes_on_columns(tables, config, keys, settled.empty, classes),
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
        refuse_overlap(shared, "test", "labeled", keys, "a test must be of unseen rows")
    return rows
