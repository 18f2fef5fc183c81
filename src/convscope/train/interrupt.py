"""Ctrl-C once: finish the step. Twice: stop at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ECHO = 0.5  # seconds in which a second Ctrl-C is the first one, passed on by torchrun or a shell as well


class StopRequest:
    """Whether somebody asked to stop."""

    requested = False


@contextmanager
def graceful_stop() -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; a second Ctrl-C interrupts as usual.

    Only a person insists: SIGTERM and SIGHUP come twice by themselves (from a process group and from its leader, or one
    after the other), so they repeat the request, and who sends them has SIGKILL for the rest. A signal that was ignored
    stays ignored: ``nohup`` and a shell's ``&`` mean it. Outside the main thread, where Python delivers no signals, the
    request simply never comes.
    """
    stop, first = StopRequest(), 0.0
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if number == signal.SIGINT and stop.requested and now - first > ECHO:
            raise KeyboardInterrupt
        if not stop.requested:
            first, stop.requested = now, True

    asking = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows
    before = {number: signal.getsignal(number) for number in asking}
    heard = [number for number in asking if before[number] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number in heard:
            signal.signal(number, before[number] or signal.SIG_DFL)
