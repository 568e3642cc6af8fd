"""Whole runs with a graph as teacher, on rows whose shape says more than their few labels."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks import timing

ROWS_PER_FILE = 500_000
ROWS_PER_GROUP = 125_000
NOISE = 0.06
_CLUSTERS, _CLASSES, _COLUMNS = 30, 6, 15


@dataclass(frozen=True)
class Shape:
    """How rows lie; the id says the class, so that no truth has to be kept.

    Parameters
    ----------
    name
        ``"moons"``: two, noise 0.06. ``"clusters"``: 30 Gaussian ones in 15 columns, 5 a class.
    labels
        Labeled rows a class.
    """

    name: str
    labels: int

    @property
    def columns(self) -> list[str]:
        """Feature columns."""
        return [f"x{i:02d}" for i in range(2 if self.name == "moons" else _COLUMNS)]

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return 2 if self.name == "moons" else _CLASSES

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Draw rows, of shape (n_rows, n_columns), the same for the same ids."""
        chance = np.random.default_rng(int(ids[0]))
        if self.name == "moons":
            angle, lower = np.pi * chance.random(len(ids)), ids % 2 == 1
            arc = np.column_stack([np.cos(angle), np.sin(angle)])
            arc[lower] = np.array([1.0, 0.5]) - arc[lower]
            return arc + chance.normal(0, NOISE, arc.shape)
        centers = np.random.default_rng(0).normal(0, 2, (_CLUSTERS, _COLUMNS))
        return centers[ids % _CLUSTERS] + chance.normal(size=(len(ids), _COLUMNS))

    def classes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class of rows."""
        return ids % self.n_classes


SHAPES = {"moons": Shape("moons", 2), "clusters": Shape("clusters", 20)}


def make(directory: Path, rows: int, shape: Shape) -> Path:
    """Write the tables unless they are there."""
    root = directory / f"{shape.name}-{rows}"
    if (root / "done").exists():
        return root
    (root / "pool").mkdir(parents=True, exist_ok=True)
    n_labeled = shape.labels * shape.n_classes
    given = np.arange(n_labeled)
    labeled = _table(shape, given).append_column("y", pa.array(shape.classes(given)))
    pq.write_table(labeled, root / "labeled.parquet")
    for number, start in enumerate(range(n_labeled, n_labeled + rows, ROWS_PER_FILE)):
        ids = np.arange(start, min(start + ROWS_PER_FILE, n_labeled + rows))
        path = root / "pool" / f"part-{number:05d}.parquet"
        pq.write_table(_table(shape, ids), path, row_group_size=ROWS_PER_GROUP)
    (root / "done").touch()
    return root


def run(
    root: Path, shape: Shape, teacher: dict[str, Any], master: str, heap: str = "1g"
) -> dict[str, Any]:
    """Run our command with a teacher and no student; return what it took and how right it is."""
    out, result = root / "out", root / "result.json"
    shutil.rmtree(out, ignore_errors=True)
    settings = {
        "labeled": {"path": str(root / "labeled.parquet"), "label": "y"},
        "unlabeled": {"path": str(root / "pool")},
        "id": "id",
        "teacher": {**teacher, "student": False},
        "selection": {"policy": "one_shot"},
        "shift": {"action": "off"},
        "output": {"path": str(out)},
        "spark": {"master": master, "conf": {"spark.driver.memory": heap}},
    }
    conf = root / "run.yaml"
    conf.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "spark_pseudolabel", "run", str(conf), "--result", str(result)]
    seconds, peak, _ = timing.run(command)
    report = json.loads(result.read_text(encoding="utf-8"))
    (first,) = report["rounds"]
    right, sha256 = _labels(out / "labels", shape)
    return {
        "master": master,
        "seconds": seconds,
        "peak_mb": peak,
        "own_s": report["elapsed_s"],
        "round": first["seconds"],
        "rows": report["rows"],
        "right": right,
        "labels_sha256": sha256,
        "linear": _linear(root, shape),
    }


def _labels(directory: Path, shape: Shape) -> tuple[float, str]:
    """Return how right labels are, and a hash of them and their confidences in the order of ids."""
    table = pq.read_table(directory, columns=["id", "label", "confidence"], partitioning=None)
    order = np.argsort(table["id"].to_numpy())
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(table[name].to_numpy()[order].tobytes())
    right = table["label"].to_numpy() == shape.classes(table["id"].to_numpy())
    return float(right.mean()), digest.hexdigest()


def _linear(root: Path, shape: Shape) -> float:
    """Return how right a linear model on the labeled rows is, on one file of the pool."""
    labeled = pq.read_table(root / "labeled.parquet")
    pool = pq.read_table(root / "pool" / "part-00000.parquet")
    X, known = _matrix(pool, shape), _matrix(labeled, shape)
    scale = StandardScaler().fit(X)
    model = LogisticRegression(max_iter=1000).fit(scale.transform(known), labeled["y"].to_numpy())
    return float(model.score(scale.transform(X), shape.classes(pool["id"].to_numpy())))


def _matrix(table: pa.Table, shape: Shape) -> NDArray[np.float64]:
    return np.column_stack([table[name].to_numpy() for name in shape.columns])


def _table(shape: Shape, ids: NDArray[np.int64]) -> pa.Table:
    X = shape.rows(ids)
    return pa.table({"id": ids, **{name: X[:, i] for i, name in enumerate(shape.columns)}})
