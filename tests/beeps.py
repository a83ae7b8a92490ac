"""Where pictures flash and sound beeps, in files and in what a live source gives out: the two belong together."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

from streams.frame import Frame, Item, Packet

FRAME_SECONDS = 0.04
_LOUD = 0.1
_QUIET_SECONDS = 0.3
# Silence in A-law and µ-law.
_SILENT = {0xD5, 0xFF}

Moment = tuple[str, float]


class Watcher:
    """Notes each flash and each beep once, when it begins."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._last = {"flash": -1e9, "beep": -1e9}

    def see(self, what: Any) -> None:
        """Look at a decoded picture or listen to decoded sound."""
        if isinstance(what, av.VideoFrame):
            if what.to_ndarray(format="gray").mean() > 128:
                self.note("flash", what.time)
            return
        wave = np.abs(what.to_ndarray().astype(np.float64))[0] / (1 if what.format.name.startswith("flt") else 1 << 15)
        for index in np.flatnonzero(wave > _LOUD):
            self.note("beep", what.time + index / what.sample_rate)

    def note(self, kind: str, seconds: float) -> None:
        """One of them at that time."""
        if seconds - self._last[kind] > _QUIET_SECONDS:
            self.moments.append((kind, seconds))
        self._last[kind] = seconds


def moments_in(path: Path) -> list[Moment]:
    """Of a file or playlist, up to where it breaks off if it does."""
    watcher = Watcher()
    with av.open(f"file:{path}") as source, suppress(av.InvalidDataError):
        for packet in source.demux():
            for each in packet.decode():
                watcher.see(each)
    return watcher.moments


def moments_of(items: Iterable[Item]) -> list[Moment]:
    """Of what a source gives out, with sound as telephones code it."""
    watcher = Watcher()
    for item in items:
        if isinstance(item, Frame):
            if item.planes[0].mean() > 128:
                watcher.note("flash", float(item.seconds))
        elif set(bytes(item.payload)) - _SILENT:
            watcher.note("beep", float(item.payload.pts * item.payload.time_base))
    return watcher.moments


def pairs(moments: Iterable[Moment]) -> list[tuple[float, float]]:
    """Flashes and beeps that belong together: (flash, beep) in seconds, for each flash that has a beep near it."""
    moments = list(moments)
    beeps = [seconds for kind, seconds in moments if kind == "beep"]
    flashes = [seconds for kind, seconds in moments if kind == "flash"]
    near = ((flash, min(beeps, key=lambda beep: abs(beep - flash))) for flash in flashes if beeps)
    return [(flash, beep) for flash, beep in near if abs(flash - beep) < 0.5]


def in_step(moments: Iterable[Moment], *, count: int) -> bool:
    """Whether so many flashes have a beep, each within a frame."""
    found = pairs(moments)
    return len(found) >= count and all(abs(flash - beep) < FRAME_SECONDS for flash, beep in found)


def packets_of(items: Iterable[Item]) -> list[Packet]:
    return [item for item in items if isinstance(item, Packet)]


_LISTEN = """
import json, sys, av
from tests.beeps import Watcher
url, form, options = json.loads(sys.argv[1])
class Told(Watcher):
    def note(self, kind, seconds):
        before = len(self.moments)
        super().note(kind, seconds)
        for moment in self.moments[before:]:
            print(json.dumps(moment), flush=True)
with av.open(url, format=form, options=options, timeout=(60, 60)) as source:
    print(json.dumps(["codecs", [stream.codec_context.codec.canonical_name for stream in source.streams]]), flush=True)
    watcher = Told()
    for packet in source.demux():
        for each in packet.decode():
            watcher.see(each)
"""


@contextmanager
def listener(url: str, form: str, options: dict[str, str]) -> Iterator[queue.Queue[Any]]:
    """A process that receives at an address, and says first which codecs come and then each moment."""
    got: queue.Queue[Any] = queue.Queue()
    process = subprocess.Popen(
        [sys.executable, "-c", _LISTEN, json.dumps([url, form, options])],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[1],
    )

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            got.put(tuple(json.loads(line)))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield got
    finally:
        process.kill()
        process.wait()
        reader.join(60)
