"""Whole runs on Spark as tortures see them: where they take place, and what they must come to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.timing import tree
from spark_pseudolabel.output.gc import collect_garbage
from spark_pseudolabel.output.verify import check_output
from spark_pseudolabel.report.document import VerifyDocument
from tests.cluster.processes import (
    ENDS_WITHIN_S,
    ROOT,
    command_line,
    ended,
    run_command,
    submit_command,
)
from tests.cluster.standalone import end_group, environment, python_of_workers, spark_home
from tests.cluster.tables import configuration, labels_sha256, write_configuration, write_tables
from tests.torture.onlooker import accepted_by_round

JOB = ROOT / "jobs" / "pseudolabel.py"
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
MASTER = "local[1]"
_LOOK_S = 0.05
_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


@dataclass(frozen=True)
class Machine:
    """Where runs take place: a Spark, the environment of its processes, the tables."""

    home: Path
    environment: Mapping[str, str]
    tables: Path

    @classmethod
    def make(cls, base: Path) -> Machine:
        """Make all of it below `base`."""
        home = spark_home(base / "spark")
        write_tables(base / "tables")
        variables = environment(home, python_of_workers(base / "python"))
        return cls(home, variables | {"PYSPARK_DRIVER_PYTHON": sys.executable}, base / "tables")

    def command(self, directory: Path, *arguments: str, submitted: bool) -> list[str]:
        """Return the command that runs a configuration, by itself or through spark-submit."""
        output = directory / "out"
        cheap = {"conf": {"spark.ui.enabled": "false"}}
        asked = configuration(self.tables, output, spark=cheap)
        conf = write_configuration(directory / "conf.yaml", asked)
        if submitted:
            return submit_command(str(self.home), MASTER, JOB, "run", conf, *arguments)
        return run_command(conf, "--set", f"spark.master={MASTER}", *arguments)


@dataclass(frozen=True)
class Undisturbed:
    """What a run comes to that nothing disturbs.

    Parameters
    ----------
    labels
        Hash of its published labels.
    rounds
        Hash of the accepted rows of each round.
    seconds
        What it took.
    """

    labels: str
    rounds: tuple[str, ...]
    seconds: float

    @classmethod
    def run(cls, machine: Machine, directory: Path) -> Undisturbed:
        """Run once; this is the null control, too."""
        directory.mkdir()
        started = time.monotonic()
        code = ended(machine.command(directory, submitted=False), machine.environment, directory)
        seconds = time.monotonic() - started
        output = directory / "out"
        if code or (problems := check_output(str(output), deep=True).problems):
            raise RuntimeError(f"The null control ended with {code}: {problems}")
        return cls(labels_sha256(output), accepted_by_round(output), seconds)

    def problems_of(self, output: Path) -> Iterator[str]:
        """Say what is not as in this run; then collect garbage and look again."""
        if not (output / "labels").exists():
            yield "no labels"
        elif labels_sha256(output) != self.labels:
            yield "other labels than the undisturbed run's"
        if accepted_by_round(output) != self.rounds:
            yield "other accepted rows than the undisturbed run's"
        yield from _told("verify", check_output(str(output), deep=True))
        collect_garbage(str(output), delete=True, older_than_s=0)
        yield from _told("verify after gc", check_output(str(output), deep=True))


class Start:
    """A started run, whose processes may be killed one by one.

    What it leaves behind when it is killed, such as its JVM, lives on until the next start has
    ended, as it would after a real kill.
    """

    def __init__(self, command: list[str], variables: Mapping[str, str], directory: Path):
        self._files = [directory / "stdout", directory / "stderr"]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait(self, seconds: float = ENDS_WITHIN_S) -> int | None:
        """Return the exit code, None if it has not ended in time.

        It stays a zombie: until `end`, no other group of processes can get its number.
        """
        deadline = time.monotonic() + seconds
        while (found := os.waitid(os.P_PID, self.pid, _ENDED)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(_LOOK_S)
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def kill(self, what: str) -> bool:
        """Kill the Python driver or the JVM; False if there is none yet."""
        victim = next((pid for pid in tree(self.pid) if _is(pid, what)), None)
        if victim is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return True

    def last_words(self) -> str:
        """Return the end of what it said."""
        return "\n".join(file.read_text(errors="replace")[-1000:] for file in self._files)

    def end(self) -> None:
        """End whatever is left of it."""
        end_group(self._process)


def _told(what: str, found: VerifyDocument) -> Iterator[str]:
    yield from (f"{what}: {problem}" for problem in found.problems)


def _is(pid: int, what: str) -> bool:
    words = command_line(pid)
    if what == "jvm":
        # Not the one before it, which only says how to start it.
        return words[0].endswith(b"/java") and b"org.apache.spark.launcher.Main" not in words
    # Its workers run modules of pyspark; spark-submit hands the job's file to the driver.
    return b"python" in words[0] and b"run" in words
