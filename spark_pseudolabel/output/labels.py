"""``labels``: the published labels of a run as one CSV file, for whoever reads no Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from spark_pseudolabel.errors import ConfigError
from spark_pseudolabel.output.opening import Opened
from spark_pseudolabel.output.preflight import require_finished
from spark_pseudolabel.output.review.sheets import shown
from spark_pseudolabel.report.document import LabelsDocument
from spark_pseudolabel.store.files import join
from spark_pseudolabel.store.following import files_of
from spark_pseudolabel.store.published import require_published
from spark_pseudolabel.store.store import RoundStore


def write_labels(out: str, csv: str, opened: Opened) -> LabelsDocument:
    """Write ``OUT/labels`` as CSV: a header, commas, UTF-8; vectors as JSON.

    Parameters
    ----------
    out
        The output.
    csv
        The file, whole or not there.
    opened
        The output, opened.

    Raises
    ------
    InputError
        If there is no finished run.
    StoredStateError
        If its labels are not there as they were put.
    ConfigError
        If the file can't be written.
    """
    store = RoundStore.open(*opened)
    require_finished(store, out)
    require_published(store, out, ["labels"])
    path = Path(csv)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        rows, columns = _write(store, aside)
        aside.replace(path)
    except OSError as error:
        raise ConfigError(f"{csv!r} cannot be written: {error.strerror}.", code="usage") from None
    finally:
        aside.unlink(missing_ok=True)
    return LabelsDocument(output=out, csv=csv, rows=rows, columns=columns)


def _write(store: RoundStore, path: Path) -> tuple[int, list[str]]:
    schema, rows = None, 0
    options = pa_csv.WriteOptions(quoting_style="needed")
    with pa.OSFile(str(path), "wb") as sink:
        writer: pa_csv.CSVWriter | None = None
        for table in _tables(store):
            if writer is None:
                schema = table.schema
                writer = pa_csv.CSVWriter(sink, schema, write_options=options)
            writer.write_table(table)
            rows += table.num_rows
        if writer is not None:
            writer.close()
    return rows, [] if schema is None else list(schema.names)


def _tables(store: RoundStore) -> Iterator[pa.Table]:
    """Yield the labels; at least one table, which may have no rows."""
    folder = join(store.root, "labels")
    for path in files_of(store.files, folder):
        with store.files.open_input(join(folder, path)) as stream:
            parquet = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")
            yield _plain(parquet.schema_arrow.empty_table())
            for batch in parquet.iter_batches(use_threads=False):
                yield _plain(pa.Table.from_batches([batch]))


def _plain(table: pa.Table) -> pa.Table:
    columns = {
        name: shown(column)
        if pa.types.is_nested(column.type) or pa.types.is_dictionary(column.type)
        else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)
