"""A finished run's model and plan, applied to new rows."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from spark_pseudolabel.columns import (
    CONFIDENCE,
    FILE,
    HIGHEST,
    INVALID,
    LABEL,
    LOWER,
    LOWEST,
    MODEL,
    RAW_CONFIDENCE,
    RAW_SCORE,
    ROW_INDEX,
    SCORE,
    UPPER,
    VALUE,
)
from spark_pseudolabel.config import UnlabeledTable
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import Scorer
from spark_pseudolabel.core.selection.exact import plan_of_parameters
from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.core.selection.policies import read_policy
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.job.finished import FinishedOutput, open_finished
from spark_pseudolabel.job.loop import announce
from spark_pseudolabel.output.deciding import certified_by_asking
from spark_pseudolabel.output.preflight import output_exists
from spark_pseudolabel.output.scoring import asking_as_run
from spark_pseudolabel.progress import Events, SilentEvents
from spark_pseudolabel.report.document import LabelDocument
from spark_pseudolabel.spark.evaluation import label_of
from spark_pseudolabel.spark.frame.scoring import batches_within, broadcast, cells_of, score_rows
from spark_pseudolabel.spark.frame.selection import accepted_by
from spark_pseudolabel.spark.hadoop_files import files_for
from spark_pseudolabel.spark.reading.collecting import require_spark_reads
from spark_pseudolabel.spark.reading.names import columns
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.rules import RuleSet
from spark_pseudolabel.spark.reading.schema import require_kinds, select_features
from spark_pseudolabel.spark.reading.tables import (
    open_table,
    reasons_of,
    refuse_unsafe_commits,
    require_columns,
)
from spark_pseudolabel.spark.reading.text_columns import as_features, with_key_types
from spark_pseudolabel.store.layout import model_name

ACCEPTED = "accepted"


def label(
    spark: SparkSession,
    out: str,
    *,
    input: str,
    output: str,
    format: str | None = None,
    events: Events | None = None,
    trusted: Sequence[str] = (),
) -> LabelDocument:
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
        Of the input; as the names of its files end, else Parquet.
    events
        Who listens.
    trusted
        Further types that the stored model may hold.

    Returns
    -------
    LabelDocument
        What was done. The written columns: id, of the type it has in
        ``OUT/labels``, ``label`` (null where the row could not be scored, or the model abstained
        from it), ``confidence``, ``lower`` and ``upper`` (only where labels are
        numbers), ``raw_confidence`` (only where the confidence is
        another one than the model gives), ``accepted`` (by the rule's cut; null for rules with
        quotas, where a certificate is about another model's scores, where members had to agree
        and the final model has none, and where the run withheld rows far from the labeled ones,
        which it has not kept) and ``model``. Rows that are not stable, where the run asked for
        that, are not accepted.
    """
    events = events or SilentEvents()
    announce(spark, events)
    finished = open_finished(spark, out)
    _require_new(spark, output)
    refuse_unsafe_commits(spark)
    id_column = finished.store.settings.id
    keys = (id_column,) if id_column else (FILE, ROW_INDEX)
    scorer, plan = _deciding(finished, keys, trusted)
    rows = _open(spark, input, format, keys, finished, scorer.features)
    with (
        events.stage(finished.final.number, "label"),
        reading("input"),
        batches_within(spark, cells_of(scorer.features)),
        broadcast(spark.sparkContext, scorer) as shared,
    ):
        labeled = _labeled(score_rows(rows, shared), finished, plan, keys)
        seen = Observation()
        labeled.observe(seen, *_counted()).drop(INVALID).write.mode("errorifexists").parquet(output)
    events.event("views", path=output)
    counts = {name: int(n) for name, n in seen.get.items()}
    model = model_name(finished.model.number)
    return LabelDocument(input=input, output=output, model=model, **counts)


def _require_new(spark: SparkSession, output: str) -> None:
    files, root = files_for(spark, output)
    if files.exists(root):
        raise output_exists(output)


