"""Which pool rows a round still has to decide, without shuffling a feature column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

BROADCAST_ROWS = 5_000_000
"""Keys up to this number are broadcast; each executor holds them in memory."""


@dataclass(frozen=True)
class Left:
    """Which rows are still to decide: the keys left, or the keys decided; the pool is both.

    Parameters
    ----------
    left, done
        Functions that return the keys; only the one that is used is called.
    n_left, n_done
        How many they are.
    """

    left: Callable[[], DataFrame]
    n_left: int
    done: Callable[[], DataFrame]
    n_done: int


def score_left(
    pool: DataFrame,
    rows: Left | None,
    keys: Sequence[str],
    score: Callable[[DataFrame], DataFrame],
) -> DataFrame:
    """Score the rows of the pool that are left.

    The smaller of the two key sets is broadcast and picks the rows before they are scored. Where
    both are too large for that, the whole pool is scored and the narrow scores are joined: the
    other way would shuffle features.

    Parameters
    ----------
    pool
        Keys and features of all rows.
    rows
        Which are left; None for all.
    keys
        Key columns.
    score
        Turns wide rows into narrow ones.
    """
    if rows is None:
        return score(pool)
    if min(rows.n_left, rows.n_done) > BROADCAST_ROWS:
        return score(pool).join(rows.left(), on=list(keys), how="left_semi")
    if rows.n_left <= rows.n_done:
        return score(pool.join(F.broadcast(rows.left()), on=list(keys), how="left_semi"))
    return score(pool.join(F.broadcast(rows.done()), on=list(keys), how="left_anti"))
