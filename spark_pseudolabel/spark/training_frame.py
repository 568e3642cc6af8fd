"""Fetching the accepted rows that the next model is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_pseudolabel.columns import CODE, HASH
from spark_pseudolabel.core.sampling import hash_limits, quotas
from spark_pseudolabel.spark.rows_left import BROADCAST_ROWS
from spark_pseudolabel.spark.tables import to_arrow

_SLACK = 1.2
_SPARE_ROWS = 1000
_HASHES = 2**64


def sample_limits(
    accepted: DataFrame, n_by_class: Sequence[int], limit: int | None
) -> list[int | None] | None:
    """Decide which accepted rows the next model sees; an action if there are too many.

    Parameters
    ----------
    accepted
        Accepted rows with ``spl_code`` and ``spl_hash``.
    n_by_class
        How many there are of each class.
    limit
        How many may be used; None for all.

    Returns
    -------
    list or None
        Per class the highest hash that is used (None uses nothing); None if all rows are used.
    """
    total = sum(n_by_class)
    if limit is None or total <= limit:
        return None
    shares = quotas(n_by_class, limit)
    low = [_low_hash(share, n) for share, n in zip(shares, n_by_class, strict=True)]
    found = to_arrow(accepted.filter(within(low)).select(CODE, HASH))
    codes = found.column(CODE).to_numpy()
    if any((codes == code).sum() < share for code, share in enumerate(shares)):
        # Hashes are even, so the slack makes this rare; when it happens, look at all rows.
        found = to_arrow(accepted.select(CODE, HASH))
        codes = found.column(CODE).to_numpy()
    return hash_limits(codes, found.column(HASH).to_numpy(), shares)


def within(limits: Sequence[int | None] | None) -> Column:
    """Return the condition that a row is used, by the hash limits of its class."""
    if limits is None:
        return F.lit(True)
    per_class = F.array(*[F.lit(limit).cast("bigint") for limit in limits])
    return F.coalesce(F.col(HASH) <= F.get(per_class, F.col(CODE)), F.lit(False))


def fetch_rows(
    pool: DataFrame, accepted: DataFrame, n_accepted: int, keys: Sequence[str]
) -> pa.Table:
    """Collect accepted rows together with their features; an action.

    Parameters
    ----------
    pool
        Keys and features.
    accepted
        Keys and scores of the rows to fetch.
    n_accepted
        How many they are: few enough are broadcast, so that no feature column is shuffled.
    """
    wanted = F.broadcast(accepted) if n_accepted <= BROADCAST_ROWS else accepted
    return to_arrow(pool.join(wanted, on=list(keys), how="inner"))


def _low_hash(share: int, n: int) -> int | None:
    """Return a hash below which surely, and not much more than, `share` of `n` rows lie."""
    if share == 0:
        return None
    expected = min(1.0, (_SLACK * share + _SPARE_ROWS) / n)
    return min(int(-(_HASHES // 2) + expected * _HASHES), _HASHES // 2 - 1)