def _open(
    spark: SparkSession,
    path: str,
    format: str | None,
    keys: Sequence[str],
    finished: FinishedOutput,
    features: Sequence[Feature],
) -> DataFrame:
    settings = UnlabeledTable.model_validate({"path": path, "format": format})
    table = open_table(spark, settings, "input", positions=keys == (FILE, ROW_INDEX))
    read = finished.rule_columns if finished.by_rules else features
    require_columns(table.schema, [*keys, *(feature.name for feature in read)], "input")
    table = as_features(with_key_types(table, keys, finished.model.key_types), read)
    require_kinds(table.schema, read, "input")
    require_spark_reads(table, [feature.name for feature in read])
    if finished.by_rules:
        table = RuleSet(spark, finished.store.settings.rules, {}).on(table)
    rows = table.rows
    return rows.select(*columns(keys), *select_features(rows, features), *reasons_of(rows))


def _deciding(
    finished: FinishedOutput, keys: Sequence[str], trusted: Sequence[str]
) -> tuple[Scorer, Plan | None]:
    """Return what scores new rows, and what decides them; no plan where nothing does."""
    scorer, plan = finished.scorer(keys, trusted), _last_plan(finished)
    if plan is None:
        return scorer, None
    asking = asking_as_run(finished.store, finished.model.number, scorer)
    return (scorer, None) if asking is None else (asking, plan)


def _labeled(
    scored: DataFrame, finished: FinishedOutput, plan: Plan | None, keys: Sequence[str]
) -> DataFrame:
    model = finished.model
    raw = [F.col(RAW_SCORE).alias(RAW_CONFIDENCE)] if RAW_SCORE in scored.columns else []
    label = label_of(model.classes, model.label_type)
    bounds: list[Column] = []
    if model.numbers is not None:
        label = F.col(VALUE).cast(model.label_type)
        bounds = [F.col(LOWEST).alias(LOWER), F.col(HIGHEST).alias(UPPER)]
    return scored.select(
        *columns(keys),
        label.alias(LABEL),
        F.col(SCORE).alias(CONFIDENCE),
        *bounds,
        *raw,
        _accepted(plan, keys).alias(ACCEPTED),
        F.col(INVALID),
        F.lit(model_name(model.number)).alias(MODEL),
    )


def _last_plan(finished: FinishedOutput) -> Plan | None:
    """Return the plan that new rows are decided by; None where a cut means nothing for them."""
    store, n_classes = finished.store, len(finished.model.classes)
    if store.settings.withholds:
        return None
    asked = certified_by_asking(store)
    if asked is not None and _is_final(finished, asked[0]):
        return asked[1]
    policy = read_policy(store.settings.selection)
    if policy.new_rows == "never":
        return None
    if policy.new_rows == "by_parameters":
        return plan_of_parameters(policy, n_classes)
    used = store.rounds[: finished.final.best_round]
    if not used:
        return None
    if isinstance(policy, Certified) and not _is_final(finished, used[-1].number):
        return None
    return used[-1].plan


def _is_final(finished: FinishedOutput, number: int) -> bool:
    """Whether a model is the final one: a certificate is about the scores of no other one."""
    return finished.store.models[number - 1].artifact.sha256 == finished.model.artifact.sha256


def _accepted(plan: Plan | None, keys: Sequence[str]) -> Column:
    return accepted_by(plan, keys) if plan is not None else F.lit(None).cast("boolean")


def _counted() -> list[Column]:
    """Return what is counted of the rows while they are written."""
    no_label, invalid = F.col(LABEL).isNull(), F.col(INVALID).isNotNull()
    conditions = {
        "accepted": F.col(ACCEPTED),
        "invalid": no_label & invalid,
        "abstained": no_label & ~invalid,
    }
    counts = [F.count(F.when(condition, 1)).alias(name) for name, condition in conditions.items()]
    return [F.count(F.lit(1)).alias("rows"), *counts]
