"""Columns by their names, whatever characters these hold."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F


def quoted(name: str) -> str:
    """Return a column's name as Spark's parser takes it for one name.

    Examples
    --------
    >>> quoted("petal.length"), quoted("a`b")
    ('`petal.length`', '`a``b`')
    """
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> Column:
    """Return the column of this very name."""
    return F.col(quoted(name))


def columns(names: Iterable[str]) -> list[Column]:
    """Return the columns of these very names."""
    return [column(name) for name in names]
