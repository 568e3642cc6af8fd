"""Stop a child at its system calls, to end it exactly there or to let one of them fail.

What ``strace -e inject=`` does, without starting an interpreter and a tracer for every kill: the
child is forked from a process that has imported everything, and traced by it. Linux on x86_64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from spark_pseudolabel.errors import PseudoLabelError

# Those that change, or make durable, what is on the disk.
CALLS = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    74: "fsync",
    75: "fdatasync",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    86: "link",
    87: "unlink",
    257: "openat",
    258: "mkdirat",
    263: "unlinkat",
    264: "renameat",
    265: "linkat",
    316: "renameat2",
}
ANY_ERROR = 99

_TRACEME, _PEEKUSER, _POKEUSER, _SYSCALL, _SETOPTIONS = 0, 3, 6, 24, 0x4200
_SYSGOOD, _EXITKILL = 0x1, 0x100000
# Offsets in the kernel's struct user_regs_struct.
_ORIG_RAX, _RAX, _RDI, _RDX = (8 * i for i in (15, 10, 14, 12))
_SYSCALL_STOP = signal.SIGTRAP | 0x80

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


@dataclass(frozen=True)
class Stop:
    """A child that stands right before or right after a system call.

    Parameters
    ----------
    number
        Of this stop in the child's life, from 1; only calls of `CALLS` count.
    call
        Its name.
    before
        True before it takes effect.
    descriptor, flags
        First and third argument: what ``write`` writes to, how ``openat`` opens.
    """

    number: int
    call: str
    before: bool
    descriptor: int
    flags: int

    @property
    def creates(self) -> bool:
        """Whether it needs room on the disk."""
        if self.call == "openat":
            return bool(self.flags & os.O_CREAT)
        return self.call in ("write", "writev", "pwrite64", "mkdir", "link", "linkat", "rename")


KILL = "kill"
Decide = Callable[[Stop], str | int | None]
"""None: go on. KILL: end it here. A number: let the call fail with that errno, undone."""


@dataclass(frozen=True)
class End:
    """How a child ended: exit code or minus the signal, and the stops it came through."""

    code: int
    stops: tuple[Stop, ...]


def is_possible() -> bool:
    """Tell whether children can be traced here."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return run(lambda: None, lambda stop: None).code == 0
    except OSError:
        return False


def run(work: Callable[[], object], decide: Decide) -> End:
    """Do some work in a traced child.

    Parameters
    ----------
    work
        What it does. An error of ours ends it with that error's exit code.
    decide
        What happens at each stop.
    """
    child = _fork(work)
    _wait(child)
    _ptrace(_SETOPTIONS, child, 0, _SYSGOOD | _EXITKILL)
    stops: list[Stop] = []
    before, failing, signum = True, 0, 0
    while True:
        _ptrace(_SYSCALL, child, 0, signum)
        signum = 0
        status = _wait(child)
        if not os.WIFSTOPPED(status):
            return End(os.waitstatus_to_exitcode(status), tuple(stops))
        if os.WSTOPSIG(status) != _SYSCALL_STOP:
            signum = os.WSTOPSIG(status)
            continue
        if failing and not before:
            _poke(child, _RAX, -failing)
            failing = 0
        stop = _stop(child, len(stops) + 1, before)
        before = not before
        if stop is None:
            continue
        stops.append(stop)
        decision = decide(stop)
        if decision == KILL:
            os.kill(child, signal.SIGKILL)
        elif isinstance(decision, int):
            failing = decision
            _poke(child, _ORIG_RAX, -1)


def fork(work: Callable[[], object]) -> int:
    """Do some work in an untraced child and return its pid; its errors become exit codes."""
    child = os.fork()
    if child == 0:
        _work_and_exit(work)
    return child


def exit_code(child: int) -> int:
    """Wait for a child from `fork`."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fork(work: Callable[[], object]) -> int:
    def traced() -> None:
        _ptrace(_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()

    return fork(traced)


def _work_and_exit(work: Callable[[], object]) -> None:
    code = ANY_ERROR
    try:
        work()
        code = 0
    except PseudoLabelError as error:
        code = error.exit_code
    except BaseException:  # noqa: BLE001  a child has no caller
        traceback.print_exc()
    finally:
        os._exit(code)


def _stop(child: int, number: int, before: bool) -> Stop | None:
    name = CALLS.get(_peek(child, _ORIG_RAX))
    if name is None:
        return None
    return Stop(number, name, before, _peek(child, _RDI), _peek(child, _RDX))


def _wait(child: int) -> int:
    return os.waitpid(child, 0)[1]


def _peek(child: int, offset: int) -> int:
    return _ptrace(_PEEKUSER, child, offset, 0)


def _poke(child: int, offset: int, value: int) -> None:
    _ptrace(_POKEUSER, child, offset, value & (2**64 - 1))


def _ptrace(request: int, child: int, address: int, data: int) -> int:
    ctypes.set_errno(0)
    result = int(_libc.ptrace(request, child, address, data))
    # What a child that has just been killed cannot be asked any more, nobody needs to know.
    if result == -1 and ctypes.get_errno() not in (0, 3):
        raise OSError(ctypes.get_errno(), "ptrace")
    return result
