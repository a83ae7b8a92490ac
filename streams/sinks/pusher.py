"""Our end of the process that sends: started, written into under a deadline, asked for its verdict, always reaped."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

from streams.errors import SinkError
from streams.push import Order, Verdict

_STARTUP_SECONDS = 30.0
"""What the interpreter may take until it reads its order, on a machine that is busy."""
# The process ends itself when the peer is too slow, and says so; only one that cannot is ended from here.
_GRACE_SECONDS = 2.0
_READY = ("ready", "silent")


class Pusher:
    """A running :mod:`streams.push`.

    Written into by one thread; :meth:`kill` may be called by any.

    Args:
        order: what it shall do.

    Attributes:
        broken: nothing can be sent through it any more; :meth:`reason` says why.

    Raises:
        SinkError: the process cannot be started, or does not take its order.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._answers = b""
        self.broken = False
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "streams.push"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C on the terminal is for us, who then end it in good order.
                start_new_session=True,
            )
        except OSError as error:
            raise SinkError(f"cannot start the process that sends: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        self._limit_seconds = _STARTUP_SECONDS + order.connect_seconds + _GRACE_SECONDS
        try:
            self.write(order.line())
        except OSError as error:
            self.end(0)
            raise SinkError(f"the process that sends did not take its order: {error.strerror or error}") from error

    def write(self, data: bytes) -> int:
        """Hand over all of ``data``, waiting while the process takes none.

        Raises:
            TimeoutError: it took nothing for longer than the order allows.
            OSError: it has ended.
        """
        rest = memoryview(data)
        until = monotonic() + self._limit_seconds
        try:
            while rest:
                if not select.select((), (self._stdin,), (), max(0.0, until - monotonic()))[1]:
                    raise TimeoutError(f"it took nothing for {self._limit_seconds:g} s")
                with suppress(BlockingIOError):
                    rest = rest[os.write(self._stdin.fileno(), rest) :]
                    until = monotonic() + self._limit_seconds
        except OSError:
            self.broken = True
            raise
        return len(data)

    def await_ready(self) -> bool:
        """Wait until the peer has answered; whether it takes all, and not the pictures alone.

        Raises:
            SinkError: it has not, or not as it should; :meth:`reason` knows more.
        """
        until = monotonic() + self._limit_seconds
        while b"\n" not in self._answers and self._listen(until - monotonic()):
            pass
        verdict = self._last()[0]
        if verdict not in _READY:
            self.broken = True
            raise SinkError("the other side cannot be reached")
        self._limit_seconds = self._order.write_seconds + _GRACE_SECONDS
        return verdict == "ready"

    def reason(self) -> tuple[Verdict, str]:
        """Why it is :attr:`broken`: waits a moment for what it has to say, and for its end."""
        until = monotonic() + _GRACE_SECONDS
        while self._listen(until - monotonic()):
            pass
        verdict, words = self._last()
        if words:
            return verdict, words
        if verdict in _READY:
            return "failed", f"the other side took nothing for {self._order.write_seconds:g} s"
        return "failed", f"no answer within {self._order.connect_seconds:g} s"

    def end(self, seconds: float) -> int:
        """Say that nothing more comes, wait so long for it to end by itself, then end it; its exit status."""
        with suppress(OSError):
            self._stdin.close()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()
        finally:
            self._stdout.close()

    def kill(self) -> None:
        """End it at once. Never raises."""
        with suppress(OSError):
            self._process.kill()

    def _last(self) -> tuple[Verdict, str]:
        lines = self._answers.splitlines()
        return tuple(json.loads(lines[-1])) if lines else ("failed", "")

    def _listen(self, seconds: float) -> bool:
        """Read what it said within that time; whether there may be more."""
        if self._stdout.closed or not select.select((self._stdout,), (), (), max(0.0, seconds))[0]:
            return False
        got = os.read(self._stdout.fileno(), 4096)
        if not got:
            self._stdout.close()
        self._answers += got
        return bool(got)
