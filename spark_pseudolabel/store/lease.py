"""An advisory lease: tells a second run early that it would lose; never relied on for safety.

Safety comes from slots that can be taken once (`publish`). The lease only spares the loser hours
of work, hence its mistakes are harmless: it is taken over freely, and no error in keeping it ends
a run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt

from spark_pseudolabel.errors import OutputBusyError
from spark_pseudolabel.store import layout
from spark_pseudolabel.store.failpoint import failpoint
from spark_pseudolabel.store.files import Files, join
from spark_pseudolabel.store.manifest import canonical_json, now

HEARTBEAT_S = 10.0
STALE_S = 30.0


class LeaseRecord(BaseModel):
    """Who holds an output, as the lease's file says.

    Parameters
    ----------
    token
        Unique to the holder.
    owner
        What holds it, such as the run's id.
    host, pid, pid_started
        The process, and its start in ticks since boot; None where the system does not tell.
    machine
        What pids are unique in.
    since
        When it was taken.
    heartbeat
        When it was last renewed, in seconds since 1970; None before the first time.
    """

    model_config = ConfigDict(frozen=True)

    token: str
    owner: str
    host: str
    machine: str
    pid: StrictInt
    pid_started: str | None
    since: str
    heartbeat: StrictFloat | StrictInt | None = None


@dataclass(frozen=True)
class Lease:
    """A held lease.

    Parameters
    ----------
    token
        Unique to this holder.
    taken_over
        The lease that stood there and was found dead, None if there was none.
    """

    token: str
    taken_over: LeaseRecord | None = None


@contextlib.contextmanager
def hold(files: Files, root: str, owner: str) -> Iterator[Lease]:
    """Hold the lease of an output directory, with a heartbeat, while the context lasts.

    Parameters
    ----------
    files, root
        The output directory.
    owner
        What holds it, such as the run's id; for messages.

    Raises
    ------
    OutputBusyError
        If another process holds it: one that is not known to be dead, and whose heartbeat is not
        older than `STALE_S`.
    """
    path = join(root, layout.LEASE_FILE)
    record = _record(owner)
    lease = _take(files, path, record)
    failpoint("lease.taken")
    ended = threading.Event()
    beat = threading.Thread(
        target=_keep, args=(files, path, record, ended), name="lease-heartbeat", daemon=True
    )
    beat.start()
    try:
        yield lease
    finally:
        ended.set()
        beat.join()
        _release(files, root, path, lease.token)


def read_lease(files: Files, root: str) -> LeaseRecord | None:
    """Return the lease of an output directory if a live process seems to hold it."""
    record = _read(files, join(root, layout.LEASE_FILE))
    return record if record is not None and not _is_dead(record) else None


def require_free(files: Files, root: str) -> None:
    """Refuse, as `hold` would, an output directory that another process holds."""
    path = join(root, layout.LEASE_FILE)
    _require_not_held(path, _read(files, path), token="")


def _record(owner: str) -> LeaseRecord:
    return LeaseRecord(
        token=str(uuid4()),
        owner=owner,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        pid_started=_state(os.getpid())[1],
        since=now(),
    )


def _take(files: Files, path: str, record: LeaseRecord) -> Lease:
    token = record.token
    before = None
    # A full disk costs the lease only: whether the run can continue shows where it matters.
    with contextlib.suppress(OSError):
        if files.put_if_absent(path, _beaten(record)):
            return Lease(token)
        before = _read(files, path)
        _require_not_held(path, before, token)
        files.replace(path, _beaten(record))
        # Two may find the same dead lease; the one who wrote last has it.
        _require_not_held(path, _read(files, path), token)
    return Lease(token, taken_over=before)


def _keep(files: Files, path: str, record: LeaseRecord, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_S):
        # A failed heartbeat costs the lease, not the run.
        with contextlib.suppress(Exception):
            stored = _read(files, path)
            if stored is not None and stored.token != record.token:
                return
            files.replace(path, _beaten(record))


def _release(files: Files, root: str, path: str, token: str) -> None:
    with contextlib.suppress(Exception):
        stored = _read(files, path)
        if stored is not None and stored.token == token:
            files.delete_tree(join(root, layout.LEASE_DIR))


def _read(files: Files, path: str) -> LeaseRecord | None:
    """Return what the file says; None where it is no lease, which cannot be held."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return LeaseRecord.model_validate_json(files.read(path))
    return None


def _beaten(record: LeaseRecord) -> bytes:
    return canonical_json(record.model_dump() | {"heartbeat": time.time()})


def _is_dead(record: LeaseRecord) -> bool:
    if record.heartbeat is None or abs(time.time() - record.heartbeat) > STALE_S:
        return True
    return record.machine == _machine() and not _is_running(record)


def _is_running(record: LeaseRecord) -> bool:
    if record.pid <= 0:
        return False
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    state, started = _state(record.pid)
    # A zombie is dead, however long its parent, in a container often the first process, leaves it
    # there. Pids are used again, most of all in containers, where every driver is process 1.
    return state not in ("Z", "X") and started in (None, record.pid_started)


def _machine() -> str:
    """Name what pids are unique in: this boot of this machine, and this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        parts.append(file.read().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _state(pid: int) -> tuple[str | None, str | None]:
    """Return the letter of a process's state and its start in ticks since boot, if /proc tells."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat") as file:
        # The name, in parentheses, may hold spaces; the state is field 3, the start field 22.
        fields = file.read().rpartition(")")[2].split()
        return fields[0], fields[19]
    return None, None


def _require_not_held(path: str, stored: LeaseRecord | None, token: str) -> None:
    if stored is None or stored.token == token or _is_dead(stored):
        return
    raise OutputBusyError(
        f"Another run holds this output: process {stored.pid} on {stored.host}, since "
        f"{stored.since}. Let it end, or end it, then run again.",
        where=path,
    )
