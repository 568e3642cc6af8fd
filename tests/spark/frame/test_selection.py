"""Counting and applying plans on Spark, held against the same questions asked in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField, StructType

from spark_pseudolabel.columns import CODE, FINGERPRINT, INVALID, SCORE
from spark_pseudolabel.core.scored_rows import DISAGREEMENT, UNSTABLE, Carried, Withheld
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.spark.frame.selection import (
    SparkCandidates,
    accepted_by,
    count_accepted,
    overlap_of,
)
from spark_pseudolabel.spark.frame.stored_rows import StoredRows
from spark_pseudolabel.spark.pool import Overlap
from tests.core.candidates import Rows, plan_for

RULES = [
    {"policy": "one_shot"},
    {"policy": "threshold", "threshold": 0.7},
    {"policy": "k_best", "k": 37},
    {"policy": "top_k_per_class", "k": 11},
    {"policy": "percentile", "step": 0.3},
    {"policy": "flexmatch", "threshold": 0.95},
    {"policy": "freematch"},
    {"policy": "crest", "alpha": 0.5, "labeled": [80, 20, 5]},
    {
        "policy": "quotas",
        "step": 0.3,
        "by": "labeled",
        "labeled": [80, 20, 5],
        "min_per_class": None,
        "max_per_class": None,
    },
]


@pytest.fixture(scope="module")
def rows() -> Rows:
    chance = np.random.default_rng(3)
    n = 300
    return Rows(
        codes=chance.integers(0, 3, n),
        confidences=np.round(chance.integers(300, 1001, n) / 1000, 1),
        keys=tuple((int(key),) for key in chance.permutation(n)),
        n_classes=3,
    )


@pytest.fixture(scope="module")
def scored(spark: SparkSession, rows: Rows) -> DataFrame:
    frame = pd.DataFrame(
        {"id": [key[0] for key in rows.keys], CODE: rows.codes, SCORE: rows.confidences}
    ).astype({CODE: "Int32"})
    frame[INVALID] = None
    invalid = pd.DataFrame(
        {"id": [900, 901], CODE: [None, None], SCORE: [None, None], INVALID: ["no score"] * 2}
    )
    withheld = frame[:3].assign(
        id=[902, 903, 904], **{SCORE: 1.0, INVALID: ["far away", UNSTABLE, DISAGREEMENT]}
    )
    together = [frame, invalid.astype({CODE: "Int32", SCORE: "float64"}), withheld]
    schema = f"id bigint, {CODE} int, {SCORE} double, {INVALID} string"
    cells = pd.concat(together).replace({float("nan"): None}).to_numpy().tolist()
    return (
        spark.createDataFrame(cells, schema)
        .withColumn(FINGERPRINT, F.xxhash64("id"))
        .repartition(7)
        .cache()
    )


@pytest.fixture(scope="module")
def candidates(spark: SparkSession, rows: Rows, scored: DataFrame) -> SparkCandidates:
    keys = StructType([StructField("id", LongType())])
    nothing = StoredRows(spark, "", keys, Carried())
    return SparkCandidates(scored, ("id",), rows.n_classes, 0, nothing)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["policy"]))
def test_spark_and_memory_make_the_same_plan_and_accept_the_same_rows(
    rows: Rows, scored: DataFrame, candidates: SparkCandidates, rule: dict[str, object]
) -> None:
    plan = plan_for(rule, candidates, 1)
    assert plan == plan_for(rule, rows, 1)
    accepted = scored.filter(accepted_by(plan, ("id",)))
    expected = {
        key[0]
        for code, confidence, key in zip(rows.codes, rows.confidences, rows.keys, strict=True)
        if plan.accepts(int(code), float(confidence), key)
    }
    assert {row.id for row in accepted.collect()} == expected
    by_code, *_ = count_accepted(accepted, ("id",), rows.n_classes)
    assert sum(by_code) == len(expected)


def test_plans_with_a_cut_for_each_of_many_classes_are_applied(spark: SparkSession) -> None:
    n = 700
    ties = ["all", "none", (n // 2,)]
    cuts = [Cut(round(i / n, 6), ties[i % 3]) if i % 7 else None for i in range(n)]  # type: ignore[arg-type]
    plan = Plan({}, tuple(cuts))
    rows = [(i, i, min(1.0, round((i + i % 2) / n, 6)), None) for i in range(n)]
    schema = f"id bigint, {CODE} int, {SCORE} double, {INVALID} string"
    scored = spark.createDataFrame(rows, schema)
    accepted = scored.filter(accepted_by(plan, ("id",))).collect()
    expected = {i for i, code, confidence, _ in rows if plan.accepts(code, confidence, (i,))}
    assert {row.id for row in accepted} == expected
    assert 100 < len(expected) < 600


def test_invalid_and_withheld_rows_are_counted_apart(
    rows: Rows, candidates: SparkCandidates
) -> None:
    assert (candidates.invalid, candidates.withheld) == (2, Withheld(1, 1, 1))
    assert candidates.why_invalid() == "no score"
    assert candidates.counts().total == len(rows.codes)


def test_the_fingerprint_does_not_depend_on_the_order(scored: DataFrame) -> None:
    one = count_accepted(scored.filter(f"{CODE} is not null"), ("id",), 3)
    other = count_accepted(scored.filter(f"{CODE} is not null").orderBy("id"), ("id",), 3)
    assert one == other


def test_labels_of_two_rounds_are_compared_by_id(spark: SparkSession) -> None:
    before = spark.createDataFrame([(1, 0), (2, 1), (3, 1)], f"id long, {CODE} int")
    after = spark.createDataFrame([(2, 1), (3, 0), (4, 0), (5, 0)], f"id long, {CODE} int")
    assert overlap_of(after, before, ["id"]) == Overlap(rows=2, changed=1)
    assert overlap_of(after, before.limit(0), ["id"]) == Overlap(rows=0, changed=0)
