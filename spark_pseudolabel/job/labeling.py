"""A finished run's model and plan, applied to new rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_pseudolabel.columns import CONFIDENCE, FILE, LABEL, MODEL, ROW_INDEX, SCORE
from spark_pseudolabel.config import UnlabeledTable
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import DECIMALS, Scorer, make_scorer
from spark_pseudolabel.core.rules import Plan, plan_for_new_rows
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.report.document import LabelDocument, document
from spark_pseudolabel.spark.evaluation import label_of
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.schema import require_kinds, select_features
from spark_pseudolabel.spark.scoring import broadcast, score_rows
from spark_pseudolabel.spark.selection import accepted_by
from spark_pseudolabel.spark.tables import open_table, require_columns
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.manifest import FinalManifest
from spark_pseudolabel.store.store import RoundStore

ACCEPTED = "accepted"
_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".orc": "orc"}


def label(
    spark: SparkSession,
    out: str,
    *,
    input: str,
    output: str,
    format: str | None = None,
    events: Events | None = None,
    trusted: Sequence[str] = (),
) -> dict[str, Any]:
    """Label every row of a table with the final model of a finished run.

    Parameters
    ----------
    spark
        The session.
    out
        Output of the run.
    input
        Path of the rows, with the run's id and feature columns.
    output
        Where the labels go, Parquet; must not exist.
    format
        Of the input; by the path's ending, else Parquet.
    events
        Who listens.
    trusted
        Further types that the stored model may hold.

    Returns
    -------
    dict
        The document of ``label``. The written columns: id, ``label`` (null only where the row
        could not be scored), ``confidence``, ``accepted`` (by the rule's cut; null for rules
        whose cut depends on the other rows of a pool) and ``model``.
    """
    events = events or SilentEvents()
    store, final = _finished(spark, out)
    _require_new(spark, output)
    keys = (store.identity["id"],) if store.identity["id"] else (FILE, ROW_INDEX)
    features = [Feature(**feature) for feature in store.models[final.final_model - 1].features]
    rows = _open(spark, input, format, keys, features)
    scorer = _scorer(store, final, features, keys, trusted)
    with events.stage(final.number, "label"), broadcast(spark.sparkContext, scorer) as shared:
        labeled = _labeled(score_rows(rows, shared), store, final, keys)
        labeled.write.mode("errorifexists").parquet(output)
    return _document(spark, input, output, model_name(final.final_model))


def _finished(spark: SparkSession, out: str) -> tuple[RoundStore, FinalManifest]:
    files, root = files_for(spark, out)
    store = RoundStore.open(files, root)
    if store.final is None:
        raise InputError(
            f"{out} must hold a finished run. Run its configuration again to finish it.",
            code="not_finished",
            where=out,
        )
    return store, store.final


def _require_new(spark: SparkSession, output: str) -> None:
    files, root = files_for(spark, output)
    if files.exists(root):
        raise InputError(
            f"--output {output!r} must not exist yet: nothing is ever overwritten.",
            code="output_exists",
            where=output,
        )


def _open(
    spark: SparkSession,
    path: str,
    format: str | None,
    keys: Sequence[str],
    features: Sequence[Feature],
) -> DataFrame:
    found = format or _FORMATS.get(PurePosixPath(path).suffix, "parquet")
    settings = UnlabeledTable(path=path, format=found)
    rows = open_table(spark, settings, "input", positions=keys == (FILE, ROW_INDEX)).rows
    require_columns(rows, keys, "input")
    require_kinds(rows, features, "input")
    return rows.select(*keys, *select_features(rows, features))


def _scorer(
    store: RoundStore,
    final: FinalManifest,
    features: Sequence[Feature],
    keys: Sequence[str],
    trusted: Sequence[str],
) -> Scorer:
    like_sklearn = store.identity["mode"] == "sklearn"
    return make_scorer(
        store.load_model(final.final_model, trusted),
        features,
        keys,
        named=not like_sklearn,
        decimals=None if like_sklearn else DECIMALS,
    )


def _labeled(
    scored: DataFrame, store: RoundStore, final: FinalManifest, keys: Sequence[str]
) -> DataFrame:
    model = store.models[final.final_model - 1]
    plan = plan_for_new_rows(store.identity["selection"], len(model.classes))
    return scored.select(
        *keys,
        label_of(model.classes, model.label_type).alias(LABEL),
        F.col(SCORE).alias(CONFIDENCE),
        _accepted(plan, keys).alias(ACCEPTED),
        F.lit(model_name(final.final_model)).alias(MODEL),
    )


def _accepted(plan: Plan | None, keys: Sequence[str]) -> Column:
    return accepted_by(plan, keys) if plan is not None else F.lit(None).cast("boolean")


def _document(spark: SparkSession, input: str, output: str, model: str) -> dict[str, Any]:
    written = spark.read.parquet(output)
    row = written.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count(F.when(F.col(ACCEPTED), 1)).alias("accepted"),
        F.count(F.when(F.col(LABEL).isNull(), 1)).alias("invalid"),
    ).collect()[0]
    counts = {name: int(row[name]) for name in ("rows", "accepted", "invalid")}
    return document(LabelDocument, {"input": input, "output": output, "model": model, **counts})
