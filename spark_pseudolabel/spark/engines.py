"""Fitting on the cluster, by engines that are there; what comes of it is the library's own model.

Each worker holds one shard of the lines. Which lines, and in which order, depends on the ids and
on the number of workers alone.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from sklearn.base import BaseEstimator, clone

from spark_pseudolabel.core.teachers.lines import Lines, LineWeights
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.spark.dealing import Dealt
from spark_pseudolabel.spark.frame.scoring import batches_of
from spark_pseudolabel.spark.reading.names import map_in_arrow

_BATCH_ROWS = 500
"""Of what Spark hands to workers at once, streams of lines as well as lines: always the same, since
XGBoost merges what it knows of a column batch by batch."""

Params = dict[str, Any]
"""Keyword arguments of an estimator, which are its own affair."""

_SLOTS_WITHIN_S = 60.0
_TOLERANCE = 1e-9
"""Of the loss, relative; at Spark's own 1e-6 coefficients still differ by some hundredths."""

_FEATURES, _LABEL, _WEIGHT = "features", "label", "weight"


@dataclass(frozen=True)
class Engine:
    """What fits one kind of estimator on the cluster.

    Parameters
    ----------
    fit
        Returns a fitted copy of an estimator; see :func:`boosted`.
    single
        Whether it computes with numbers of single precision.
    at_once
        Whether all workers have to run at the same time.
    """

    fit: Callable[[Dealt, BaseEstimator, LineWeights, Sequence[Label]], BaseEstimator]
    single: bool
    at_once: bool


def boosted(
    dealt: Dealt, estimator: BaseEstimator, weights: LineWeights, classes: Sequence[Label]
) -> BaseEstimator:
    """Fit XGBoost's classifier by ``xgboost.spark``, in one barrier stage.

    Parameters
    ----------
    dealt
        The lines: a shard for each worker.
    estimator
        Unfitted, of class indices.
    weights
        Of lines.
    classes
        The labels by class index.

    Returns
    -------
    estimator
        Fitted.
    """
    from xgboost.spark import SparkXGBClassifier

    # It logs every fit to the terminal; the tracker prints what workers tell it.
    logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
    params = _set_params(estimator, without=("n_jobs", "objective", "enable_categorical"))
    if weights.needed:
        params["weight_col"] = _WEIGHT
    trained = SparkXGBClassifier(
        features_col=_FEATURES,
        label_col=_LABEL,
        num_workers=len(dealt.facts),
        verbose=False,
        **params,
    )
    schema = T.StructType(
        [
            T.StructField(_FEATURES, T.ArrayType(T.FloatType())),
            T.StructField(_LABEL, T.DoubleType()),
            T.StructField(_WEIGHT, T.DoubleType()),
        ]
    )
    with batches_of(dealt.spark, _BATCH_ROWS), contextlib.redirect_stdout(io.StringIO()):
        booster = trained.fit(_frame(dealt, weights, schema, _arrays)).get_booster()
    fitted = clone(estimator)
    fitted.load_model(booster.save_raw("ubj"))
    return fitted


def logistic(
    dealt: Dealt, estimator: BaseEstimator, weights: LineWeights, classes: Sequence[Label]
) -> BaseEstimator:
    """Fit a logistic regression by Spark ML; see :func:`boosted`.

    Spark minimizes the mean loss and ``regParam`` times the penalty, scikit-learn ``C`` times the
    sum of losses and the penalty: ``regParam = 1 / (C * total weight)``. Neither penalizes the
    intercept.
    """
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.linalg import VectorUDT

    total = sum(sum(_weighted(shard.labeled, weights, 1.0)) for shard in dealt.facts) + sum(
        sum(_weighted(shard.pseudo, weights, weights.scale)) for shard in dealt.facts
    )
    l1_ratio = {"l1": 1.0, "l2": 0.0}.get(str(estimator.penalty), estimator.l1_ratio or 0.0)
    penalized = estimator.penalty is not None and np.isfinite(estimator.C)
    trained = LogisticRegression(
        featuresCol=_FEATURES,
        labelCol=_LABEL,
        weightCol=_WEIGHT,
        maxIter=estimator.max_iter,
        tol=_TOLERANCE,
        regParam=1.0 / (estimator.C * total) if penalized else 0.0,
        elasticNetParam=l1_ratio,
        fitIntercept=estimator.fit_intercept,
        # The preprocessing has done it; once more would be another penalty.
        standardization=False,
        family="binomial" if len(classes) == 2 else "multinomial",
    )
    schema = T.StructType(
        [
            T.StructField(_FEATURES, VectorUDT()),
            T.StructField(_LABEL, T.DoubleType()),
            T.StructField(_WEIGHT, T.DoubleType()),
        ]
    )
    with batches_of(dealt.spark, _BATCH_ROWS):
        model = trained.fit(_frame(dealt, weights, schema, _vectors))
    fitted = clone(estimator)
    fitted.classes_ = np.asarray(classes)
    fitted.coef_ = np.asarray(model.coefficientMatrix.toArray(), dtype=np.float64)
    fitted.intercept_ = np.asarray(model.interceptVector.toArray(), dtype=np.float64)
    fitted.n_features_in_ = fitted.coef_.shape[1]
    fitted.n_iter_ = np.array([model.summary.totalIterations], dtype=np.int32)
    return fitted


