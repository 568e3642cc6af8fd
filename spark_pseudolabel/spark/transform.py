"""A finished model on a DataFrame of the user's: every column stays, two are added, lazily.

A pandas UDF and not Arrow batches of whole rows: what the user does not ask for need not be read,
and columns of types that Arrow lacks pass by. pandas would have timestamps in the session's time
zone and no date after 2262, so that what is no plain number is made one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd
import pyarrow as pa
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.functions import pandas_udf  # type: ignore[attr-defined]

from spark_pseudolabel.columns import CODE, SCORE, VALUE
from spark_pseudolabel.core.kernel import Scorer, score_batches
from spark_pseudolabel.core.teachers.training import Label
from spark_pseudolabel.spark.evaluation import label_of
from spark_pseudolabel.spark.reading.schema import arrow_type

_PREDICTION = (T.StructField(CODE, T.IntegerType()), T.StructField(SCORE, T.DoubleType()))
_MICROS_PER_DAY = 86_400_000_000


def with_predictions(
    rows: DataFrame,
    scorer: Scorer,
    classes: Sequence[Label],
    label_type: str,
    *,
    label_col: str,
    confidence_col: str,
) -> DataFrame:
    """Add a model's label and confidence to each row; both are null where it can't be scored.

    Parameters
    ----------
    rows
        Holds the scorer's features.
    scorer
        The model.
    classes, label_type
        Labels by class index, and their Spark type.
    label_col, confidence_col
        Names of the new columns.
    """
    columns = [_plain(rows, feature.name) for feature in scorer.features]
    struct = F.struct(*[column.alias(f"c{i}") for i, (column, _) in enumerate(columns)])
    schema = pa.schema([(f"c{i}", kind) for i, (_, kind) in enumerate(columns)])
    numbers = [T.StructField(VALUE, T.DoubleType())] if scorer.numbers else []
    said = T.StructType([*_PREDICTION, *numbers])
    predict = pandas_udf(_predict_function(scorer, schema), said)
    name = "spl_prediction"
    while name in rows.columns:
        name += "_"
    label = label_of(classes, label_type, F.col(f"{name}.{CODE}"))
    if scorer.numbers:
        label = F.col(f"{name}.{VALUE}").cast(label_type)
    return (
        rows.withColumn(name, predict(struct))
        .withColumn(label_col, label)
        .withColumn(confidence_col, F.col(f"{name}.{SCORE}"))
        .drop(name)
    )


def _predict_function(
    scorer: Scorer, schema: pa.Schema
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    names = [feature.name for feature in scorer.features]

    def predict(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            # The types are said: a column that is null throughout a batch does not show its own.
            batch = pa.RecordBatch.from_pandas(frame, schema, preserve_index=False)
            for scores in score_batches([batch.rename_columns(names)], scorer):
                code = scores.column(CODE).to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)
                said = {CODE: code, SCORE: scores.column(SCORE).to_pandas()}
                if scorer.numbers:
                    said[VALUE] = scores.column(VALUE).to_pandas()
                yield pd.DataFrame(said)

    # Spark reads the annotations to see that this is an iterator of frames.
    predict.__annotations__ = {
        "frames": Iterator[pd.DataFrame],
        "return": Iterator[pd.DataFrame],
    }
    return predict


def _plain(rows: DataFrame, name: str) -> tuple[Column, pa.DataType]:
    """Return a feature as the kernel would read it, in a form that pandas does not change."""
    column, data_type = F.col(f"`{name.replace('`', '``')}`"), rows.schema[name].dataType
    if isinstance(data_type, T.StringType):
        return column, pa.string()
    if isinstance(data_type, T.UserDefinedType):
        return vector_to_array(column), pa.list_(pa.float64())
    if isinstance(data_type, T.ArrayType):
        return column.cast("array<double>"), pa.list_(pa.float64())
    if isinstance(data_type, T.DecimalType):
        return column, arrow_type(data_type)
    if isinstance(data_type, T.DateType):
        column = F.unix_date(column)
    elif isinstance(data_type, T.TimestampType):
        column = F.unix_micros(column).cast("double") / F.lit(1e6)
    elif isinstance(data_type, T.TimestampNTZType):
        column = _micros_of_local(column).cast("double") / F.lit(1e6)
    return column.cast("double"), pa.float64()


def _micros_of_local(column: Column) -> Column:
    """Return microseconds since 1970-01-01 on a clock without a zone; no cast knows one."""
    of_day = (F.hour(column) * 60 + F.minute(column)).cast("bigint") * 60_000_000
    seconds = (F.extract(F.lit("SECOND"), column) * 1_000_000).cast("bigint")
    days = F.unix_date(column.cast("date")).cast("bigint")
    return days * _MICROS_PER_DAY + of_day + seconds
