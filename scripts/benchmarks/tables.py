"""Generated tables: three classes of overlapping Gaussians, as plain Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES = 32
CLASSES = 3
LABELED = 2_000
TEST = 20_000
ROWS_PER_FILE = 500_000
ROWS_PER_GROUP = 125_000
_SPREAD = 0.55
"""Distance of the class centers per feature, in standard deviations: seed accuracy about 0.9."""


@dataclass(frozen=True)
class Tables:
    """Where the tables of one size are.

    Parameters
    ----------
    root
        Directory with ``pool/``, ``labeled.parquet`` and ``test.parquet``.
    layout
        ``"wide"``: a column per feature; ``"array"``: all features in one column.
    rows
        Of the pool.
    """

    root: Path
    layout: str
    rows: int

    @property
    def pool(self) -> Path:
        """Directory of the pool."""
        return self.root / "pool"

    @property
    def columns(self) -> list[str]:
        """Feature columns."""
        return names(self.layout)

    def matrix(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return features and labels of ``labeled`` or ``test``."""
        table = pq.read_table(self.root / f"{name}.parquet")
        return to_matrix(table, self.layout), table["y"].to_numpy()


def names(layout: str) -> list[str]:
    """Return the feature columns of a layout."""
    return [f"f{i:02d}" for i in range(FEATURES)] if layout == "wide" else ["features"]


def to_matrix(table: pa.Table, layout: str) -> np.ndarray:
    """Stack the feature columns."""
    if layout == "wide":
        return np.column_stack([table[name].to_numpy() for name in names(layout)])
    return table["features"].combine_chunks().flatten().to_numpy().reshape(-1, FEATURES)


def make(directory: Path, rows: int, layout: str) -> Tables:
    """Write the tables unless they are there."""
    root = directory / f"{layout}-{rows}"
    if (root / "done").exists():
        return Tables(root, layout, rows)
    (root / "pool").mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    centers = chance.normal(0, _SPREAD, (CLASSES, FEATURES))
    start = 0
    for number in range(-(-rows // ROWS_PER_FILE)):
        n = min(ROWS_PER_FILE, rows - start)
        table, _ = _rows(chance, centers, start, n, layout)
        path = root / "pool" / f"part-{number:05d}.parquet"
        pq.write_table(table, path, row_group_size=ROWS_PER_GROUP, use_dictionary=False)
        start += n
    for name, n in (("labeled", LABELED), ("test", TEST)):
        table, y = _rows(chance, centers, start, n, layout)
        pq.write_table(table.append_column("y", pa.array(y)), root / f"{name}.parquet")
        start += n
    (root / "done").touch()
    return Tables(root, layout, rows)


def _rows(
    chance: np.random.Generator, centers: np.ndarray, start: int, n: int, layout: str
) -> tuple[pa.Table, np.ndarray]:
    y = chance.integers(0, CLASSES, n)
    X = centers[y] + chance.normal(size=(n, FEATURES))
    ids = pa.array(np.arange(start, start + n))
    if layout == "wide":
        columns = {name: X[:, i] for i, name in enumerate(names(layout))}
    else:
        offsets = np.arange(0, (n + 1) * FEATURES, FEATURES, dtype=np.int32)
        columns = {"features": pa.ListArray.from_arrays(offsets, X.ravel())}
    return pa.table({"id": ids, **columns}), y.astype(np.int64)
