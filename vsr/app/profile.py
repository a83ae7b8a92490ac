"""What every thread did when: sums for the benchmark, and a picture for people."""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from streams.errors import SinkExistsError
from vsr.app.outputs import check_folder, writing
from vsr.app.timeline import Span, draw
from vsr.errors import ConfigError
from vsr.spans import observed_by

log = logging.getLogger(__name__)

_SHOWN_SECONDS = 0.5
_KEPT = 100_000
"""Spans of the beginning, and as many of the end: minutes of video, and as much as a viewer opens."""


class Profile:
    """Collects pieces of work, as :class:`streams.Pipeline` and :mod:`vsr.spans` tell of them. Safe from any thread.

    However long the run is, memory is bounded: of a long one the beginning and the end are kept. The sums hold all.

    Attributes:
        dropped_spans: how many between the two were not kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = perf_counter()
        self._first: list[Span] = []
        self._last: deque[Span] = deque(maxlen=_KEPT)
        self._sums: dict[str, float] = defaultdict(float)
        self.dropped_spans = 0

    def __call__(self, name: str, since: float, until: float, who: str = "") -> None:
        """Take a piece of work of the calling thread, or of ``who``."""
        lane = who or threading.current_thread().name
        with self._lock:
            self._sums[name] += until - since
            if len(self._first) < _KEPT:
                self._first.append(Span(name, lane, since, until))
                return
            self.dropped_spans += len(self._last) == _KEPT
            self._last.append(Span(name, lane, since, until))

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
        first, last = self._kept()
        spans = first + last
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
        """Write :meth:`trace` into a ``.json``, or a picture of half a second as ``.svg``; whole, or not at all.

        The picture is of the middle; of a run too long to be kept, of the middle of what was kept of its beginning.

        Raises:
            SinkError: the system does not allow it.
        """
        first, last = self._kept()
        if self.dropped_spans:
            log.warning(
                "%s holds the first %.0f and the last %.0f seconds of the run; %d pieces of work between are left out",
                path,
                first[-1].until - self._begun,
                last[-1].until - last[0].since,
                self.dropped_spans,
            )
        drawn = first if self.dropped_spans else first + last
        text = draw(drawn, seconds=_SHOWN_SECONDS) if path.suffix == ".svg" else json.dumps(self.trace())
        with writing(path) as partial:
            partial.write_text(text, encoding="utf-8")

    def _kept(self) -> tuple[list[Span], list[Span]]:
        with self._lock:
            return list(self._first), list(self._last)


def check_profile(path: Path, *, overwrite: bool) -> None:
    """Find out early what would keep a profile from being written.

    Raises:
        ConfigError: its name says neither of the two forms.
        SinkExistsError: it is there, and is not to be replaced.
        SinkError: there is no folder for it.
    """
    if path.suffix not in (".json", ".svg"):
        raise ConfigError(f"got the profile {path}, allowed are .json (for Perfetto) and .svg (a picture)")
    check_folder(path)
    if path.exists() and not overwrite:
        raise SinkExistsError(f"{path} exists; give --overwrite to replace it, or another name for the profile")
