"""A disk that is full, or fails to flush, at every call in turn; then room is made.

Injected at each call, which needs no privileges, and for real where this is root: small file
systems in memory, in a mount namespace of their own, each with one block or one file more.
"""

from __future__ import annotations

import ctypes
import errno
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.torture.kills import Findings, ask, check_the_end, run_traced
from tests.torture.tracer import Stop, exit_code, fork
from tests.torture.workload import Ways, problems_of, to_the_end

# Done all the same (the lease, a table for readers that is there already), unknown, or failed.
_RIGHT_CODES = {0, 6, 10}
_CLONE_NEWNS = 0x20000
_ENOUGH = "size=64m,nr_inodes=0"


def fail_everywhere(base: Path, ways: Ways, most: int | None = None) -> dict[str, Any]:
    """Let each call that needs room fail with ENOSPC, and each flush with EIO.

    Parameters
    ----------
    base
        Where outputs are made.
    ways
        How the work is done.
    most
        So many evenly spread calls only; None for all.
    """
    findings = Findings()
    calls = run_traced(str(base / "undisturbed"), ways, lambda stop: None)[0].stops
    failing = [stop for stop in calls if stop.before and (stop.creates or stop.call == "fsync")]
    chosen = _spread(failing, most)
    for failed in chosen:
        root = str(base / f"out-{findings.trials}")
        findings.trials += 1
        _fail_at(root, ways, failed, findings)
    return {"points": len(chosen), "of": len(failing), **findings.document()}


def fill_everywhere(base: Path, ways: Ways, most: int | None = None) -> dict[str, Any]:
    """Run on file systems with room for one block more, and one file more, each time."""
    return dict(ask(lambda: _fill_everywhere(base, ways, most)))


def can_mount() -> bool:
    """Tell whether this process may mount in a namespace of its own."""
    return exit_code(fork(_unshare)) == 0


def _fail_at(root: str, ways: Ways, failed: Stop, findings: Findings) -> None:
    error = errno.EIO if failed.call == "fsync" else errno.ENOSPC
    ended, told = run_traced(
        root, ways, lambda stop: error if stop.number == failed.number else None
    )
    where = f"{failed.call} at stop {failed.number} fails with {errno.errorcode[error]}"
    findings.calls[failed.call] += 1
    _check(root, ways, where, ended.code, told, findings)


def _fill_everywhere(base: Path, ways: Ways, most: int | None) -> dict[str, Any]:
    _unshare()
    findings = Findings()
    sizes = [f"size={4 * n}k,nr_inodes=0" for n in range(1, 60)]
    files = [f"size=64m,nr_inodes={n}" for n in range(2, 130)]
    for options in _spread([*sizes, *files], most):
        disk = base / f"disk-{findings.trials}"
        findings.trials += 1
        disk.mkdir()
        _mount("tmpfs", str(disk), options)
        root = str(disk / "out")
        code = exit_code(fork(lambda root=root: to_the_end(root, ways)))  # type: ignore[misc]
        _mount("tmpfs", str(disk), f"remount,{_ENOUGH}")
        _check(root, ways, options, code, [], findings)
        subprocess.run(["umount", disk], check=True)
    return {"disks": findings.trials, **findings.document()}


def _check(
    root: str, ways: Ways, where: str, code: int, told: list[str], findings: Findings
) -> None:
    findings.codes[code] += 1
    if code not in _RIGHT_CODES:
        findings.add(where, [f"ended with {code}"])
    findings.add(where, ask(lambda: problems_of(root, told)))
    check_the_end(root, ways, where, findings)


def _spread(points: Sequence[Any], most: int | None) -> list[Any]:
    n = len(points) if most is None else min(most, len(points))
    return [points[i * len(points) // n] for i in range(n)]


def _unshare() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)


def _mount(kind: str, place: str, options: str) -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, kind, place], check=True)
