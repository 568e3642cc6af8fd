"""Ends that come from outside: Ctrl-C and SIGTERM, both leaving a run that can be continued."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from spark_pseudolabel.errors import PseudoLabelError


class Terminated(KeyboardInterrupt):
    """SIGTERM: the scheduler wants its machine back; the way out is the same as for Ctrl-C."""


class StoppedError(PseudoLabelError):
    """The work was stopped from outside."""

    def __init__(self, message: str, interrupt: KeyboardInterrupt):
        terminated = isinstance(interrupt, Terminated)
        super().__init__(message, code="terminated" if terminated else "interrupted")
        # What a shell reports for a process that the signal ended.
        self.exit_code = 128 + (signal.SIGTERM if terminated else signal.SIGINT)  # type: ignore[misc]


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Raise `Terminated` in the main thread on SIGTERM, so that everything is left in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def sigint_kept() -> Iterator[Callable[[], None]]:
    """Put the handler of Ctrl-C back, at the end and when the function that it gives is called.

    Spark's own cancels its jobs first. That fails once the context is stopped, and in the middle of
    another call into the JVM: the run would end with an error instead of as interrupted.
    """
    before = signal.getsignal(signal.SIGINT)

    def put_back() -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)

    try:
        yield put_back
    finally:
        put_back()


def within(seconds: float, end: Callable[[], object]) -> None:
    """Call `end` and wait for it, but not for longer than that: the JVM may be gone."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            end()

    ending = threading.Thread(target=quietly, daemon=True)
    ending.start()
    ending.join(seconds)


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    # A second signal ends the process at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated
