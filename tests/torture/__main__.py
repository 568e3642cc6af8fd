"""Torture of what is stored, without Spark; see scripts/torture.

Prints one JSON document and ends with 1 if anything was violated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture import disk, tracer
from tests.torture.bugs import catch_all
from tests.torture.kills import kill_everywhere, warm_up
from tests.torture.outcomes import every_outcome
from tests.torture.races import race_everywhere
from tests.torture.workload import Ways

Torture = Callable[[Path, bool], dict[str, Any]]
NEEDS_A_TRACER = ("publish", "disk", "bugs")


def publish(base: Path, short: bool) -> dict[str, Any]:
    return kill_everywhere(base, Ways(), kills=100 if short else 3500)


def control(base: Path, short: bool) -> dict[str, Any]:
    return kill_everywhere(base, Ways(), kills=0)


def outcomes(base: Path, short: bool) -> dict[str, Any]:
    return every_outcome(base, Ways())


def races(base: Path, short: bool) -> dict[str, Any]:
    return race_everywhere(base, Ways(), races=12 if short else 240)


def full_disk(base: Path, short: bool) -> dict[str, Any]:
    found = disk.fail_everywhere(base, Ways(), most=24 if short else None)
    if not disk.can_mount():
        return found | {"real": "left out: needs root"}
    real = disk.fill_everywhere(base, Ways(), most=8 if short else None)
    return found | {"real": real, "violations": found["violations"] + real["violations"]}


def bugs(base: Path, short: bool) -> dict[str, Any]:
    return catch_all(base)


TORTURES: dict[str, Torture] = {
    "publish": publish,
    "control": control,
    "outcomes": outcomes,
    "races": races,
    "disk": full_disk,
    "bugs": bugs,
}


def main() -> int:
    """Do the tortures that were asked for."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("tortures", nargs="*", metavar="|".join(TORTURES))
    parser.add_argument("--short", action="store_true", help="few points of each")
    parser.add_argument("--dir", help="where outputs are made; by default the temporary directory")
    arguments = parser.parse_args()
    if unknown := set(arguments.tortures) - set(TORTURES):
        parser.error(f"there is no torture {sorted(unknown)[0]!r}; there are {', '.join(TORTURES)}")
    found = {
        name: _do(name, arguments.short, arguments.dir) for name in arguments.tortures or TORTURES
    }
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(any(document.get("violations") for document in found.values()))


def _do(name: str, short: bool, directory: str | None) -> dict[str, Any]:
    if name in NEEDS_A_TRACER and not tracer.is_possible():
        return {"left out": "needs Linux on x86_64, and leave to trace a child (ptrace)"}
    base = Path(tempfile.mkdtemp(prefix="torture-", dir=directory))
    started = time.monotonic()
    try:
        warm_up(base)
        found = TORTURES[name](base, short)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    seconds = round(time.monotonic() - started, 1)
    sys.stderr.write(f"{name}: {len(found['violations'])} violations, {seconds} s\n")
    return found | {"seconds": seconds}


if __name__ == "__main__":
    sys.exit(main())
