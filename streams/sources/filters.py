"""Deinterlacing by FFmpeg's bwdif, one picture out for every picture in."""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar

import av
from av.filter import Graph

from streams.errors import SourceError

Deinterlace = Literal["auto", "off", "on"]
T = TypeVar("T")

_SMALLEST = 4


class Deinterlacer(Generic[T]):
    """Turns fields woven into a picture into the whole picture of the first field; whole pictures pass untouched.

    The filter's graph is built when the first interlaced picture comes and kept until the size or the layout changes.
    Pictures carry a note (their time) through it, because the filter's own clock ticks twice as fast.
    """

    def __init__(self, mode: Deinterlace) -> None:
        self._mode = mode
        self._graph: Graph | None = None
        self._shape: tuple[object, ...] = ()
        self._notes: deque[T] = deque()
        self._ticks = 0

    def wants(self, frame: av.VideoFrame) -> bool:
        """Whether a picture will go through the filter, so that it has to be planar, and on the host."""
        if self._mode == "off" or min(frame.width, frame.height) < _SMALLEST:
            return False
        return self._mode == "on" or self._graph is not None or frame.interlaced_frame

    def push(self, frame: av.VideoFrame, note: T) -> list[tuple[av.VideoFrame, T]]:
        """Hand in a planar picture; returns those that are ready, in order, each with its note."""
        if self._mode == "off" or min(frame.width, frame.height) < _SMALLEST:
            return [*self.flush(), (frame, note)]
        shape = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        done = self.flush() if self._graph is not None and shape != self._shape else []
        if self._graph is None:
            if self._mode == "auto" and not frame.interlaced_frame:
                return [*done, (frame, note)]
            self._graph, self._shape = self._build(frame), shape
        # The filter's clock only has to rise evenly: the notes hold the times.
        frame.pts = self._ticks = self._ticks + 1
        self._notes.append(note)
        self._graph.vpush(frame)
        return done + self._ready()

    def flush(self) -> list[tuple[av.VideoFrame, T]]:
        """What the filter still holds (it looks one picture ahead)."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        done = self._ready()
        self._graph = None
        if self._notes:
            raise SourceError(f"the deinterlacer kept {len(self._notes)} pictures; try without deinterlacing")
        return done

    def _build(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base="1/1000",
            pixel_aspect="1/1",
            colorspace=str(frame.colorspace),
            range=str(frame.color_range),
        )
        which = "interlaced" if self._mode == "auto" else "all"
        bwdif = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={which}")
        # Layouts that bwdif does not know reach it widened to 16 bit, and come back as they were.
        same = graph.add("format", f"pix_fmts={frame.format.name}")
        graph.link_nodes(source, bwdif, same, graph.add("buffersink"))
        graph.configure()
        return graph

    def _ready(self) -> list[tuple[av.VideoFrame, T]]:
        assert self._graph is not None
        done = []
        while self._notes:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            done.append((frame, self._notes.popleft()))
        return done
