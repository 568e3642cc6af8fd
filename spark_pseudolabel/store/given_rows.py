"""The given rows of a run, kept beside its frozen inputs so that ``explain`` knows them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.columns import CODE, LABELED, VALUE
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.layout import given_file
from spark_pseudolabel.store.manifest import damaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spark_pseudolabel.store.store import RoundStore

ROLE = "spl_role"
VALIDATION = "validation"


def keep_given(
    store: RoundStore, labeled: pa.Table, validation: pa.Table, keys: Sequence[str]
) -> None:
    """Store keys, codes (numbers, where labels are) and roles of labeled and validation rows."""
    columns = [*keys, CODE, *([VALUE] if VALUE in labeled.column_names else [])]
    parts = [
        rows.select(columns).append_column(ROLE, pa.array([role] * rows.num_rows, pa.string()))
        for rows, role in ((labeled, LABELED), (validation, VALIDATION))
    ]
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(parts), sink, write_page_checksum=True)
    store.files.put_if_absent(_file(store), sink.getvalue())


def read_given(store: RoundStore) -> pa.Table | None:
    """Return what :func:`keep_given` stored; None where a start was cut off before it.

    Raises
    ------
    StoredStateError
        If it is damaged.
    """
    try:
        data = store.files.read(_file(store))
    except FileNotFoundError:
        return None
    try:
        return read_bytes(data)
    except (pa.ArrowException, OSError) as error:
        raise damaged(_file(store), f"is not a whole Parquet file: {error}") from error


def read_bytes(data: bytes) -> pa.Table:
    """Read a small Parquet file that is in memory, its pages checked.

    In this thread alone: Arrow's own may let go of memory that is Python's when the interpreter is
    ending already, which takes the process down.
    """
    parquet = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    return parquet.read(use_threads=False)


def _file(store: RoundStore) -> str:
    return join(store.root, given_file(store.run_id))
