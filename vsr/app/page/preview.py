"""An output of ``vsr live`` that a browser on this machine looks at: the player alone, nothing to press."""

from __future__ import annotations

import re
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from streams.errors import SinkError
from streams.frame import Frame, Item
from streams.latency import LatencyMeter, RateMeter
from streams.sinks.base import Sink, SinkState, SinkStatus
from vsr.app.console import write_line
from vsr.app.page.run import NO_FIGURES
from vsr.app.page.server import DEFAULT_PORT, open_player, require_extra
from vsr.app.page.stage import Pair, Stage
from vsr.app.page.stills import Look
from vsr.app.page.words import PageError
from vsr.errors import ConfigError

if TYPE_CHECKING:
    from streams.sources.pushed import PushedSource
    from vsr.app.live_ends import Feed

_HOST = "127.0.0.1"
_HIGHEST_PORT = 65535


def open_preview(feed: Feed, target: str) -> Sink:
    """Open the output ``preview`` or ``preview:PORT``, and say on stderr where it is seen.

    Raises:
        ConfigError: what it needs is not installed.
        SinkError: the port is none, or taken.
    """
    require_extra()
    _, _, port = target.partition(":")
    if not re.fullmatch(r"\d{0,5}", port) or int(port or 0) > _HIGHEST_PORT:
        raise SinkError(f"got {target}, allowed are preview and preview:PORT, with 0 for any port")
    sink = PreviewSink(feed, port=int(port or DEFAULT_PORT))
    write_line(f"vsr: preview at {sink.url}")
    return sink


class PreviewSink(Sink):
    """Shows the newest frame to everybody who looks; nobody who looks holds it up.

    Args:
        feed: what comes.
        port: on this machine alone; 0 for any that is free.

    Attributes:
        stage: where the frames are seen.
        url: where a browser finds them.

    Raises:
        SinkError: the port is taken.
    """

    def __init__(self, feed: Feed, *, port: int) -> None:
        self.stage = Stage()
        self._feed = feed
        self._look = Look.of(feed)
        self._rate, self._latency = RateMeter(), LatencyMeter()
        self._frames = 0
        self._state: SinkState = "running"
        try:
            self._server = open_player(self, host=_HOST, port=port)
            self._server.start()
        except ConfigError as error:
            self.stage.close()
            raise SinkError(str(error)) from error
        self.url = self._server.url

    def write(self, item: Item) -> None:
        """Show a frame; packets are passed over.

        Raises:
            SinkError: after the end.
        """
        if self._state != "running":
            raise SinkError(f"the preview at {self.url} has ended; nothing can be shown any more")
        if isinstance(item, Frame):
            now = monotonic()
            arrived = now if item.arrived is None else item.arrived
            self._frames += 1
            self._rate.count()
            self._latency.add(now - arrived)
            self.stage.publish(Pair(small=item, large=item, network="", arrived=arrived, look=self._look))

    def close(self) -> None:
        """Send home whoever looks, and give the port back."""
        if self._state == "running":
            self._state = "closed"
            self.stage.close()
            self._server.close()

    def abort(self) -> None:
        """As :meth:`close`."""
        self.close()

    def status(self) -> tuple[SinkStatus, ...]:
        """One entry, named by where it is seen."""
        return (SinkStatus(name=self.url, state=self._state, frames=self._frames),)

    def state(self) -> dict[str, Any]:
        """As :meth:`vsr.app.page.studio.Studio.state`, as far as an output knows of the run."""
        feed, latency, rate = self._feed, self._latency.recent(), round(self._rate.per_second(), 1)
        figures = {
            "input_fps": rate,
            "output_fps": rate,
            "p50_ms": round(1000 * latency.p50, 1),
            "p95_ms": round(1000 * latency.p95, 1),
            "connected": True,
        }
        return {
            "phase": "running" if self._frames else "waiting",
            "message": "",
            "source": "",
            "model": "",
            "scale": round(feed.width / feed.info.width, 2),
            "quality": "fixed",
            "input_size": [feed.info.width, feed.info.height],
            "output_size": [feed.width, feed.height],
            "recording": None,
            "recordings": [],
            "viewers": self.stage.viewers,
            "limited_fps": self.stage.limited_fps,
            "figures": {**NO_FIGURES, **figures},
        }

    def push_camera(self) -> PushedSource:
        """Not here.

        Raises:
            PageError: always.
        """
        raise PageError("no camera can be shown here; 'vsr preview' takes one")

    def recording(self, token: str, name: str) -> Path | None:
        """There are none here."""
        return None
