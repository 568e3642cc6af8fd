"""The tables and configurations that the tests of this directory run on, and what they compare."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

POOL_FILES, ROWS_PER_FILE, ROWS_PER_GROUP = 3, 1000, 250
LABELED = 150
COLORS = np.array(["blue", "green", "red"])


def write_tables(
    directory: Path, rows_per_file: int = ROWS_PER_FILE, rows_per_group: int = ROWS_PER_GROUP
) -> None:
    """Write ``labeled.parquet`` and ``pool``: numbers, an integer, a category, nulls in all.

    The pool lies in several files of several row groups, so that small partitions split it.
    """
    rows = _rows(LABELED + POOL_FILES * rows_per_file)
    directory.mkdir()
    _write(rows[:LABELED], directory / "labeled.parquet", rows_per_group)
    pool = rows[LABELED:].drop(columns="kind")
    (directory / "pool").mkdir()
    for number in range(POOL_FILES):
        part = pool[number * rows_per_file : (number + 1) * rows_per_file]
        _write(part, directory / "pool" / f"part-{number}.parquet", rows_per_group)


def configuration(tables: Path, output: Path, **sections: Any) -> dict[str, Any]:
    """Return a configuration of two rounds: the first by a linear model, the second by a forest."""
    return {
        "labeled": {"path": str(tables / "labeled.parquet"), "label": "kind"},
        "unlabeled": {"path": str(tables / "pool")},
        "id": "row_id",
        "model": {
            "estimator": "LogisticRegression",
            "student": {"estimator": "RandomForestClassifier", "params": {"n_estimators": 20}},
        },
        "validation": {"fraction": 0},
        "selection": {"policy": "threshold", "threshold": 0.7},
        "rounds": {"max": 2},
        # Fewer than are accepted: which rows train the forest is decided by hashes of their ids.
        "training": {"max_rows": 600},
        "output": {"path": str(output)},
    } | sections


def write_configuration(file: Path, configuration: dict[str, Any]) -> str:
    file.write_text(yaml.safe_dump(configuration))
    return str(file)


def read_labels(output: Path, *keys: str, table: str = "labels") -> pd.DataFrame:
    """Read the published labels, or another table, in the order of their ids."""
    labels = pq.read_table(output / table).to_pandas()
    return labels.sort_values(list(keys)).reset_index(drop=True)


def labels_sha256(output: Path, *keys: str) -> str:
    """Fold the published (id, label, round, rounded confidence), sorted by id, into one hash."""
    keys = keys or ("row_id",)
    return sha256_of(read_labels(output, *keys), *keys)


def sha256_of(labels: pd.DataFrame, *keys: str) -> str:
    """Do the same with labels that have been read, sorted by their ids."""
    rows = zip(
        *[labels[key].tolist() for key in keys],
        labels["label"].tolist(),
        labels["round"].tolist(),
        [f"{confidence:.6f}" for confidence in labels["confidence"]],
        strict=True,
    )
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()


def committed(output: Path) -> dict[str, bytes]:
    """Return the manifests of an output by their names."""
    return {file.name: file.read_bytes() for file in output.glob("_commits/*/*.json")}


def scored_attempts(output: Path) -> dict[str, list[str]]:
    """Return the attempts at each round that have scored any rows, by the round's name."""
    attempts: dict[str, set[str]] = {}
    for file in output.glob("_attempts/*/round-*/*/scored/*.parquet"):
        attempts.setdefault(file.parts[-4], set()).add(file.parts[-3])
    return {round_: sorted(names) for round_, names in attempts.items()}


def _rows(n_rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    length = rng.normal(size=n_rows)
    width = rng.normal(size=n_rows)
    color = rng.integers(3, size=n_rows)
    visits = rng.poisson(3, size=n_rows)
    drift = 1.6 * length - width + 0.9 * (color - 1) + 0.2 * visits
    kind = np.digitize(drift + rng.normal(scale=0.5, size=n_rows), [-0.3, 1.6])
    rows = pd.DataFrame(
        {
            # Neither in order nor dense, so that the place of a row says nothing of its id.
            "row_id": rng.permutation(n_rows).astype(np.int64) * 7 + 11,
            "length": pd.Series(length).mask(rng.random(n_rows) < 0.05),
            "width": width.astype(np.float32),
            "color": pd.Series(COLORS[color]).mask(rng.random(n_rows) < 0.05),
            "visits": pd.Series(visits, dtype="Int32").mask(rng.random(n_rows) < 0.05),
            "kind": np.array(["low", "middle", "high"])[kind],
        }
    )
    return rows


def _write(rows: pd.DataFrame, file: Path, rows_per_group: int) -> None:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    pq.write_table(table, file, row_group_size=rows_per_group)


if __name__ == "__main__":  # for scripts/check, where there is no pytest
    _directory = Path(sys.argv[1])
    write_tables(_directory)
    write_configuration(_directory / "conf.yaml", configuration(_directory, _directory / "out"))
