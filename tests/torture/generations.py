"""Kills generations of an incremental run, and lets two schedulers begin one; see scripts/torture.

Each trial begins with a copy of a finished run, into whose pool a file has come: half of its rows
are new. A process that runs the next generation is killed by SIGKILL at a place, and another one
runs it again. Then labels, counts, and what `verify` says must be those of an output that nothing
has disturbed. The killed ones are forks of a process that has started Spark, so that a trial takes
seconds. Prints one JSON document and ends with 1 if anything was violated.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from pyspark.sql import SparkSession

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.config.sections import SparkSettings
from spark_pseudolabel.errors import DriftError
from spark_pseudolabel.job import run
from spark_pseudolabel.output.gc import collect_garbage
from spark_pseudolabel.output.status import read_status
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.spark.startup.session import get_session

ROOT = Path(__file__).parents[2]
ROWS, NEW = 1200, 600
PLACES = (
    "generation.end.tmp",  # what the first generation has read
    "generation.end.done",
    "generation.claim.tmp",
    "generation.claim.done",
    "model.publish.tmp",
    "model.publish.done",
    "score.started",
    "score.written",
    "verify.done",
    "round.publish.tmp",
    "round.publish.done",
    "model.publish.tmp:2",
    "final.publish.tmp",
    "final.publish.done",
    "view.add.tmp",
    "view.add.one",
    "view.add.done",
    "view.add.one:2",
    "view.add.done:3",
    "generation.end.tmp:2",
    "generation.end.done:2",
)
DRIFT_PLACES = (
    "generation.end.done",
    "generation.claim.tmp",
    "generation.claim.done",
    "generation.end.tmp:2",
    "generation.end.done:2",
)
"""Where a generation is killed whose rows are too unlike to be labeled."""
Found = dict[str, Any]


def rows(first: int, n: int) -> pd.DataFrame:
    chance = np.random.default_rng(first)
    X = chance.normal(size=(n, 4))
    kind = np.where(X[:, 0] + chance.normal(scale=0.4, size=n) > 0, "yes", "no")
    ids = [f"r{number:06d}" for number in range(first, first + n)]
    return pd.DataFrame(X, columns=list("abcd")).assign(row_id=ids, kind=kind)


class Place:
    """A directory with tables and an output, which is put back to what it was before each trial.

    Parameters
    ----------
    base
        Where it is made.
    sections
        Of the configuration, where they are others than here.
    """

    def __init__(self, base: Path, **sections: Any):
        self.folder, self._kept, self._sections = base / "work", base / "kept", sections

    def make(self, spark: SparkSession) -> None:
        """Write the tables, run once, and let a file come: half of its rows were there before."""
        pool = self.folder / "pool"
        pool.mkdir(parents=True)
        rows(0, 200).to_parquet(self.folder / "labeled.parquet", index=False)
        rows(1000, ROWS).drop(columns="kind").to_parquet(pool / "1.parquet", index=False)
        run(spark, parse_config(self.asked()))
        both = pd.concat([rows(5000, NEW), rows(1000, ROWS)[:NEW]]).drop(columns="kind")
        both.to_parquet(pool / "2.parquet", index=False)
        shutil.copytree(self.folder, self._kept)

    def put_back(self) -> None:
        """Let all be as it was; copies keep the times of files, which runs remember."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._kept, self.folder)

    def asked(self, **sections: Any) -> dict[str, Any]:
        """Return the configuration."""
        return {
            "labeled": {"path": str(self.folder / "labeled.parquet"), "label": "kind"},
            "unlabeled": {"path": str(self.folder / "pool")},
            "id": "row_id",
            "model": {"estimator": "LogisticRegression"},
            "selection": {"policy": "threshold", "threshold": 0.8},
            "rounds": {"max": 1},
            "shift": {"action": "off"},  # half of a generation's time, and nothing to kill there
            "output": {"path": str(self.folder / "out")},
            **self._sections,
            **sections,
        }

    def let_unlike_rows_come(self) -> None:
        """Put rows of which one column is what it never was in the place of the file that came."""
        unlike = rows(5000, NEW).drop(columns="kind").assign(d=lambda table: table["d"] + 5.0)
        unlike.to_parquet(self.folder / "pool" / "2.parquet", index=False)

    def next(self, spark: SparkSession, incremental: object = True) -> None:
        """Run the next generation."""
        run(spark, parse_config(self.asked(incremental=incremental)))

    def killed(self, spark: SparkSession, place: str) -> int:
        """Run it in a fork that is killed at a place; return how that ended.

        The fork is killed between two calls of the JVM, so that their connection, which it has
        from this process, is left as it was found.
        """
        pid = os.fork()
        if pid == 0:
            os.environ["SPL_FAILPOINT"] = place
            try:
                self.next(spark)
            except BaseException:  # noqa: BLE001  whatever it is, a fork must not go on
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @property
    def labels(self) -> pd.DataFrame:
        table = pq.read_table(self.folder / "out" / "labels").to_pandas()
        return table.sort_values("row_id").reset_index(drop=True)

    def problems(self, expected: pd.DataFrame) -> Iterator[str]:
        """Say what is not as it must be; then collect garbage, and look again."""
        labels, out = self.labels, str(self.folder / "out")
        if not labels["row_id"].is_unique:
            yield "a row has two labels"
        if not labels.equals(expected):
            yield "other labels than those that nothing has disturbed"
        tables = [pq.read_table(self.folder / "out" / name) for name in ("undecided", "invalid")]
        if len(labels) + sum(table.num_rows for table in tables) != ROWS + NEW:
            yield "rows were lost, or are there twice"
        generations = read_status(out).generations
        scored = [(each.rows, each.overlap) for each in generations]
        if scored != [(ROWS, 0), (NEW, NEW)]:
            yield f"generations scored {scored}"
        yield from (f"verify: {problem}" for problem in check_output(out, deep=True).problems)
        collect_garbage(out, delete=True, older_than_s=0)
        yield from (f"verify after gc: {p}" for p in check_output(out, deep=True).problems)


