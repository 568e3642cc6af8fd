"""Times and memory of whole process trees."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_TIMES_A_LOOK = 50
Seconds = dict[str, list[float]]


Ways = Mapping[str, Callable[[], object]]


def alternate(
    ways: Ways,
    repeats: int,
    before: Ways | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Time every way once per repeat, in turns, so that a slow minute hits all alike.

    Spark ends Python workers that were idle for a minute: `before` holds small runs of the same
    ways on all cores, done right before each timed one, so that no way has cold workers. A `clock`
    of this process' CPU tells ratios where other work shares the machine.
    """
    seconds: Seconds = {name: [] for name in ways}
    for way in ways.values():  # warm
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            if before is not None:
                before[name]()
            started = clock()
            way()
            seconds[name].append(clock() - started)
    return seconds


def medians(seconds: Seconds) -> dict[str, float]:
    """Return the median of every way."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def cpu() -> float:
    """Return CPU seconds of this process and all below it, those that have ended included."""
    total = 0.0
    for pid in tree(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Of the process, and of its children that were waited for.
        total += sum(map(int, fields[11:15])) / _TICKS
    return total


class Steps:
    """Seconds of steps that follow each other, told as each ends: some take many minutes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        print(f"{name}: {self.seconds[name]:.1f} s", file=sys.stderr, flush=True)
        self._last = now


class Watch:
    """Peaks of the PSS of a process and all below it, in MB, looked at now and then.

    Parameters
    ----------
    pid
        The process.
    every_s
        Seconds between two looks; more where a look takes long, as at processes with gigabytes.
    role
        Says together with which others a process counts.
    """

    def __init__(
        self, pid: int, every_s: float = 0.5, role: Callable[[int], str] = lambda pid: "all"
    ):
        self.peaks_mb: dict[str, float] = {}
        self._pid = pid
        self._every_s = every_s
        self._role = role
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def peak_mb(self) -> float:
        """That of all together."""
        return self.peaks_mb.get("all", 0.0)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        wait_s = self._every_s
        while not self._end.wait(wait_s):
            started = time.perf_counter()
            now: defaultdict[str, float] = defaultdict(float)
            for pid in tree(self._pid):
                now[self._role(pid)] += pss(pid)
            for role, mb in now.items():
                self.peaks_mb[role] = max(self.peaks_mb.get(role, 0.0), mb)
            # What is measured must not be what looking costs.
            wait_s = max(self._every_s, _TIMES_A_LOOK * (time.perf_counter() - started))


def run(command: Sequence[str], **environment: str) -> tuple[float, float, str]:
    """Run a command; return its seconds, the peak of its tree's PSS in MB, and its output."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )
    with Watch(process.pid) as watch:
        output = process.communicate()[0]
    elapsed = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return elapsed, watch.peak_mb, output


def tree(pid: int) -> list[int]:
    """Return a process and all below it, each after the one that started it."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pids += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return pids


def pss(pid: int) -> float:
    """Return the memory of a process in MB, of what it shares its part; 0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
