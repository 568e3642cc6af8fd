"""What the pool says about groups: how large they are, and which one a row is of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import functions as F

from spark_pseudolabel.core.trust.units import GroupSizes
from spark_pseudolabel.spark.inputs.facts import GROUP
from spark_pseudolabel.spark.reading.row_errors import reading
from spark_pseudolabel.spark.reading.tables import Table, to_arrow

_N, _GROUPS = "spl_n", "spl_groups"


@reading("unlabeled")
def group_sizes(pool: Table) -> GroupSizes:
    """Count the pool's groups by size, by two aggregations; a row without a group is its own.

    Parameters
    ----------
    pool
        Keys and ``spl_group``.
    """
    sizes = pool.rows.groupBy(GROUP).agg(F.count(F.lit(1)).alias(_N))
    alone = F.col(GROUP).isNull()
    size, groups = F.when(alone, 1).otherwise(F.col(_N)), F.when(alone, F.col(_N)).otherwise(1)
    by_size = sizes.select(size.alias(_N), groups.alias(_GROUPS)).groupBy(_N)
    rows = by_size.agg(F.sum(_GROUPS).alias(_GROUPS)).collect()
    return GroupSizes({int(row[_N]): int(row[_GROUPS]) for row in rows})


@reading("unlabeled")
def first_of_groups(pool: Table, sample: pa.Table, keys: Sequence[str]) -> NDArray[np.bool_]:
    """Choose the first row of each group among sampled rows of the pool, shape (n_rows,)."""
    wanted = pool.rows.sparkSession.createDataFrame(sample.select(list(keys)).to_pandas())
    joined = to_arrow(pool.rows.join(F.broadcast(wanted), on=list(keys), how="left_semi"))
    known = joined.to_pandas().set_index(list(keys))[GROUP]
    index = pd.Index(sample[keys[0]].to_pandas())
    if len(keys) > 1:
        index = pd.MultiIndex.from_frame(sample.select(list(keys)).to_pandas())
    groups = known.reindex(index)
    chosen: NDArray[np.bool_] = (groups.isna() | ~groups.duplicated()).to_numpy()
    return chosen


def group_numbers(*groups: pa.ChunkedArray) -> NDArray[np.int64]:
    """Number the groups of collected rows; a row without one is a group of its own."""
    values = pd.concat([column.to_pandas() for column in groups])
    numbers: NDArray[np.int64] = pd.factorize(values)[0].astype(np.int64)
    alone = numbers < 0
    numbers[alone] = numbers.max(initial=-1) + 1 + np.arange(alone.sum())
    return numbers
