"""The figures of a live run for Prometheus: text over HTTP, for this machine alone."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from streams.sinks.base import SinkStatus
from vsr.app.live import LiveStatus
from vsr.errors import ConfigError

_HOST = "127.0.0.1"


@contextmanager
def serve_metrics(status: Callable[[], LiveStatus], *, port: int) -> Iterator[str]:
    """Answer ``GET /metrics`` on the loopback interface for as long as the block lasts.

    Args:
        status: how the run stands; called on the server's threads.
        port: of TCP; 0 for any that is free.

    Returns:
        The address.

    Raises:
        ConfigError: the port is taken or not allowed.
    """

    class Handler(_Handler):
        def text(self) -> str:
            return metrics_text(status())

    try:
        server = ThreadingHTTPServer((_HOST, port), Handler)
    except (OSError, OverflowError) as error:
        words = getattr(error, "strerror", None) or error
        raise ConfigError(f"got --metrics-port {port}: {words}; try another, or 0 for any that is free") from error
    thread = threading.Thread(target=server.serve_forever, name="vsr-metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = 5.0

    @abstractmethod
    def text(self) -> str:
        """The body of the answer."""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, "there is /metrics alone")
            return
        body = self.text().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name in http.server
        """A line for each request is of no use to anybody."""


def metrics_text(status: LiveStatus) -> str:
    """The figures in Prometheus' text format."""
    stats = status.stats
    lines = [
        *_metric("frames_read_total", "counter", "Frames read from the source.", {"": stats.frames_in}),
        *_metric("frames_written_total", "counter", "Frames written.", {"": stats.frames_out}),
        *_metric(
            "frames_dropped_total",
            "counter",
            "Frames dropped for newer ones, by the stage that was too slow.",
            {f'{{stage="{stage}"}}': count for stage, count in stats.dropped.items()},
        ),
        *_metric("input_fps", "gauge", "Frames read per second, lately.", {"": stats.input_fps}),
        *_metric("output_fps", "gauge", "Frames written per second, lately.", {"": stats.output_fps}),
        *_metric(
            "latency_seconds",
            "gauge",
            "From a frame's arrival until every output had it, lately.",
            {
                '{quantile="0.5"}': stats.latency.p50,
                '{quantile="0.95"}': stats.latency.p95,
                '{quantile="0.99"}': stats.latency.p99,
            },
        ),
        *_metric("source_connected", "gauge", "Whether there is a source.", {"": int(stats.connected)}),
        *_metric("source_reconnects_total", "counter", "How often the source came back.", {"": stats.reconnects}),
        *_metric("network_moves_total", "counter", "Changes of network.", {"": status.moves}),
        *_metric("network_in_use", "gauge", "1 for the network in use.", {f'{{network="{status.network}"}}': 1}),
        *_metric(
            "output_frames_dropped_total",
            "counter",
            "Frames that one output did not take.",
            {label: output.dropped for label, output in _labelled(status.outputs)},
        ),
    ]
    return "\n".join(lines) + "\n"


def _labelled(outputs: Sequence[SinkStatus]) -> Iterator[tuple[str, SinkStatus]]:
    """Each with a label that no other has; passwords are hidden, so two may be of one name."""
    seen: Counter[str] = Counter()
    for output in outputs:
        seen[output.name] += 1
        again = f" ({seen[output.name]})" if seen[output.name] > 1 else ""
        yield f'{{output="{_escape(output.name + again)}"}}', output


def _metric(name: str, kind: str, words: str, values: dict[str, float]) -> Iterator[str]:
    if values:
        yield f"# HELP vsr_{name} {words}"
        yield f"# TYPE vsr_{name} {kind}"
    for labels, value in values.items():
        yield f"vsr_{name}{labels} {value:.6g}" if isinstance(value, float) else f"vsr_{name}{labels} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
