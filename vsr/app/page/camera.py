"""The hand-over of a browser's camera: a run waits for it, and the browser comes when it has been allowed to."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from streams.errors import Cancelled, SourceLostError
from streams.sources.pushed import PushedSource
from vsr.app.page.words import PageError

if TYPE_CHECKING:
    from streams.sources import Source
    from vsr.app.page.run import Run

# As long as a person may need to find the browser's question and to answer it.
_PATIENCE_SECONDS = 90.0
# The first message may be no picture; the next one is.
_FIRST_SECONDS = 5.0
_POLL_SECONDS = 0.1


class Camera:
    """The pictures of one browser, for one run."""

    def __init__(self) -> None:
        self._source = PushedSource(name="the camera of the browser", first_timeout_seconds=_FIRST_SECONDS)
        self._lock = threading.Lock()
        self._taken = False

    def take(self) -> PushedSource:
        """Where to push; for one browser alone.

        Raises:
            PageError: there is another one.
        """
        with self._lock:
            if self._taken:
                raise PageError("another browser's camera is shown already; stop that one first")
            self._taken = True
            return self._source

    def open(self, run: Run) -> Source:
        """Wait for the first picture; the source is then ready to be read.

        Raises:
            Cancelled: the run was not wanted any more.
            SourceLostError: the browser left, or nobody came.
        """
        run.say_waiting("waiting for the camera of a browser; allow it there")
        try:
            self._wait(run)
            _ = self._source.info
        except BaseException:
            self.close()
            raise
        return self._source

    def close(self) -> None:
        """Take no more pictures, and tell the browser so."""
        self._source.close()

    def _wait(self, run: Run) -> None:
        until = monotonic() + _PATIENCE_SECONDS
        while not self._source.held and not self._source.over:
            if run.stopped_within(_POLL_SECONDS):
                raise Cancelled("stopped before the first picture of the camera, as asked")
            if monotonic() > until:
                raise SourceLostError("no picture came from the camera; allow it in the browser, and start again")