ENGINES: Mapping[str, Engine] = {
    "XGBClassifier": Engine(boosted, single=True, at_once=True),
    "LogisticRegression": Engine(logistic, single=False, at_once=False),
}


def require_workers(
    spark: SparkSession, engine: Engine, workers: int, within_s: float = _SLOTS_WITHIN_S
) -> None:
    """Refuse a session that can't run all workers at once, where the engine needs that.

    Parameters
    ----------
    spark
        The session.
    engine, workers
        Which, and how many.
    within_s
        How long executors may take to come, in seconds.

    Raises
    ------
    InputError
        Naming ``training.workers``.
    """
    if not engine.at_once:
        return
    if spark.conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        raise InputError(
            "training.on: cluster with XGBClassifier runs all of its workers at the same time, and "
            "Spark can't promise them with spark.dynamicAllocation.enabled: true. Set it to false.",
            code="workers_not_at_once",
            where="training.on",
        )
    until = time.monotonic() + (0.0 if _has_all(spark) else within_s)
    while (slots := _slots(spark)) < workers:
        if time.monotonic() >= until:
            raise InputError(
                f"training.workers: {workers} of XGBClassifier have to run at the same time, and "
                f"this session runs {slots} tasks at once. Give it more cores, or set "
                f"training.workers to {slots} at most.",
                code="too_few_cores",
                where="training.workers",
            )
        time.sleep(1.0)


def _slots(spark: SparkSession) -> int:
    context = spark.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    return int(context.maxNumConcurrentTasks(profile))


def _has_all(spark: SparkSession) -> bool:
    """Whether no executor can be on its way."""
    master = str(spark.sparkContext.master)
    return master.startswith("local") and not master.startswith("local-cluster")


def _set_params(estimator: BaseEstimator, without: Sequence[str]) -> Params:
    params = estimator.get_params(deep=False).items()
    return {key: value for key, value in params if value is not None and key not in without}


def _weighted(sums: Sequence[float], weights: LineWeights, scale: float) -> list[float]:
    by_code = weights.by_code or (1.0,) * len(sums)
    return [scale * one * own for one, own in zip(sums, by_code, strict=True)]


def _frame(
    dealt: Dealt,
    weights: LineWeights,
    schema: T.StructType,
    features: Callable[[Lines], pa.Array],
) -> DataFrame:
    """Return the lines as an engine takes them, in the same partitions."""

    def unpack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for stream in batch.column(0):
                lines = Lines.of([stream.as_py()], weights)
                weighed = np.ones(len(lines.codes)) if lines.weights is None else lines.weights
                columns = [
                    features(lines),
                    pa.array(lines.codes.astype(np.float64)),
                    pa.array(weighed),
                ]
                yield pa.RecordBatch.from_arrays(columns, [_FEATURES, _LABEL, _WEIGHT])

    return map_in_arrow(dealt.rows, unpack, schema)


def _arrays(lines: Lines) -> pa.Array:
    return lines.rows


def _vectors(lines: Lines) -> pa.Array:
    """Return lines as Spark ML's vectors are stored: 0 is sparse, 1 is dense."""
    n, width = lines.X.shape
    sparse = lines.places
    names = ["type", "size", "indices", "values"]
    if sparse is None:
        kind, size = pa.array(np.ones(n, dtype=np.int8)), pa.nulls(n, pa.int32())
        indices = pa.nulls(n, pa.list_(pa.int32()))
        return pa.StructArray.from_arrays([kind, size, indices, lines.rows], names)
    kind = pa.array(np.zeros(n, dtype=np.int8))
    size = pa.array(np.full(n, width, dtype=np.int32))
    return pa.StructArray.from_arrays([kind, size, *sparse], names)
