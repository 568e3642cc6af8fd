"""Rows as nodes of a graph: numbers that follow from their keys, wherever the rows are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.hashing import xxhash64

NodeTable = Literal["pool", "labeled", "validation"]
"""Tables whose rows are nodes."""

_SALT: Final = {"labeled": 1, "validation": 2}


@dataclass(frozen=True)
class NodeIds:
    """How rows get their node ids.

    Parameters
    ----------
    keys
        Columns that identify a row.
    random_state
        Seed of the run.
    table
        Where the rows stand: without ids of their own, rows of two tables may have the same place.
    """

    keys: tuple[str, ...]
    random_state: int
    table: NodeTable = "pool"

    def of(self, rows: pa.RecordBatch | pa.Table) -> NDArray[np.int64]:
        """Return the node id of each row: in the pool its hash, by which samples are drawn."""
        hashes = xxhash64([*[rows.column(key) for key in self.keys], self.random_state])
        if self.table in _SALT:
            hashes = xxhash64([_SALT[self.table]], start=hashes)
        return hashes

    def frame(self, rows: pa.RecordBatch | pa.Table) -> pd.DataFrame:
        """Return the model input of a model that knows nodes: their ids, in one column."""
        return node_frame(self.of(rows))


def node_frame(ids: NDArray[np.int64]) -> pd.DataFrame:
    """Return node ids as model input."""
    return pd.DataFrame({NODE: ids})
