"""What a finished run leaves for everybody: tables and the model, built from manifests."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_pseudolabel.columns import (
    CLASS_SCORES,
    CODE,
    CONFIDENCE,
    IN_ROUND,
    INVALID,
    LABEL,
    LABELED,
    MODEL,
    PROBABILITIES,
    PSEUDO,
    REASON,
    ROUND,
    SCORE,
    SOURCE,
    WEIGHT,
)
from spark_pseudolabel.core.rounds import Finish
from spark_pseudolabel.job.context import Run
from spark_pseudolabel.spark.evaluation import label_of
from spark_pseudolabel.spark.training_frame import within
from spark_pseudolabel.store.store import RoundStore

_ROWS_PER_FILE = 2_000_000


def views_are_current(store: RoundStore) -> bool:
    """Whether all that people read is in place and belongs to the latest end."""
    return all(store.view_is_current(name) for name in ("labels", "training", "invalid", "model"))


def build_views(run: Run, end: Finish) -> None:
    """Build the tables and the model copy that are missing or out of date."""
    tables = {"labels": labels, "training": training, "invalid": invalid}
    for name, build in tables.items():
        if not run.store.view_is_current(name):
            with run.events.stage(end.n_iter, f"write {name}"):
                _put(run, name, build(run, end))
    if not run.store.view_is_current("model"):
        run.store.put_model_view()


def labels(run: Run, end: Finish) -> DataFrame:
    """Return every accepted row once, as it is published."""
    inputs = run.inputs
    accepted = run.accepted(run.published_rounds(end.best_round))
    extra = []
    if run.config.output.probabilities:
        extra.append(F.col(CLASS_SCORES).alias(PROBABILITIES))
    rows = accepted.select(
        *inputs.keys,
        label_of(inputs.classes, inputs.label_type).alias(LABEL),
        F.col(SCORE).alias(CONFIDENCE),
        F.col(IN_ROUND).cast("int").alias(ROUND),
        F.format_string("model-%04d", F.col(IN_ROUND)).alias(MODEL),
        _weight(run, end).alias(WEIGHT),
        *extra,
    )
    return _published(run, rows)


def training(run: Run, end: Finish) -> DataFrame:
    """Return labeled and accepted rows with the weight that the final model gave them."""
    inputs = run.inputs
    label = label_of(inputs.classes, inputs.label_type).alias(LABEL)
    features = [feature.name for feature in inputs.features if run.config.output.features]
    given = run.spark.createDataFrame(inputs.labeled.select([*inputs.keys, CODE, *features]))
    labeled = given.select(
        *inputs.keys,
        label,
        F.lit(1.0).alias(WEIGHT),
        F.lit(LABELED).alias(SOURCE),
        F.lit(0).alias(ROUND),
        *features,
    )
    pseudo = run.accepted(run.published_rounds(end.best_round)).select(
        *inputs.keys,
        label,
        _weight(run, end).alias(WEIGHT),
        F.lit(PSEUDO).alias(SOURCE),
        F.col(IN_ROUND).cast("int").alias(ROUND),
    )
    together = labeled.unionByName(_with_features(run, pseudo))
    return _with_key_types(run, together)


def invalid(run: Run, end: Finish) -> DataFrame:
    """Return the rows that could not be scored, and why."""
    keys = run.inputs.keys
    rows = run.invalid(run.published_rounds(end.best_round))
    named = rows.select(
        *keys, F.col(INVALID).alias(REASON), F.col(IN_ROUND).cast("int").alias(ROUND)
    )
    return _with_key_types(run, named)


def _weight(run: Run, end: Finish) -> Column:
    final = run.store.models[end.best_round]
    pseudo_weight = run.weighting.pseudo_weight
    weight = F.col(SCORE) if pseudo_weight == "confidence" else F.lit(float(pseudo_weight))
    return F.when(within(final.training["hash_limits"]), weight).otherwise(F.lit(0.0))


def _published(run: Run, rows: DataFrame) -> DataFrame:
    return _with_key_types(run, _with_features(run, rows))


def _with_features(run: Run, rows: DataFrame) -> DataFrame:
    if not run.config.output.features:
        return rows
    return rows.join(run.inputs.pool, on=list(run.inputs.keys), how="inner")


def _with_key_types(run: Run, rows: DataFrame) -> DataFrame:
    """Give ids back in the pool's own type; inside a run integers are all bigint."""
    return rows.withColumns(
        {key: F.col(key).cast(kind) for key, kind in run.inputs.key_types.items()}
    )


def _put(run: Run, name: str, rows: DataFrame) -> None:
    built = run.store.new_view_dir()
    files = max(1, -(-run.inputs.pool_rows // _ROWS_PER_FILE))
    rows.coalesce(files).write.mode("errorifexists").parquet(built)
    run.store.put_view(name, built)
