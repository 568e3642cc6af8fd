"""What a finished run leaves for everybody: tables, model and reports, built from manifests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
from spark_pseudolabel.report.html import render_html
from spark_pseudolabel.spark.evaluation import label_of
from spark_pseudolabel.spark.training_frame import within
from spark_pseudolabel.store.layout import REPORT_HTML, REPORT_JSON

if TYPE_CHECKING:
    from spark_pseudolabel.steps import Steps
    from spark_pseudolabel.store.manifest import RoundManifest
    from spark_pseudolabel.store.store import RoundStore

_ROWS_PER_FILE = 2_000_000


def used_rounds(steps: Steps, end: Finish) -> tuple[RoundManifest, ...]:
    """Return the rounds whose labels are published: all up to the best, or, where every round
    decides the pool anew, the best alone.
    """
    used = steps.store.rounds[: end.best_round]
    return used[-1:] if steps.relabel else used


def build_views(steps: Steps, end: Finish) -> None:
    """Build the tables and the model copy that are missing or out of date."""
    views = {"labels": labels, "training": training, "invalid": invalid}
    for name, build in views.items():
        if not steps.store.view_is_current(name):
            with steps.events.stage(end.n_iter, f"write {name}"):
                _put(steps, name, build(steps, end))
    if not steps.store.view_is_current("model"):
        steps.store.put_model_view()


def write_reports(store: RoundStore, report: dict[str, Any]) -> None:
    """Write ``report.json`` and ``report.html``."""
    store.write_report(REPORT_JSON, (json.dumps(report, indent=2) + "\n").encode())
    store.write_report(REPORT_HTML, render_html(report).encode())


def labels(steps: Steps, end: Finish) -> DataFrame:
    """Return every accepted row once, as it is published."""
    inputs = steps.inputs
    accepted = steps.accepted(used_rounds(steps, end))
    extra = []
    if steps.config.output.probabilities:
        extra.append(F.col(CLASS_SCORES).alias(PROBABILITIES))
    rows = accepted.select(
        *inputs.keys,
        label_of(inputs.classes, inputs.label_type).alias(LABEL),
        F.col(SCORE).alias(CONFIDENCE),
        F.col(IN_ROUND).cast("int").alias(ROUND),
        F.format_string("model-%04d", F.col(IN_ROUND)).alias(MODEL),
        _weight(steps, end).alias(WEIGHT),
        *extra,
    )
    return _published(steps, rows)


def training(steps: Steps, end: Finish) -> DataFrame:
    """Return labeled and accepted rows with the weight that the final model gave them."""
    inputs = steps.inputs
    label = label_of(inputs.classes, inputs.label_type).alias(LABEL)
    features = [feature.name for feature in inputs.features if steps.config.output.features]
    given = steps.spark.createDataFrame(inputs.labeled.select([*inputs.keys, CODE, *features]))
    labeled = given.select(
        *inputs.keys,
        label,
        F.lit(1.0).alias(WEIGHT),
        F.lit(LABELED).alias(SOURCE),
        F.lit(0).alias(ROUND),
        *features,
    )
    pseudo = steps.accepted(used_rounds(steps, end)).select(
        *inputs.keys,
        label,
        _weight(steps, end).alias(WEIGHT),
        F.lit(PSEUDO).alias(SOURCE),
        F.col(IN_ROUND).cast("int").alias(ROUND),
    )
    together = labeled.unionByName(_with_features(steps, pseudo))
    return _with_key_types(steps, together)


def invalid(steps: Steps, end: Finish) -> DataFrame:
    """Return the rows that could not be scored, and why."""
    keys = steps.inputs.keys
    rows = steps.invalid(used_rounds(steps, end))
    named = rows.select(
        *keys, F.col(INVALID).alias(REASON), F.col(IN_ROUND).cast("int").alias(ROUND)
    )
    return _with_key_types(steps, named)


def _weight(steps: Steps, end: Finish) -> Column:
    final = steps.store.models[end.best_round]
    pseudo_weight = steps.weighting.pseudo_weight
    weight = F.col(SCORE) if pseudo_weight == "confidence" else F.lit(float(pseudo_weight))
    return F.when(within(final.training["hash_limits"]), weight).otherwise(F.lit(0.0))


def _published(steps: Steps, rows: DataFrame) -> DataFrame:
    return _with_key_types(steps, _with_features(steps, rows))


def _with_features(steps: Steps, rows: DataFrame) -> DataFrame:
    if not steps.config.output.features:
        return rows
    return rows.join(steps.inputs.pool, on=list(steps.inputs.keys), how="inner")


def _with_key_types(steps: Steps, rows: DataFrame) -> DataFrame:
    """Give ids back in the pool's own type; inside a run integers are all bigint."""
    return rows.withColumns(
        {key: F.col(key).cast(kind) for key, kind in steps.inputs.key_types.items()}
    )


def _put(steps: Steps, name: str, rows: DataFrame) -> None:
    built = steps.store.new_view_dir()
    files = max(1, -(-steps.inputs.pool_rows // _ROWS_PER_FILE))
    rows.coalesce(files).write.mode("errorifexists").parquet(built)
    steps.store.put_view(name, built)
