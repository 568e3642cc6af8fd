"""What a start costs by the order of the ids, and what one costs that finds the run begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import runs, timing
from spark_pseudolabel.config import parse_config
from spark_pseudolabel.spark.inputs.reading import read_inputs
from spark_pseudolabel.store.inputs import FrozenInputs

ORDERS = ("integers, ascending", "integers, mixed", "uuids, ascending", "uuids, mixed")
_ROWS_PER_FILE, _ROWS_PER_GROUP = 500_000, 125_000


def compare(directory: Path, rows: int, repeats: int) -> timing.Seconds:
    """Time reading the inputs with ids of four kinds, at a first start and at a later one."""
    tables = {order: _tables(directory, rows, order) for order in ORDERS}
    ways: dict[str, Callable[[], object]] = {}
    with runs.session() as spark:

        def start(root: Path, proved: FrozenInputs | None) -> FrozenInputs:
            config = parse_config(
                {
                    "labeled": {"path": str(root / "labeled.parquet"), "label": "y"},
                    "unlabeled": {"path": str(root / "pool")},
                    "id": "id",
                    "selection": {"policy": "threshold"},
                    "output": {"path": str(root / "out")},
                }
            )
            inputs = read_inputs(spark, config, proved=proved)
            assert inputs.pool_rows == rows
            assert inputs.scan is not None
            return inputs.frozen

        for order, root in tables.items():
            proved = start(root, None)
            ways[f"{order}: first start"] = lambda root=root: start(root, None)
            ways[f"{order}: later start"] = lambda root=root, proved=proved: start(root, proved)
        return timing.alternate(ways, repeats)


def _tables(directory: Path, rows: int, order: str) -> Path:
    root = directory / f"ids-{rows}-{order.replace(', ', '-')}"
    if (root / "done").exists():
        return root
    (root / "pool").mkdir(parents=True, exist_ok=True)
    kind, _, way = order.partition(", ")
    ids = np.random.default_rng(0).permutation(rows) if way == "mixed" else np.arange(rows)
    for number, start in enumerate(range(0, rows, _ROWS_PER_FILE)):
        some = ids[start : start + _ROWS_PER_FILE]
        table = pa.table({"id": _of_kind(some, kind, rows), "x": np.zeros(len(some))})
        path = root / "pool" / f"part-{number:05d}.parquet"
        pq.write_table(table, path, row_group_size=_ROWS_PER_GROUP, use_dictionary=False)
    labeled = _of_kind(np.arange(rows, rows + 100), kind, rows)
    y = np.arange(100) % 2
    pq.write_table(pa.table({"id": labeled, "x": y / 2, "y": y}), root / "labeled.parquet")
    (root / "done").touch()
    return root


def _of_kind(numbers: np.ndarray, kind: str, rows: int) -> pa.Array:
    if kind == "integers":
        return pa.array(numbers)
    # Even over all of them, so that ascending numbers give ascending texts.
    step = 2**128 // (2 * rows)
    return pa.array([str(UUID(int=int(number) * step)) for number in numbers])
