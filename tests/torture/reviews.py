"""Kills what people do with a finished run, and lets two do it at once; see scripts/torture.

Each trial begins with a copy of an output of two generations. A command is killed by SIGKILL at a
place and given again: then labels must be those of a command that nothing has disturbed, and
`verify --deep` must find nothing. Prints one JSON document, ends with 1 if anything was violated.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from spark_pseudolabel.config.sections import SparkSettings
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.spark.startup.session import get_session
from tests.torture.generations import Place

ROOT = Path(__file__).parents[2]
COMMITS = ("review.files", "review.publish.tmp", "review.publish.done")
TABLES = tuple(
    f"{place}{at}"
    for at in ("", ":2", ":3")
    for place in ("view.followed", "view.swap.tmp", "view.swap.aside", "view.swap.done")
)
"""In each of the three tables that follow what people do."""
WRONG = 3
"""Labels of each generation that answers contradict."""
Found = dict[str, Any]


@dataclass(frozen=True)
class Trials:
    """A finished output, and the commands that are killed on a copy of it."""

    finished: Path
    copy: Path

    @property
    def commands(self) -> dict[str, list[str]]:
        """What is done, by its name."""
        out = str(self.copy)
        return {
            "import": ["import", out, "--answers", str(self.answers)],
            "revoke": ["revoke", out, "--class", "no"],
            "export": ["export", out, "--audit", "20", "--to", str(self.asked)],
        }

    @property
    def answers(self) -> Path:
        return self.copy.with_name("answers.csv")

    @property
    def asked(self) -> Path:
        return self.copy.with_name("asked")

    def put_back(self) -> None:
        """Let the output be as it was."""
        for path in (self.copy, self.asked):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.finished, self.copy)

    def write_answers(self) -> None:
        """Contradict some labels of each generation."""
        labels = pd.read_parquet(self.finished / "labels")
        wrong = labels.groupby("model").head(WRONG)
        said = wrong["label"].map({"yes": "no", "no": "yes"})
        pd.DataFrame({"id": wrong["row_id"], "label": said}).to_csv(self.answers, index=False)

    def started(self, name: str, place: str | None = None) -> subprocess.Popen[bytes]:
        """Give a command, armed to be killed at a place."""
        armed = {} if place is None else {"SPL_FAILPOINT": place}
        return subprocess.Popen(
            [sys.executable, "-m", "spark_pseudolabel", "review", *self.commands[name]],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | armed,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def labels(self) -> pd.DataFrame:
        table = pd.read_parquet(self.copy / "labels")
        return table.sort_values("row_id", ignore_index=True)

    def problems(self, expected: pd.DataFrame) -> Iterator[str]:
        """Say what is not as it must be."""
        if not self.labels.equals(expected):
            yield f"{len(self.labels)} labels, not the {len(expected)} that nothing has disturbed"
        for problem in check_output(str(self.copy), deep=True).problems:
            yield f"verify: {problem}"


def kills(trials: Trials, name: str, places: Sequence[str]) -> Found:
    """Kill a command at each place, and give it again."""
    trials.put_back()
    ended = trials.started(name).wait()
    expected = trials.labels
    violations = [] if ended == 0 else [f"{name}: undisturbed, exit code {ended}"]
    for place in places:
        trials.put_back()
        ended = trials.started(name, place).wait()
        if ended != -signal.SIGKILL:
            violations.append(f"{name}, {place}: not reached, exit code {ended}")
            continue
        again = trials.started(name).wait()
        found = [*trials.problems(expected), *([] if again == 0 else [f"exit code {again}"])]
        violations += [f"{name}, {place}: {problem}" for problem in found]
        sys.stderr.write(f"{name}, {place}: {found or 'as it was'}\n")
    return {"labels": len(expected), "kills": len(places), "violations": violations}


def races(trials: Trials, n: int) -> Found:
    """Let two imports of the same answers begin at once; one of them may be told to wait."""
    violations, codes = [], []
    trials.put_back()
    trials.started("import").wait()
    expected = trials.labels
    for number in range(n):
        trials.put_back()
        both = [trials.started("import") for _ in range(2)]
        ended = sorted(process.wait() for process in both)
        codes.append(ended)
        if ended not in ([0, 0], [0, 4]):
            violations.append(f"race {number}: exit codes {ended}")
        violations += [f"race {number}: {problem}" for problem in trials.problems(expected)]
    return {"races": n, "exit_codes": codes, "violations": violations}


def main() -> int:
    """Do both."""
    parser = argparse.ArgumentParser(prog="torture reviews", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one table instead of three")
    parser.add_argument("--races", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    tables = TABLES[:4] if arguments.short else TABLES
    with tempfile.TemporaryDirectory(prefix="reviews-") as directory:
        place = Place(Path(directory))
        spark = get_session(SparkSettings(master="local[2]", conf={"spark.ui.enabled": "false"}))
        place.make(spark)
        place.next(spark)
        spark.stop()
        trials = Trials(place.folder / "out", Path(directory) / "copy")
        trials.write_answers()
        found = {
            "import": kills(trials, "import", [*COMMITS, *tables]),
            "revoke": kills(trials, "revoke", [*COMMITS, *tables]),
            "export": kills(trials, "export", COMMITS),
            "race": races(trials, arguments.races),
        }
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(any(part["violations"] for part in found.values()))


if __name__ == "__main__":
    sys.exit(main())
