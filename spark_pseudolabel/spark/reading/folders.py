"""What the directories of a table name: columns, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
from pyspark.sql import types as T

from spark_pseudolabel.core.text_types import TextFacts, facts_of
from spark_pseudolabel.errors import InputError
from spark_pseudolabel.store.files import FileInfo

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Folders:
    """The directories between a table's root and its files.

    Parameters
    ----------
    columns
        Columns that they name, as in ``day=2024-01-31/part-0.parquet``.
    facts
        What their values, which are text, look like.
    nested
        Whether files lie in directories that name no column.
    """

    columns: tuple[str, ...]
    facts: dict[str, TextFacts | None]
    nested: bool

    @property
    def fields(self) -> list[T.StructField]:
        """The columns as Spark reads them, as text."""
        return [T.StructField(name, T.StringType()) for name in self.columns]

    @classmethod
    def of(cls, listed: Sequence[FileInfo], name: str) -> Folders:
        """Read the paths of a table's files.

        Raises
        ------
        InputError
            If files lie in directories that name different columns.
        """
        parts = [info.path.split("/")[:-1] for info in listed]
        if any("=" not in part for folder in parts for part in folder):
            return cls((), {}, nested=True)
        pairs = [[part.split("=", 1) for part in folder] for folder in parts]
        shapes = {tuple(unquote(key) for key, _ in folder): i for i, folder in enumerate(pairs)}
        if len(shapes) > 1:
            first, second = list(shapes)[:2]
            raise InputError(
                f"{name}: all files must lie in directories of the same columns. "
                f"{listed[shapes[first]].path} has {list(first)}, "
                f"{listed[shapes[second]].path} has {list(second)}.",
                code="partitions_differ",
                where=listed[shapes[second]].path,
            )
        (columns,) = shapes or {(): 0}
        values = {
            column: pa.array({_value(folder[i][1]) for folder in pairs}, pa.string())
            for i, column in enumerate(columns)
        }
        return cls(columns, {column: facts_of(v) for column, v in values.items()}, nested=False)


def _value(text: str) -> str | None:
    return None if text == _NO_VALUE else unquote(text)
