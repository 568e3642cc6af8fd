"""A random sample of a table's rows, the same for any partitioning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.spark.tables import to_arrow, with_hash

_LOWEST, _HASHES = -(2**63), 2**64
_SPARE_SDS = 6


def sample_rows(
    rows: DataFrame, keys: Sequence[str], n_rows: int, n: int, random_state: int
) -> pa.Table:
    """Collect the rows with the lowest hash of their key, with the hash; an action.

    Parameters
    ----------
    rows
        Keys and further columns.
    keys
        Key columns.
    n_rows
        How many rows there are, at least 1.
    n
        How many to take; all of a smaller table.
    random_state
        Seed of the hash.
    """
    hashed = with_hash(rows, keys, random_state)
    # Hashes are even: what lies below this limit holds the sample, but for one time in a billion.
    share = (n + _SPARE_SDS * math.sqrt(n)) / n_rows
    if share < 1:
        hashed = hashed.filter(F.col(HASH) <= F.lit(_LOWEST + int(share * _HASHES)))
    return to_arrow(hashed).sort_by(HASH).slice(0, n)
