"""Rows written for people: seconds, and memory that does not grow with them."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from benchmarks import runs, timing
from benchmarks.tables import Tables

_STRICT = 0.99999
"""Few rows are above it, so that nearly all of the pool may be asked about."""


def exports(tables: Tables) -> dict[str, dict[str, Any]]:
    """Export queues of growing length as Label Studio tasks, each by a command of its own."""
    runs.ours(tables, "lr", threshold=_STRICT, rounds=1)
    return {f"{n:,}": _export(tables, n) for n in (1_000, 100_000, 1_000_000) if n <= tables.rows}


def _export(tables: Tables, n: int) -> dict[str, Any]:
    target = tables.root / "asked"
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "spark_pseudolabel", "review", "export"]
    options = ["--to", str(target), "--queue", str(n), "--format", "labelstudio"]
    seconds, peak, _ = timing.run([*command, str(tables.root / "out"), *options])
    size = sum(path.stat().st_size for path in target.glob("part-*.json"))
    shutil.rmtree(target)
    return {"seconds": seconds, "peak_mb": peak, "written_mb": size / 2**20}
