"""The figures of a live run for Prometheus: text over HTTP, for this machine alone."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from streams.sinks.base import SinkStatus
from vsr.app.live import LiveStatus
from vsr.errors import ConfigError

_HOST = "127.0.0.1"


@contextmanager
def serve_metrics(status: Callable[[], LiveStatus | Sequence[LiveStatus]], *, port: int) -> Iterator[str]:
    """Answer ``GET /metrics`` on the loopback interface for as long as the block lasts.

    Args:
        status: as :func:`metrics_text` takes it; called on the server's threads.
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


@dataclass(frozen=True, slots=True)
class _Metric:
    """What is told under one name: of a run, values by their labels."""

    name: str
    kind: str
    words: str
    values: Callable[[LiveStatus], Mapping[str, float]]


_METRICS = (
    _Metric("frames_read_total", "counter", "Frames read from the source.", lambda run: {"": run.stats.frames_in}),
    _Metric("frames_written_total", "counter", "Frames written.", lambda run: {"": run.stats.frames_out}),
    _Metric(
        "frames_dropped_total",
        "counter",
        "Frames dropped for newer ones, by the stage that was too slow.",
        lambda run: {f'stage="{stage}"': count for stage, count in run.stats.dropped.items()},
    ),
    _Metric("input_fps", "gauge", "Frames read per second, lately.", lambda run: {"": run.stats.input_fps}),
    _Metric("output_fps", "gauge", "Frames written per second, lately.", lambda run: {"": run.stats.output_fps}),
    _Metric(
        "latency_seconds",
        "gauge",
        "From a frame's arrival until every output had it, lately.",
        lambda run: {
            'quantile="0.5"': run.stats.latency.p50,
            'quantile="0.95"': run.stats.latency.p95,
            'quantile="0.99"': run.stats.latency.p99,
        },
    ),
    _Metric("source_connected", "gauge", "Whether there is a source.", lambda run: {"": int(run.stats.connected)}),
    _Metric(
        "source_reconnects_total", "counter", "How often the source came back.", lambda run: {"": run.stats.reconnects}
    ),
    _Metric("network_moves_total", "counter", "Changes of network.", lambda run: {"": run.moves}),
    _Metric("network_in_use", "gauge", "1 for the network in use.", lambda run: {f'network="{run.network}"': 1}),
    _Metric(
        "output_frames_dropped_total",
        "counter",
        "Frames that one output did not take.",
        lambda run: {label: output.dropped for label, output in _labelled(run.outputs)},
    ),
)


def metrics_text(status: LiveStatus | Sequence[LiveStatus]) -> str:
    """The figures in Prometheus' text format.

    Args:
        status: how the run stands, or each of several, which are told apart by the label ``source``: 1, 2, 3.
    """
    runs = (
        [("", status)]
        if isinstance(status, LiveStatus)
        else [(f'source="{number}"', each) for number, each in enumerate(status, start=1)]
    )
    return "".join(f"{line}\n" for metric in _METRICS for line in _lines(metric, runs))


def _lines(metric: _Metric, runs: Sequence[tuple[str, LiveStatus]]) -> Iterator[str]:
    values = [
        (",".join(filter(None, (source, label))), value)
        for source, status in runs
        for label, value in metric.values(status).items()
    ]
    if values:
        yield f"# HELP vsr_{metric.name} {metric.words}"
        yield f"# TYPE vsr_{metric.name} {metric.kind}"
    for labels, value in values:
        number = f"{value:.6g}" if isinstance(value, float) else f"{value}"
        yield f"vsr_{metric.name}{labels and f'{{{labels}}}'} {number}"


def _labelled(outputs: Sequence[SinkStatus]) -> Iterator[tuple[str, SinkStatus]]:
    """Each with a label that no other has; passwords are hidden, so two may be of one name."""
    seen: Counter[str] = Counter()
    for output in outputs:
        seen[output.name] += 1
        again = f" ({seen[output.name]})" if seen[output.name] > 1 else ""
        yield f'output="{_escape(output.name + again)}"', output


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
