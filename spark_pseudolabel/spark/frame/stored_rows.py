"""Committed narrow rows as DataFrames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema

from spark_pseudolabel.columns import (
    CODE,
    FINGERPRINT,
    HASH,
    IN_ROUND,
    INVALID,
)
from spark_pseudolabel.core.scored_rows import Carried, scored_fields
from spark_pseudolabel.store.files import join, unglobbed
from spark_pseudolabel.store.manifest import FileEntry, RoundManifest


@dataclass(frozen=True)
class StoredRows:
    """What rounds have written, read by the names in their manifests and nothing else.

    Parameters
    ----------
    spark
        The session.
    root
        Full path of the output.
    keys
        Key columns with their types.
    carried
        Which columns are stored with a scored row.
    """

    spark: SparkSession
    root: str
    keys: T.StructType
    carried: Carried

    def accepted(self, rounds: Sequence[RoundManifest]) -> DataFrame:
        """Return the accepted rows of rounds."""
        entries = [entry for manifest in rounds for entry in manifest.accepted]
        return self._read(entries, T.StructField(HASH, T.LongType()))

    def taught(self, rounds: Sequence[RoundManifest]) -> DataFrame:
        """Return the rows of rounds that a student is taught."""
        entries = [entry for manifest in rounds for entry in manifest.taught]
        return self._read(entries, T.StructField(HASH, T.LongType()))

    def scored(self, rounds: Sequence[RoundManifest]) -> DataFrame:
        """Return the scored rows of rounds."""
        entries = [entry for manifest in rounds for entry in manifest.scored]
        return self._read(entries, T.StructField(INVALID, T.StringType()))

    def invalid(self, rounds: Sequence[RoundManifest]) -> DataFrame:
        """Return the rows of rounds that could not be scored."""
        return self.scored(rounds).filter(F.col(CODE).isNull() & F.col(INVALID).isNotNull())

    def _read(self, entries: Sequence[FileEntry], column: T.StructField) -> DataFrame:
        # With a schema Spark opens no file to plan.
        scored = from_arrow_schema(pa.schema(scored_fields(self.carried)))
        # Accepted rows have no reason against them.
        stored = [field for field in scored.fields if field.name != INVALID]
        schema = T.StructType([*self.keys.fields, *stored, column])
        # Null in what workers wrote by themselves, and in what older versions wrote.
        schema = schema.add(IN_ROUND, T.IntegerType()).add(FINGERPRINT, T.LongType())
        if not entries:
            return self.spark.createDataFrame([], schema)
        return self.spark.read.schema(schema).parquet(
            *[unglobbed(join(self.root, e.path)) for e in entries]
        )
