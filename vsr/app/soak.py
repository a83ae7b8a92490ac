"""An hour of live video in minutes: ``python -m vsr.app.soak`` says whether anything grows.

The source is real but for its wire: it connects, delivers pictures and sound, is lost and found again hundreds of
times. Pictures are tiny, so that it is the machinery that works, and not the network. Memory, descriptors and threads
at the end are held against those of the second quarter, when all that is made once has been made.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from statistics import median
from time import sleep
from typing import Any

import av

from streams.errors import SourceLostError
from streams.sinks import FanOut, LatestFrame, Sink
from streams.sources.backoff import Backoff
from streams.sources.connection import Traits
from streams.sources.live import LiveSource
from streams.sources.sound import Microphone, SoundPacket
from vsr.app.live import LiveOptions, LiveSession, LiveStatus
from vsr.app.live_ends import Feed, open_outputs

log = logging.getLogger(__name__)

_SIZE = 64, 36
_SOUND_RATE, _SILENT = 8000, 0xD5
_MOST_MIB = 16.0
_MOST_MORE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the process held at a moment.

    Attributes:
        frames: read until then.
        mib: of resident memory.
        descriptors: open ones.
        threads: running ones.
    """

    frames: int
    mib: float
    descriptors: int
    threads: int


def run_soak(
    *, frames: int, per_connection: int, fps: float, model: str = "ecbsr", quality: str = "auto"
) -> dict[str, Any]:
    """Run it.

    Args:
        frames: to read in all.
        per_connection: after so many the connection is lost.
        fps: how fast they come, if the machine can make them so fast.
        model: the network, or the best of those to choose from.
        quality: ``"auto"`` or ``"fixed"``.

    Returns:
        Plain values: what was read, written, dropped and reconnected, the samples of the middle and the end, and
        ``"grew"``, the names of what did.
    """
    samples: list[Sample] = []
    source = LiveSource(
        lambda: _Session(per_connection, 1 / fps),
        name="soak",
        backoff=Backoff(first_seconds=0.001, longest_seconds=0.01),
    )
    with tempfile.TemporaryDirectory(prefix="vsr-soak-") as folder, source:
        session = LiveSession(source, _outputs(Path(folder)), options=LiveOptions(model=model, quality=quality))  # type: ignore[arg-type]

        def look(status: LiveStatus) -> None:
            samples.append(_sample(status.stats.frames_in))
            if status.stats.frames_in >= frames:
                session.stop()

        report = session.run(on_status=look, every_seconds=0.5)
        parts = len(list(Path(folder).glob("*.mkv")))
    early, late = _typical(samples[len(samples) // 4 : len(samples) // 2]), _typical(samples[-len(samples) // 5 :])
    return {
        "frames_in": report.run.frames_in,
        "frames_out": report.run.frames_out,
        "dropped": dict(report.run.dropped),
        "reconnects": report.status.stats.reconnects,
        "moves": report.status.moves,
        "packets": report.run.packets,
        "recordings": parts,
        "seconds": report.run.wall_seconds,
        "latency_p95_ms": 1000 * report.run.latency.p95,
        "early": asdict(early),
        "late": asdict(late),
        "grew": _grown(early, late),
    }


def _outputs(folder: Path) -> Callable[[Feed], Sink]:
    def open_all(feed: Feed) -> Sink:
        recording = open_outputs(feed, targets=[str(folder / "part.mkv")], segment_seconds=10.0)
        return FanOut([recording, LatestFrame()])

    return open_all


class _Session:
    """A connection that delivers so many pictures, with the sound of their times, and is then lost."""

    def __init__(self, pictures: int, interval_seconds: float) -> None:
        self._file = av.open(io.BytesIO(_telephone()))
        self._microphone = Microphone(self._file.streams.audio[0])
        self.traits = Traits(codec="rawvideo", rate=Fraction(30), sound=self._microphone.info)
        self._pictures, self._interval_seconds = pictures, interval_seconds

    def events(self) -> Iterator[av.VideoFrame | SoundPacket]:
        """Gray pictures, each a little lighter than the one before, and silence."""
        tick = Fraction(self._interval_seconds).limit_denominator(90_000)
        samples = max(1, round(self._interval_seconds * _SOUND_RATE))
        for number in range(self._pictures):
            sleep(self._interval_seconds)
            picture = av.VideoFrame(*_SIZE, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes([16 + number % 200]) * plane.buffer_size)
            picture.pts, picture.time_base = number, tick
            yield picture
            packet: Any = av.Packet(bytes([_SILENT]) * samples)
            packet.pts, packet.duration, packet.time_base = number, 1, tick
            yield from self._microphone.take(packet)
        raise SourceLostError("soak: lost, as planned")

    def close(self) -> None:
        """The file is all that is held."""
        self._file.close()


@cache
def _telephone() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as output:
        stream = output.add_stream("pcm_alaw", rate=_SOUND_RATE, layout="mono")
        sound = av.AudioFrame(format="s16", layout="mono", samples=_SOUND_RATE)
        sound.sample_rate = _SOUND_RATE
        output.mux(stream.encode(sound))
    return file.getvalue()


def _sample(frames: int) -> Sample:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return Sample(
        frames=frames,
        mib=resident / 1024,
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 -- a Path would be made for each
        threads=threading.active_count(),
    )


def _typical(samples: list[Sample]) -> Sample:
    """The median of each figure: connections come and go."""
    return Sample(
        frames=samples[-1].frames,
        mib=median(sample.mib for sample in samples),
        descriptors=round(median(sample.descriptors for sample in samples)),
        threads=round(median(sample.threads for sample in samples)),
    )


def _grown(early: Sample, late: Sample) -> list[str]:
    limits = {"mib": _MOST_MIB, "descriptors": _MOST_MORE, "threads": _MOST_MORE}
    return [name for name, limit in limits.items() if getattr(late, name) - getattr(early, name) > limit]


def main() -> int:
    """The command line; 1 where something grew."""
    parser = argparse.ArgumentParser(prog="python -m vsr.app.soak", description=__doc__)
    parser.add_argument("--frames", type=int, default=108_000, help="an hour at 30 a second, unless told")
    parser.add_argument("--per-connection", type=int, default=500)
    parser.add_argument("--fps", type=float, default=500.0)
    parser.add_argument("--model", default="ecbsr")
    parser.add_argument("--quality", choices=("auto", "fixed"), default="auto")
    logging.getLogger("streams").setLevel(logging.ERROR)
    result = run_soak(**vars(parser.parse_args()))
    print(json.dumps(result))
    return 1 if result["grew"] else 0


if __name__ == "__main__":
    sys.exit(main())
