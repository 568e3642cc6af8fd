"""What must not change while a run lasts: file lists, and hashes of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from spark_pseudolabel.columns import CODE, VALUE
from spark_pseudolabel.config import Config
from spark_pseudolabel.core.features import Feature, to_frame
from spark_pseudolabel.redaction import redacted
from spark_pseudolabel.spark.inputs.facts import Groups
from spark_pseudolabel.spark.reading.tables import Table
from spark_pseudolabel.store.inputs import FrozenRows, FrozenTable, SeenFile


def frozen_table(table: Table) -> FrozenTable:
    """Return the columns of a table, and its files if it has some."""
    schema = table.schema.simpleString()
    if table.files is None:
        return FrozenTable(schema=schema)
    return FrozenTable(schema=schema, files=tuple(map(SeenFile.of, table.files)))


def stored_table(table: FrozenTable) -> FrozenTable:
    """Return a table as it is stored, without secrets in names."""
    return FrozenTable.model_validate(redacted(table.model_dump(mode="json", by_alias=True)))


def seen_files(tables: Mapping[str, Table], config: Config) -> dict[str, tuple[SeenFile, ...]]:
    """List the files of all tables, so that a later start can tell at once that none changed."""
    return {
        name: tuple(map(SeenFile.of, table.files or ()))
        for name, table in tables.items()
        if not (name == "unlabeled" and config.unlabeled.from_ == "labeled")
        and not (name == "labeled" and config.labeled is None)
    }


def fingerprint(
    rows: pa.Table,
    features: Sequence[Feature],
    keys: Sequence[str],
    groups: Groups | None = None,
) -> FrozenRows:
    """Hash a collected table: the same for the same rows, however they were stored."""
    digest = hashlib.sha256()
    of_labels = [VALUE] if VALUE in rows.column_names else []
    for key in [*keys, CODE, *of_labels]:
        digest.update(repr(rows.column(key).to_pylist()).encode())
    frame = to_frame(rows, features)
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    if groups is None:
        return FrozenRows(rows=rows.num_rows, sha256=digest.hexdigest())
    of_groups = hashlib.sha256(repr(groups.labeled.to_pylist()).encode()).hexdigest()
    return FrozenRows(rows=rows.num_rows, sha256=digest.hexdigest(), groups=of_groups)
