"""Executors and Python workers killed at work; labels must be those of a run in peace.

Each run, on a local cluster or a standalone one, is hit again and again, as long as it scores, and
once more while it writes the tables.
Prints one JSON document and ends with 1 if anything was violated; see scripts/torture.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scripts.benchmarks.timing import tree
from spark_pseudolabel.output.verify import check_output
from tests.cluster.driver import Driver, Outcome, running_driver
from tests.cluster.processes import command_line
from tests.cluster.standalone import (
    APPLICATION,
    environment,
    python_of_workers,
    spark_home,
    standalone_cluster,
)
from tests.cluster.tables import (
    committed,
    configuration,
    labels_sha256,
    write_configuration,
    write_tables,
)
from tests.torture.onlooker import accepted_by_round
from tests.torture.told import tell

LOCAL_CLUSTER = "local-cluster[2,1,1024]"
ROUNDS = 8
# So slow a model, and so many rows, that scoring is most of a run.
_ROWS_PER_FILE, _ROWS_PER_GROUP = 60_000, 5_000
_SECTIONS: dict[str, Any] = {
    "model": {"estimator": "RandomForestClassifier", "params": {"n_estimators": 100}},
    "rounds": {"max": ROUNDS, "relabel": True},
}
_SETTINGS = {
    # One task may be hit more often than it ever would by chance.
    "spark.task.maxFailures": "50",
    "spark.sql.files.maxPartitionBytes": str(1 << 19),
}
# Of the two machines one should get some rows scored between two kills.
_PAUSE_S = (0.5, 6.0)
# A quarter of the kills that are asked for, since there are four kinds of runs.
_MOST_IN_A_RUN = 13
_LOOK_S = 0.05
_EXECUTOR = b"org.apache.spark.executor.CoarseGrainedExecutorBackend"
VICTIMS = ("executor", "worker", "worker", "daemon")


def kill_at_work(base: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill `kills` times in all; return the findings as JSON has them."""
    machine = environment(spark_home(base / "spark"), python_of_workers(base / "python"))
    write_tables(base / "tables", _ROWS_PER_FILE, _ROWS_PER_GROUP)
    chance, killed, violations, runs = random.Random(seed), Counter[str](), [], 0
    with ExitStack() as stack:
        url = stack.enter_context(standalone_cluster(base / "cluster", machine))
        expected = _undisturbed(machine, base)
        shapes = [(url, "auto"), (LOCAL_CLUSTER, "spark"), (url, "spark"), (LOCAL_CLUSTER, "auto")]
        while sum(killed.values()) < kills:
            master, scan = shapes[runs % len(shapes)]
            directory = base / f"run-{runs}"
            runs += 1
            name = "standalone" if master == url else "local-cluster"
            settings = APPLICATION | _SETTINGS | {"spark.master": master}
            with running_driver(machine, settings, directory) as driver:
                most = min(_MOST_IN_A_RUN, kills - sum(killed.values()))
                hits = _run(driver, base, directory, scan, most, chance)
            killed.update({f"{name} {scan} {victim}": n for victim, n in hits.items()})
            violations += [f"{name} {scan}: {one}" for one in _problems(directory, expected)]
    return {
        "kills": sum(killed.values()),
        "killed": dict(sorted(killed.items())),
        "runs": runs,
        "violations": violations,
    }


def _undisturbed(machine: Mapping[str, str], base: Path) -> tuple[str, tuple[str, ...]]:
    directory = base / "control"
    settings = APPLICATION | _SETTINGS | {"spark.master": "local[2]"}
    with running_driver(machine, settings, directory) as driver:
        outcome = driver.command("run", _conf(base, directory, "auto"), result=directory / "result")
    if outcome.exit_code:
        raise RuntimeError(f"The null control ended with {outcome}.")
    return labels_sha256(directory / "out"), accepted_by_round(directory / "out")


def _conf(base: Path, directory: Path, scan: str) -> str:
    pool = {"path": str(base / "tables" / "pool"), "scan": scan}
    asked = configuration(base / "tables", directory / "out", unlabeled=pool, **_SECTIONS)
    return write_configuration(directory / "conf.yaml", asked)


def _run(
    driver: Driver, base: Path, directory: Path, scan: str, most: int, chance: random.Random
) -> Counter[str]:
    """Run, and kill one process after the other as long as there is work, but not for ever."""
    hits: Counter[str] = Counter()
    conf, output = _conf(base, directory, scan), directory / "out"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(driver.command, "run", conf, result=directory / "result")
        for what, is_at_it in _moments(run, output, chance):
            victims = _processes(what)
            # Whatever was hit after the work had been done does not count.
            if (
                (hits.total() < most or is_at_it is _is_publishing)
                and victims
                and _kill(chance.choice(victims))
                and is_at_it(output)
            ):
                hits[f"{what} {_AT[is_at_it]}"] += 1
    (directory / "ended").write_text(str(run.result().exit_code))
    return hits


def _moments(
    run: Future[Outcome], output: Path, chance: random.Random
) -> Iterator[tuple[str, Callable[[Path], bool]]]:
    """Yield what to kill at which work, now and then until the run has ended."""
    due, publishing = 0.0, False
    while not run.done():
        time.sleep(_LOOK_S)
        if time.monotonic() > due and _is_scoring(output):
            yield chance.choice(VICTIMS), _is_scoring
            due = time.monotonic() + chance.uniform(*_PAUSE_S)
        elif not publishing and _is_publishing(output):
            publishing = True
            yield chance.choice(VICTIMS), _is_publishing


def _is_scoring(output: Path) -> bool:
    """Tell whether a run is between the commit of a model and the decision of its round."""
    names = committed(output)
    number = sum(name.startswith("model-") for name in names)
    if not 1 <= number <= ROUNDS or f"round-{number:04d}.json" in names:
        return False
    return not any(output.glob(f"_attempts/*/round-{number:04d}/*/accepted"))


def _is_publishing(output: Path) -> bool:
    """Tell whether a run has ended and writes its first table."""
    names = committed(output)
    return any(name.startswith("final-") for name in names) and not (output / "labels").exists()


_AT = {_is_scoring: "scoring", _is_publishing: "publishing"}


def _processes(what: str) -> list[int]:
    """Return the executors, or the Python workers, or the daemons that fork those, below us."""
    below = tree(os.getpid())
    if what == "executor":
        return [pid for pid in below if _EXECUTOR in command_line(pid)]
    python = [pid for pid in below if b"pyspark.daemon" in command_line(pid)]
    return [pid for pid in python if (_parent(pid) in python) == (what == "worker")]


def _kill(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _problems(directory: Path, expected: tuple[str, tuple[str, ...]]) -> Iterator[str]:
    output = directory / "out"
    if (code := (directory / "ended").read_text()) != "0":
        yield f"ended with {code}: {(directory / 'result').read_text()[:1000]}"
        return
    if (labels_sha256(output), accepted_by_round(output)) != expected:
        yield "other rows than the undisturbed run's"
    yield from (str(problem) for problem in check_output(str(output), deep=True).problems)


def main() -> int:
    """Kill as often as asked for."""
    parser = argparse.ArgumentParser(prog="torture executors", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    return tell(lambda base: kill_at_work(base, arguments.kills, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
