"""Ways to score a pool: ours, those of Spark and MLflow, and two plain processes as the limit."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from benchmarks.tables import FEATURES, Tables
from spark_pseudolabel.core.compiled.models import by_library_alone
from spark_pseudolabel.core.features import Feature
from spark_pseudolabel.core.kernel import Scorer, make_scorer, score_batch
from spark_pseudolabel.core.parts import Part
from spark_pseudolabel.core.threads import hold_threads
from spark_pseudolabel.spark.direct.source import PartSource, read_part
from spark_pseudolabel.spark.direct.survey import PlainTable, parquet_table
from spark_pseudolabel.spark.frame.scoring import score_rows
from spark_pseudolabel.spark.tasking import run_tasks
from spark_pseudolabel.store.file_systems import open_files

PROCESSES = 2


def scorer_of(tables: Tables, model: Any) -> Scorer:
    """Prepare a fitted model as a run does."""
    wide = tables.layout == "wide"
    kinds = [Feature(name, "numeric", "double") for name in tables.columns]
    features = kinds if wide else [Feature("features", "vector", "array<double>", FEATURES)]
    return make_scorer(model, features, ("id",), named=False)


def plain(spark: SparkSession, tables: Tables) -> PlainTable:
    """Open the pool as the direct scan does."""
    files, root = open_files(str(tables.pool))
    table = parquet_table(spark, files, root, files.list(root)).plain
    assert table is not None
    return table


def score_parts(parts: Iterable[Part], source: PartSource, scorer: Scorer) -> int:
    """Read and score parts, and keep nothing: what every backend has to do at least."""
    n = 0
    with hold_threads(1):
        for part in parts:
            for rows in read_part(source, part):
                n += score_batch(rows.batch, scorer).num_rows
    return n


class TwoProcesses:
    """Two plain Python processes, started and warm: the limit of two cores."""

    def __init__(self, parts: list[Part], source: PartSource, scorer: Scorer):
        context = multiprocessing.get_context("spawn")
        self._pool = context.Pool(PROCESSES, _keep, (source, scorer))
        # In small pieces, so that both end at the same time.
        self._parts = parts

    def __call__(self) -> int:
        return sum(self._pool.imap_unordered(_score_kept, self._parts))

    def close(self) -> None:
        """End the processes."""
        self._pool.terminate()


_kept: dict[str, Any] = {}


def _keep(source: PartSource, scorer: Scorer) -> None:
    _kept.update(source=source, scorer=scorer)


def _score_kept(part: Part) -> int:
    with by_library_alone():
        return score_parts([part], _kept["source"], _kept["scorer"])


def ways(
    spark: SparkSession, tables: Tables, model: Any, *, ours: bool, tasks: int | None = None
) -> dict[str, Callable[[], object]]:
    """Return the ways by name; each scores the whole pool once.

    Parameters
    ----------
    ours
        Leave out what others would use.
    tasks
        Score a small pool in so many tasks, so that each core has its worker.
    """
    table, scorer = plain(spark, tables), scorer_of(tables, model)
    parts = table.parts * (tasks or 1)
    source = PartSource(table.root, ("id",), tuple(tables.columns))
    shared = spark.sparkContext.broadcast(scorer)
    frame = spark.read.parquet(str(tables.pool))
    frame = frame if tasks is None else frame.repartition(tasks)
    bare = spark.sparkContext.broadcast(model)
    by_name: dict[str, Callable[[], object]] = {
        "two plain processes": TwoProcesses(parts, source, scorer),
        "direct scan": lambda: sum(
            run_tasks(spark, lambda part: score_parts([part], source, shared.value), parts)
        ),
        "DataFrame (mapInArrow)": lambda: _drain(score_rows(frame, shared)),
    }
    if ours:
        return by_name
    by_name |= {
        "scalar pandas UDF": lambda: _drain(_scalar(frame, tables, bare)),
        "predict_batch_udf": lambda: _drain(_batch(frame, tables, bare)),
        "mapInPandas": lambda: _drain(_pandas(frame, tables, bare)),
    }
    mlflow = _mlflow(spark, frame, tables, model)
    if mlflow is not None:
        by_name["mlflow spark_udf"] = mlflow
    return by_name


def _drain(rows: Any) -> None:
    rows.write.format("noop").mode("overwrite").save()


def _matrix(columns: pd.DataFrame, layout: str) -> np.ndarray:
    return columns.to_numpy() if layout == "wide" else np.stack(columns.iloc[:, 0])


def _scalar(frame: Any, tables: Tables, model: Any) -> Any:
    layout, columns = tables.layout, tables.columns

    @F.pandas_udf("struct<label:int,confidence:double>")  # type: ignore[call-overload]
    def predict(rows: pd.DataFrame) -> pd.DataFrame:
        return _best(model.value.predict_proba(_matrix(rows, layout)))

    return frame.select("id", predict(F.struct(*columns)))


def _best(P: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"label": P.argmax(axis=1).astype(np.int32), "confidence": P.max(axis=1)})


def _batch(frame: Any, tables: Tables, model: Any) -> Any:
    def make() -> Callable[..., np.ndarray]:
        fitted = model.value
        return lambda X: fitted.predict_proba(X)

    predict = predict_batch_udf(
        make,
        return_type=T.ArrayType(T.DoubleType()),
        batch_size=10_000,
        input_tensor_shapes=[[FEATURES]],
    )
    features = F.array(*tables.columns) if tables.layout == "wide" else F.col("features")
    return frame.select("id", predict(features))


def _pandas(frame: Any, tables: Tables, model: Any) -> Any:
    layout, columns = tables.layout, tables.columns

    def predict(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for rows in batches:
            scored = _best(model.value.predict_proba(_matrix(rows[columns], layout)))
            yield scored.assign(id=rows["id"].to_numpy())

    return frame.mapInPandas(predict, "label int, confidence double, id bigint")


def _mlflow(
    spark: SparkSession, frame: Any, tables: Tables, model: Any
) -> Callable[[], object] | None:
    try:
        import mlflow
    except ImportError:
        return None
    path = str(tables.root / "mlflow-model")
    shutil.rmtree(path, ignore_errors=True)
    how = {"pyfunc_predict_fn": "predict_proba", "serialization_format": "cloudpickle"}
    mlflow.sklearn.save_model(model, path, **how)
    udf = mlflow.pyfunc.spark_udf(spark, path, result_type="array<double>", env_manager="local")
    return lambda: _drain(frame.select("id", udf(F.struct(*tables.columns))))


def rows_of(batches: Iterable[pa.RecordBatch]) -> int:
    """Count rows."""
    return sum(batch.num_rows for batch in batches)
