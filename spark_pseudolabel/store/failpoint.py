"""Named places where a test may end, stop or delay the process; nothing unless armed.

``SPL_FAILPOINT=name[:n][:exit|kill|raise|sleep]`` arms one: the n-th time (default the first)
that the name is reached, the process is killed with SIGKILL (default), exits at once without any
clean-up, raises, or sleeps ``SPL_FAILPOINT_SECONDS`` (default 30) and goes on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter

EXIT_CODE = 42

_reached: Counter[str] = Counter()
_lock = threading.Lock()


class FailpointError(RuntimeError):
    """Raised by a failpoint armed with ``raise``."""


def failpoint(name: str) -> None:
    """Act if `SPL_FAILPOINT` arms this name; else return at once.

    Parameters
    ----------
    name
        A step of the run, such as ``round.publish.tmp``; without a colon.
    """
    armed = os.environ.get("SPL_FAILPOINT")
    if not armed:
        return
    wanted, turn, action = parse(armed)
    if wanted == name and _count(name) == turn:
        _act(name, action)


def parse(armed: str) -> tuple[str, int, str]:
    """Split ``name[:n][:action]`` into name, turn and action.

    Examples
    --------
    >>> parse("a.b"), parse("a.b:2"), parse("a.b:exit"), parse("a.b:3:raise")
    (('a.b', 1, 'kill'), ('a.b', 2, 'kill'), ('a.b', 1, 'exit'), ('a.b', 3, 'raise'))
    """
    name, *rest = armed.split(":")
    turn = int(rest.pop(0)) if rest and rest[0].isdigit() else 1
    action = rest.pop(0) if rest else "kill"
    if rest or action not in ("exit", "kill", "raise", "sleep") or turn < 1:
        raise ValueError(
            f"SPL_FAILPOINT must be name[:n][:exit|kill|raise|sleep], n at least 1. Got {armed!r}."
        )
    return name, turn, action


def _count(name: str) -> int:
    with _lock:
        _reached[name] += 1
        return _reached[name]


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "exit":
        os._exit(EXIT_CODE)
    elif action == "raise":
        raise FailpointError(f"Failpoint {name!r} was armed to raise.")
    else:
        time.sleep(float(os.environ.get("SPL_FAILPOINT_SECONDS", "30")))
