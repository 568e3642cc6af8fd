"""Scoring a table with true labels, which may be larger than the driver's memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark import Broadcast
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_pseudolabel.columns import CLASS_SCORES, CODE
from spark_pseudolabel.core.kernel import Scorer
from spark_pseudolabel.core.metrics import LOG_LOSS_FLOOR, Metrics, metrics_of_table
from spark_pseudolabel.core.training import Label
from spark_pseudolabel.spark.inputs import TRUE_LABEL
from spark_pseudolabel.spark.scoring import score_rows

_TRUE_CODE = "spl_true_code"


def evaluate(rows: DataFrame, scorer: Broadcast[Scorer], classes: Sequence[Label]) -> Metrics:
    """Compute a model's metrics on rows with true labels; an action, of which counts come back.

    Parameters
    ----------
    rows
        Features and ``spl_true_label``.
    scorer
        Gives probabilities and keeps ``spl_true_label`` as its key.
    classes
        Labels by class index; a true label that is not among them is always wrong.
    """
    unknown = len(classes)
    p_true = F.coalesce(F.get(F.col(CLASS_SCORES), F.col(_TRUE_CODE)), F.lit(0.0))
    loss = -F.log(F.greatest(p_true, F.lit(LOG_LOSS_FLOOR)))
    scored = score_rows(rows, scorer).withColumn(_TRUE_CODE, code_of(classes))
    predicted = F.coalesce(F.col(CODE), F.lit(unknown))
    counted = scored.groupBy(_TRUE_CODE, predicted.alias(CODE)).agg(
        F.count(F.lit(1)).alias("n"), F.sum(loss).alias("loss")
    )
    table = np.zeros((unknown + 1, unknown + 1), dtype=np.int64)
    total_loss = 0.0
    for row in counted.orderBy(_TRUE_CODE, CODE).collect():
        table[row[_TRUE_CODE], row[CODE]] = row["n"]
        total_loss += row["loss"]
    return metrics_of_table(table, total_loss)


def labels_against_truth(
    accepted: DataFrame, truth: DataFrame, keys: Sequence[str], classes: Sequence[Label]
) -> dict[str, int]:
    """Count accepted labels whose true label is known, and those that are right; an action.

    Parameters
    ----------
    accepted
        Keys and ``spl_code``.
    truth
        Keys and ``spl_true_label``.
    """
    known = truth.select(*keys, code_of(classes).alias(_TRUE_CODE))
    right = F.col(CODE) == F.col(_TRUE_CODE)
    row = (
        accepted.select(*keys, CODE)
        .join(known, on=list(keys), how="inner")
        .agg(F.count(F.lit(1)).alias("n"), F.count(F.when(right, 1)).alias("correct"))
        .collect()[0]
    )
    return {"n": int(row["n"]), "correct": int(row["correct"])}


def code_of(classes: Sequence[Label], column: str = TRUE_LABEL) -> Column:
    """Return a label's class index, ``len(classes)`` for a label that is not among them."""
    position = F.array_position(F.array(*[F.lit(label) for label in classes]), F.col(column))
    return F.coalesce(F.nullif(position, F.lit(0)) - 1, F.lit(len(classes))).cast("int")


def label_of(classes: Sequence[Label], label_type: str) -> Column:
    """Return the label of a class index, in the type of the labeled column."""
    # Not element_at: for a null index and a constant array Spark 4.3 returns the last element.
    labels = F.array(*[F.lit(label) for label in classes])
    return F.get(labels, F.col(CODE)).cast(label_type)
