"""One run of the page, on a thread of its own: from a source that is chosen to its end, and what is told meanwhile."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from streams.errors import Cancelled, StreamError
from vsr.app.live import LiveOptions, LiveSession, LiveStatus
from vsr.app.page.bounds import Bounded, check_size
from vsr.app.page.tap import StageTap
from vsr.app.sizes import default_scale
from vsr.errors import VsrError

if TYPE_CHECKING:
    from streams.enhancer import Enhancer
    from streams.sources import Source
    from vsr.app.page.stage import Stage

log = logging.getLogger(__name__)

Phase = Literal["idle", "starting", "waiting", "running", "stopping", "failed"]

_STATUS_SECONDS = 0.5
_LOST = "the source is lost; it is being looked for"
NO_FIGURES: Mapping[str, Any] = MappingProxyType(
    {
        "input_fps": 0.0,
        "output_fps": 0.0,
        "p50_ms": 0.0,
        "p95_ms": 0.0,
        "dropped": 0,
        "reconnects": 0,
        "network": "",
        "moves": 0,
        "connected": False,
    }
)
"""What is told of a run that does not run."""


class Run:
    """Opens a source, makes the networks ready, and runs until the source ends or somebody wants it to stop.

    It begins when the run before it has ended, so that a camera is never opened twice.

    Args:
        label: what the source is called.
        open_source: may take long; given this run, which knows whether it is still wanted.
        options: what is computed.
        stage: where viewers see it.
        before: the run that this one takes the place of.
        explain: makes one line for strangers of an error.
        on_status: called every half second of the run.
        on_end: called when it has ended, before the next one begins.
    """

    def __init__(
        self,
        label: str,
        open_source: Callable[[Run], Source],
        *,
        options: LiveOptions,
        stage: Stage,
        before: Run | None,
        explain: Callable[[BaseException], str],
        on_status: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.label, self.options = label, options
        self._open_source, self._stage, self._before = open_source, stage, before
        self._explain, self._on_status, self._on_end = explain, on_status, on_end
        self._stop, self._ended = threading.Event(), threading.Event()
        self._phase: Phase = "starting"
        self._message = ""
        self._session: LiveSession | None = None
        self._thread = threading.Thread(target=self._work, name="vsr-page-run", daemon=True)
        if before is not None:
            before.stop()
        self._thread.start()

    @property
    def phase(self) -> Phase:
        """How it stands."""
        if self._ended.is_set():
            return self._phase if self._phase == "failed" else "idle"
        if self._stop.is_set():
            return "stopping"
        session = self._session
        if self._phase == "running" and session is not None and not session.status().stats.frames_out:
            return "waiting"
        return self._phase

    @property
    def message(self) -> str:
        """What is to be said about it, or nothing."""
        session = self._session
        if self._phase == "running" and session is not None and not session.status().stats.connected:
            return _LOST
        return self._message

    @property
    def session(self) -> LiveSession | None:
        """What works, from when it is ready to its end."""
        return self._session

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._ended.is_set()

    def stop(self) -> None:
        """Ask it to end well. From any thread."""
        self._stop.set()
        self._stage.touch()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for its end, or for ever; whether it has come."""
        return self._ended.wait(timeout_seconds)

    def figures(self) -> dict[str, Any]:
        """Plain values for the page; zeros unless it runs."""
        session = self._session
        if session is None or self._phase != "running":
            return dict(NO_FIGURES)
        return _figures(session.status())

    @property
    def stopping(self) -> bool:
        """Whether it is not wanted any more."""
        return self._stop.is_set()

    def stopped_within(self, seconds: float) -> bool:
        """Wait so long, or until it is not wanted any more; whether that is so."""
        return self._stop.wait(seconds)

    def say_waiting(self, message: str) -> None:
        """Say what somebody else has to do before it can go on; for who opens its source."""
        self._set("waiting", message)

    def _work(self) -> None:
        try:
            if self._before is not None:
                self._before.wait()
                self._before = None
            if not self._stop.is_set():
                self._show()
        except Cancelled:
            self._set("idle")
        except Exception as error:
            known = isinstance(error, StreamError | VsrError)
            log.log(logging.WARNING if known else logging.ERROR, "the run has ended: %s", error, exc_info=not known)
            self._set("failed", self._explain(error))
        finally:
            try:
                self._on_end()
            finally:
                self._leave()

    def _leave(self) -> None:
        # Networks hold much memory, and refer to what refers to them: Python alone would keep them for hours.
        self._session = None
        gc.collect()
        self._stage.clear()
        self._ended.set()
        self._stage.touch()

    def _show(self) -> None:
        with self._open_source(self) as source:
            self._set("starting")
            tap = StageTap(self._stage, network=self._network)
            scale = self.options.scale or default_scale()
            check_size(source.info.width, source.info.height, scale=scale)

            def wrap(enhancer: Enhancer) -> Enhancer:
                return tap.wrap(Bounded(enhancer, scale))

            with LiveSession(source, tap.open_sink, options=self.options, wrap=wrap, stop=self._stop) as session:
                self._session = session
                self._set("running")
                report = session.run(on_status=lambda status: self._on_status(), every_seconds=_STATUS_SECONDS)
        self._set("idle", "the source has ended" if report.ended_by == "source" else "")

    def _set(self, phase: Phase, message: str = "") -> None:
        self._phase, self._message = phase, message
        self._stage.touch()

    def _network(self) -> str:
        session = self._session
        return self.options.model if session is None else session.network


def _figures(status: LiveStatus) -> dict[str, Any]:
    stats = status.stats
    return {
        "input_fps": round(stats.input_fps, 1),
        "output_fps": round(stats.output_fps, 1),
        "p50_ms": round(1000 * stats.latency.p50, 1),
        "p95_ms": round(1000 * stats.latency.p95, 1),
        "dropped": status.dropped_frames,
        "reconnects": stats.reconnects,
        "network": status.network,
        "moves": status.moves,
        "connected": stats.connected,
    }
