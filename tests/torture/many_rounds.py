"""Many rounds in one driver: what it keeps of each, and what safety costs.

Prints one JSON document and ends with 1 if a limit is passed; see scripts/torture.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from pyspark.sql import SparkSession

from spark_pseudolabel.config import load_config
from spark_pseudolabel.job import loop
from spark_pseudolabel.progress import SilentEvents
from spark_pseudolabel.store.lease import hold
from spark_pseudolabel.store.store import RoundStore
from tests.cluster.driver import running_driver
from tests.cluster.standalone import APPLICATION, environment, python_of_workers, spark_home
from tests.cluster.tables import configuration, write_configuration, write_tables
from tests.torture.told import tell

MB = 1 << 20
# Before them caches fill.
_FIRST = 5
_MOST_MB_A_ROUND, _MOST_S, _MOST_SHARE, _MOST_FILES = 1.0, 0.3, 0.03, 2


def many_rounds(base: Path, rounds: int) -> dict[str, Any]:
    """Run so many rounds on local[2]; return the findings as JSON has them."""
    machine = environment(spark_home(base / "spark"), python_of_workers(base / "python"))
    write_tables(base / "tables")
    asked = configuration(
        base / "tables",
        base / "out",
        model={"estimator": "LogisticRegression"},
        selection={"policy": "top_k_per_class", "k": 15},
        rounds={"max": rounds},
    )
    conf = write_configuration(base / "conf.yaml", asked)
    settings = APPLICATION | {"spark.master": "local[2]"}
    with running_driver(machine, settings, base / "driver") as driver:
        samples = driver.call(_run, conf)
    return _findings(samples)


class _Samples(SilentEvents):
    """Takes the driver's memory and its broadcast files after every round."""

    def __init__(self, spark: SparkSession):
        self.python_mb: list[float] = []
        self.jvm_mb: list[float] = []
        self.files: list[int] = []
        self.round_s: list[float] = []
        self._spark = spark

    def event(self, name: str, **fields: Any) -> None:
        if name != "round":
            return
        self.python_mb.append(_resident_mb())
        self.jvm_mb.append(self._used_heap_mb())
        self.files.append(len(list(Path(self._spark.sparkContext._temp_dir).glob("tmp*"))))
        self.round_s.append(time.perf_counter())

    def _used_heap_mb(self) -> float:
        jvm: Any = self._spark._jvm
        jvm.System.gc()
        runtime = jvm.java.lang.Runtime.getRuntime()
        return (runtime.totalMemory() - runtime.freeMemory()) / MB


def _run(conf: str) -> dict[str, list[float]]:
    """Run in the driver's process."""
    spark = SparkSession.builder.getOrCreate()
    samples, safety = _Samples(spark), _Safety()
    started = time.perf_counter()
    with safety.timed():
        result = loop.run(loop.Asked(spark, load_config(conf), samples))
    return {
        "round_s": np.diff([started, *samples.round_s]).tolist(),
        "safety_s": np.diff([0.0, *safety.until_round]).tolist(),
        "lease_s": [safety.lease_s],
        "python_mb": samples.python_mb,
        "jvm_mb": samples.jvm_mb,
        "files": list(map(float, samples.files)),
        "rounds": [float(result.report.n_iter)],
    }


class _Safety:
    """Adds up the seconds in which a run only makes itself safe."""

    def __init__(self) -> None:
        self.lease_s = 0.0
        self.until_round: list[float] = []
        self._spent_s = 0.0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        commit = RoundStore._commit

        @wraps(commit)
        def timed_commit(store: RoundStore, *arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                # Checks every file, flushes it, publishes the manifest.
                done = commit(store, *arguments)
            finally:
                self._spent_s += time.perf_counter() - started
            if done.kind == "round":
                self.until_round.append(self._spent_s)
            return done

        with (
            mock.patch.object(RoundStore, "_commit", timed_commit),
            mock.patch.object(loop, "hold", self._timed_hold),
        ):
            yield

    @contextlib.contextmanager
    def _timed_hold(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        started = time.perf_counter()
        with hold(*arguments, **named) as lease:
            self.lease_s = time.perf_counter() - started
            yield lease


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def _findings(samples: dict[str, list[float]]) -> dict[str, Any]:
    seconds, safety = samples["round_s"][1:], samples["safety_s"][1:]
    found = {
        "rounds": int(samples["rounds"][0]),
        "python_mb_per_round": _slope(samples["python_mb"]),
        "jvm_heap_mb_per_round": _slope(samples["jvm_mb"]),
        "python_mb": [round(samples["python_mb"][place], 1) for place in (_FIRST, -1)],
        "jvm_heap_mb": [round(samples["jvm_mb"][place], 1) for place in (_FIRST, -1)],
        "most_broadcast_files": int(max(samples["files"])),
        "round_s": round(statistics.median(seconds), 3),
        "safety_s_per_round": round(statistics.median(safety), 4),
        "safety_s_worst_round": round(max(safety), 4),
        "safety_share": round(sum(safety) / sum(seconds), 4),
        "lease_s_per_run": round(samples["lease_s"][0], 4),
    }
    return found | {"violations": list(_violations(found))}


def _slope(mb: list[float]) -> float:
    later = mb[_FIRST:]
    return round(float(np.polyfit(range(len(later)), later, 1)[0]), 3)


def _violations(found: dict[str, Any]) -> Iterator[str]:
    for name in ("python_mb_per_round", "jvm_heap_mb_per_round"):
        if found[name] > _MOST_MB_A_ROUND:
            yield f"{name} is {found[name]}"
    if found["most_broadcast_files"] > _MOST_FILES:
        yield f"{found['most_broadcast_files']} broadcast files were left behind"
    if found["safety_share"] > _MOST_SHARE and found["safety_s_per_round"] > _MOST_S:
        yield f"safety takes {found['safety_share']:.1%} of a round"


def main() -> int:
    """Run and measure."""
    parser = argparse.ArgumentParser(prog="torture rounds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    return tell(lambda base: many_rounds(base, arguments.rounds))


if __name__ == "__main__":
    sys.exit(main())
