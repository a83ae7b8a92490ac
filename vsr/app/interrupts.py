"""Ctrl-C, SIGTERM and a terminal that is closed: the first asks to finish, the second ends the program at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Windows has no SIGHUP.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Ctrl-C ends the program as the system does it, not by an exception: for what loads libraries and writes nothing.

    A library that is half loaded may swallow the exception, or make another error of it. In threads other than the main
    one, and where Ctrl-C was given another meaning, it is left as it is.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first signal sets.

    In threads other than the main one, signals are left as they are; so are those that the program was told to ignore.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def ask(_number: int, _frame: FrameType | None) -> None:
        for number in heeded:
            signal.signal(number, signal.SIG_DFL)
        stop.set()
        # Not through sys.stderr: the signal may have come while that was being written to.
        with suppress(OSError):
            os.write(2, b"\nvsr: finishing the file; once more to leave at once\n")

    before = {number: signal.signal(number, ask) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
