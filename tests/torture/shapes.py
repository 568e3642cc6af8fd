"""One configuration on many shapes of a cluster: one hash of the labels.

Prints one JSON document and ends with 1 if there is more than one; see scripts/torture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.driver import running_driver
from tests.cluster.shapes import MB, TINY, Shape
from tests.cluster.standalone import APPLICATION, environment, python_of_workers, spark_home
from tests.cluster.tables import labels_sha256, write_tables
from tests.torture.told import tell

# Every task that is slower than the fastest is run twice.
_SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "10ms",
    "spark.speculation.multiplier": "1.01",
    "spark.speculation.quantile": "0.1",
    "spark.speculation.minTaskRuntime": "1ms",
}
_TWO, _ONE = "local-cluster[2,1,1024]", "local-cluster[1,2,1024]"
MASTERS: dict[str, tuple[str, dict[str, str]]] = {
    **{f"local[{cores}]": (f"local[{cores}]", {}) for cores in (1, 2, 3, 4)},
    _TWO: (_TWO, {}),
    _ONE: (_ONE, {}),
    f"{_TWO} speculation": (_TWO, _SPECULATION),
}
# Bytes of a partition, rows of a batch, AQE, backend.
WITHIN = [
    (128 * MB, 10_000, True, "auto"),
    (128 * MB, 10_000, False, "spark"),
    (TINY, 10_000, True, "spark"),
    (MB, 7, True, "spark"),
    (TINY, 100, False, "spark"),
]


def run_everywhere(base: Path) -> dict[str, Any]:
    """Run on every shape; return the findings as JSON has them."""
    write_tables(base / "tables")
    machine = environment(spark_home(base / "spark"), python_of_workers(base / "python"))
    by_shape = dict(_hashes(base, machine))
    hashes = sorted(set(by_shape.values()))
    wrong = [f"{shape}: {found}" for shape, found in by_shape.items()] if len(hashes) > 1 else []
    return {"shapes": list(by_shape), "hashes": hashes, "violations": wrong}


def _hashes(base: Path, machine: dict[str, str]) -> Iterator[tuple[str, str]]:
    for place, (name, (master, more)) in enumerate(MASTERS.items()):
        settings = APPLICATION | {"spark.master": master} | more
        with running_driver(machine, settings, base / f"master-{place}") as driver:
            for number, within in enumerate(WITHIN):
                directory = base / f"shape-{place}-{number}"
                directory.mkdir()
                output = Shape(name, *within).run(driver, base / "tables", directory)
                yield str(Shape(name, *within)), labels_sha256(output)


def main() -> int:
    """Run on all shapes."""
    argparse.ArgumentParser(prog="torture shapes", description=__doc__).parse_args()
    return tell(run_everywhere)


if __name__ == "__main__":
    sys.exit(main())