def kills(spark: SparkSession, place: Place, expected: pd.DataFrame, at: tuple[str, ...]) -> Found:
    """Kill at each place, and run again."""
    violations, killed = [], 0
    for name in at:
        place.put_back()
        if (code := place.killed(spark, name)) != -signal.SIGKILL:
            violations.append(f"{name}: not reached, exit code {code}")
            continue
        killed += 1
        place.next(spark)
        found = list(place.problems(expected))
        violations += [f"{name}: {problem}" for problem in found]
        sys.stderr.write(f"{name}: {found or 'as it was'}\n")
    return {"kills": killed, "violations": violations}


def drifts(spark: SparkSession, place: Place, at: tuple[str, ...]) -> Found:
    """Kill a generation that drift stops; then it is stopped, and labeled when that is said."""
    violations, killed, before = [], 0, place.labels
    for name in at:
        place.put_back()
        place.let_unlike_rows_come()
        if (code := place.killed(spark, name)) != -signal.SIGKILL:
            violations.append(f"{name}: not reached, exit code {code}")
            continue
        killed += 1
        found = list(_of_drift(spark, place, before))
        violations += [f"{name}: {problem}" for problem in found]
        sys.stderr.write(f"drift, {name}: {found or 'stopped, then labeled'}\n")
    return {"kills": killed, "violations": violations}


def _of_drift(spark: SparkSession, place: Place, before: pd.DataFrame) -> Iterator[str]:
    out = str(place.folder / "out")
    for _ in range(2):
        try:
            place.next(spark)
        except DriftError:
            pass
        else:
            yield "unlike rows did not stop it"
    if not place.labels.equals(before):
        yield "rows were labeled that are too unlike"
    yield from (f"verify: {problem}" for problem in check_output(out, deep=True).problems)
    place.next(spark, {"on_shift": "continue"})
    told = [(each.outcome, each.rows) for each in read_status(out).generations]
    if told != [("labeled", ROWS), ("drift", NEW), ("labeled", NEW)]:
        yield f"generations are {told}"
    if len(place.labels) <= len(before) or not place.labels["row_id"].is_unique:
        yield "rows were not labeled, or twice"
    yield from (f"verify at the end: {p}" for p in check_output(out, deep=True).problems)


def races(place: Place, expected: pd.DataFrame, trials: int) -> Found:
    """Let two schedulers begin the same generation at once, each with a Spark of its own."""
    violations, codes = [], []
    spark = {"master": "local[1]", "conf": {"spark.ui.enabled": "false"}}
    for number in range(trials):
        place.put_back()
        conf = place.folder / "conf.yaml"
        conf.write_text(yaml.safe_dump(place.asked(spark=spark)))
        command = [sys.executable, "-m", "spark_pseudolabel", "run", str(conf), "--incremental"]
        both = [
            subprocess.Popen(
                command,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]
        ended = sorted(process.wait() for process in both)
        codes.append(ended)
        if ended not in ([0, 0], [0, 4]):
            violations.append(f"race {number}: exit codes {ended}")
        violations += [f"race {number}: {problem}" for problem in place.problems(expected)]
    return {"races": trials, "exit_codes": codes, "violations": violations}


def main() -> int:
    """Do both."""
    parser = argparse.ArgumentParser(prog="torture generations", description=__doc__)
    parser.add_argument("--kills", type=int, default=len(PLACES), help="places, from the first")
    parser.add_argument("--drifts", type=int, default=len(DRIFT_PLACES), help="places, likewise")
    parser.add_argument("--races", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with tempfile.TemporaryDirectory(prefix="generations-") as directory:
        place = Place(Path(directory))
        spark = get_session(SparkSettings(master="local[2]", conf={"spark.ui.enabled": "false"}))
        place.make(spark)
        place.next(spark)
        expected = place.labels
        found = {
            "control": {"labels": len(expected), "violations": list(place.problems(expected))},
            "kill": kills(spark, place, expected, PLACES[: arguments.kills]),
        }
        moved = Place(Path(directory) / "drift", shift=None)
        moved.make(spark)
        found["drift"] = drifts(spark, moved, DRIFT_PLACES[: arguments.drifts])
        spark.stop()
        found["race"] = races(place, expected, arguments.races)
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(any(part["violations"] for part in found.values()))


if __name__ == "__main__":
    sys.exit(main())
