"""What the tests here do in a driver's process, where the session is that reaches the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from spark_pseudolabel.cli import main
from spark_pseudolabel.errors import OutputBusyError
from spark_pseudolabel.job import loop
from spark_pseudolabel.spark.hadoop_files import HadoopFiles, files_for
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.layout import COMMITS_DIR
from spark_pseudolabel.store.publish import publish
from tests.cluster.tables import sha256_of

_APART_S = 0.25


def race_for_slots(root: str, name: str, starts_at: float, races: int) -> list[bool]:
    """Publish to one slot after the other, each at its moment; return which ones were won."""
    files, root = _opened(root)
    won = []
    for number in range(races):
        time.sleep(max(0.0, starts_at + number * _APART_S - time.time()))
        try:
            publish(files, join(root, f"slot-{number:04d}"), name.encode(), name)
            won.append(True)
        except OutputBusyError:
            won.append(False)
    return won


def contents(root: str) -> list[str]:
    """Return what stands in all files of a directory, by name."""
    files, root = _opened(root)
    return [files.read(join(root, name)).decode() for name in files.names(root)]


def put_while_another_is_put(root: str) -> tuple[list[bool], bytes]:
    """Put a file under a name for which another one is open already, but not yet closed.

    Returns
    -------
    tuple
        Whether the inner and the outer one were taken, and what stands there.
    """
    files, root = _opened(root)
    path, taken = join(root, "slot"), []
    copy = HadoopFiles._copy

    def copy_after_another(self: HadoopFiles, source: Any, target: Any) -> None:
        with mock.patch.object(HadoopFiles, "_copy", copy):
            taken.append(self.put_if_absent(path, b"inner"))
        copy(self, source, target)

    with mock.patch.object(HadoopFiles, "_copy", copy_after_another):
        taken.append(files.put_if_absent(path, b"outer"))
    return taken, files.read(path)


def run_at(moment: float, leases: bool, arguments: list[str]) -> int:
    """Run a command at a moment; without leases nothing but the slots holds two runs apart."""
    with contextlib.nullcontext() if leases else mock.patch.object(loop, "hold", _no_lease):
        time.sleep(max(0.0, moment - time.time()))
        return main(arguments)


def put_inputs(tables: str, target: str, n_files: int) -> None:
    """Put the labeled rows into the store, and the pool in files of a few rows each."""
    files, root = _opened(target)
    labeled = Path(tables, "labeled.parquet").read_bytes()
    files.replace(join(root, "labeled.parquet"), labeled)
    pool = pq.read_table(Path(tables, "pool"))
    each = -(-pool.num_rows // n_files)
    for number in range(n_files):
        file = pa.BufferOutputStream()
        pq.write_table(pool.slice(number * each, each), file)
        files.replace(join(root, f"pool/{number:03d}.parquet"), file.getvalue().to_pybytes())


def labels_sha256(output: str) -> str:
    """Read the published labels with Spark; return their hash."""
    labels = _session().read.parquet(f"{output}/labels").toPandas()
    return sha256_of(labels.sort_values("row_id"), "row_id")


def committed(output: str) -> dict[str, bytes]:
    """Return the manifests of an output by their names."""
    files, root = _opened(output)
    found = files.list(join(root, COMMITS_DIR))
    return {
        info.path.rpartition("/")[2]: files.read(join(root, f"{COMMITS_DIR}/{info.path}"))
        for info in found
    }


@contextlib.contextmanager
def _no_lease(*_: object, **__: object) -> Iterator[None]:
    yield


def _opened(root: str) -> tuple[Files, str]:
    return files_for(_session(), root)


def _session() -> SparkSession:
    return SparkSession.builder.getOrCreate()
