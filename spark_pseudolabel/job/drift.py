"""Whether rows that have come later are like those that a model was made for."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spark_pseudolabel.columns import HASH
from spark_pseudolabel.core.facts import Representativeness
from spark_pseudolabel.core.features import to_frame
from spark_pseudolabel.core.kernel import without_odd_vectors
from spark_pseudolabel.core.trust.shift import SAMPLE, representativeness
from spark_pseudolabel.job.setting import Setting
from spark_pseudolabel.job.shift import compare_with_labeled
from spark_pseudolabel.spark.pool import Pool
from spark_pseudolabel.store.generations import Drift
from spark_pseudolabel.store.given_rows import read_bytes
from spark_pseudolabel.store.manifest import FileEntry
from spark_pseudolabel.store.store import Attempt, RoundStore

SAMPLE_NAME = "sample.parquet"
_FEWEST = 20
"""Rows of a sample below which nothing is compared: chance alone makes them differ."""


def keep_sample(
    store: RoundStore, attempt: Attempt, setting: Setting, pool: Pool
) -> FileEntry | None:
    """Store some rows of the pool, for later ones to be compared with; None of a pool without."""
    if not setting.inputs.pool_rows:
        return None
    rows = pool.sample(SAMPLE)
    sink = io.BytesIO()
    pq.write_table(rows, sink, write_page_checksum=True)
    return store.write_file(attempt, SAMPLE_NAME, sink.getvalue(), rows.num_rows)


def measure_drift(
    setting: Setting, store: RoundStore, pool: Pool, reference: FileEntry | None
) -> Drift | None:
    """Compare a sample of new rows with the labeled ones and with an earlier sample.

    Parameters
    ----------
    setting
        Configuration and inputs; the pool are the new rows.
    store
        Where the earlier sample is.
    pool
        The new rows.
    reference
        The sample of the pool that the model was fitted for; None if there is none.

    Returns
    -------
    Drift or None
        None where nothing is asked for, or there are too few rows.
    """
    shift = setting.config.shift
    if setting.inputs.pool_rows < _FEWEST or (shift is not None and shift.action == "off"):
        return None
    sample = pool.sample(SAMPLE)
    few_labeled = setting.inputs.labeled.num_rows < _FEWEST
    return Drift(
        labeled=None if few_labeled else compare_with_labeled(setting, sample),
        reference=None
        if reference is None
        else _compared(setting, read_bytes(store.read_file(reference)), sample),
    )


def _compared(setting: Setting, before: pa.Table, sample: pa.Table) -> Representativeness | None:
    features = setting.inputs.features
    if before.num_rows < _FEWEST:
        return None
    earlier, later = (
        without_odd_vectors(rows.combine_chunks().to_batches()[0], features)[0]
        for rows in (before, sample)
    )
    hashes = [rows.column(HASH).to_numpy() for rows in (earlier, later)]
    return representativeness(
        to_frame(earlier, features),
        to_frame(later, features),
        features,
        np.concatenate(hashes),
        setting.config.random_state,
    )
