"""What every thread did when: sums for the benchmark, and a picture for people."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from vsr.app.outputs import check_folder, writing
from vsr.app.timeline import Span, draw
from vsr.errors import ConfigError
from vsr.spans import observed_by

_SHOWN_SECONDS = 0.5
_MOST_SPANS = 500_000
"""An hour of video; a trace larger than that, no viewer opens."""


class Profile:
    """Collects pieces of work, as :class:`streams.Pipeline` and :mod:`vsr.spans` tell of them. Safe from any thread.

    Attributes:
        dropped_spans: those that came when there was no room for more; the sums hold them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = perf_counter()
        self._spans: list[Span] = []
        self._sums: dict[str, float] = defaultdict(float)
        self.dropped_spans = 0

    def __call__(self, name: str, since: float, until: float, who: str = "") -> None:
        """Take a piece of work of the calling thread, or of ``who``."""
        lane = who or threading.current_thread().name
        with self._lock:
            self._sums[name] += until - since
            if len(self._spans) < _MOST_SPANS:
                self._spans.append(Span(name, lane, since, until))
            else:
                self.dropped_spans += 1

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Also take what networks tell of, while the block lasts."""
        with observed_by(self):
            yield

    @property
    def seconds(self) -> Mapping[str, float]:
        """How long each kind of work took in all, on all threads together."""
        with self._lock:
            return dict(self._sums)

    def trace(self) -> dict[str, Any]:
        """All of it in the form that Perfetto and chrome://tracing show, one lane for each thread."""
        with self._lock:
            spans = list(self._spans)
        lanes = {name: number for number, name in enumerate(sorted({lane for _, lane, _, _ in spans}), start=1)}
        names = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": name}}
            for name, number in lanes.items()
        ]
        work = [
            {
                "ph": "X",
                "name": name,
                "pid": 1,
                "tid": lanes[lane],
                "ts": (since - self._begun) * 1e6,
                "dur": (until - since) * 1e6,
            }
            for name, lane, since, until in spans
        ]
        return {"traceEvents": names + work, "displayTimeUnit": "ms"}

    def write(self, path: Path) -> None:
        """Write :meth:`trace` into a ``.json``, or a picture of the middle of it as ``.svg``; whole, or not at all.

        Raises:
            SinkError: the system does not allow it.
        """
        with self._lock:
            spans = list(self._spans)
        text = draw(spans, seconds=_SHOWN_SECONDS) if path.suffix == ".svg" else json.dumps(self.trace())
        with writing(path) as partial:
            partial.write_text(text, encoding="utf-8")


def check_profile(path: Path) -> None:
    """Find out early what would keep a profile from being written.

    Raises:
        ConfigError: its name says neither of the two forms.
        SinkError: there is no folder for it.
    """
    if path.suffix not in (".json", ".svg"):
        raise ConfigError(f"got the profile {path}, allowed are .json (for Perfetto) and .svg (a picture)")
    check_folder(path)
