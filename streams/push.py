"""The process behind a network output: reads coded video on its standard input and sends it to one address.

FFmpeg's network writers know no deadline. A peer that stops reading blocks them for ever, and one that never answers
does so inside a call that also stops every other Python thread. A process can be ended from outside in any state, and
by an alarm of the system even where nobody is left to do so. So the pictures are encoded where they are made, and only
the packets come here.

What comes in is one line of JSON, an :class:`Order`, then NUT, FFmpeg's own container. The address travels in that
line, because a command line can be read by everybody. What goes out is one line of JSON once the peer answers, and one
more if something goes wrong. The first picture only tells what will follow; sending starts at the next key frame.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from time import monotonic
from typing import Any, Literal, Self

import av

from streams.redact import redact

Verdict = Literal["ready", "silent", "refused", "failed"]
"""``silent``: ready for pictures, and the peer takes no sound."""

# A server says no at once, or when it has seen the first pictures.
_EARLY_SECONDS = 15.0
# What FFmpeg's RTMP makes of every no; a server that is being restarted may look the same, so it is not for good.
_MAYBE_REFUSALS = frozenset({errno.EPERM, errno.EIO, errno.EPIPE, errno.ECONNRESET})
_SERVER_SAYS = "Server error: "
_REFUSALS = (av.HTTPUnauthorizedError, av.HTTPForbiddenError, av.ProtocolNotFoundError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do.

    Attributes:
        url: with its credentials.
        muxer: FFmpeg's name of the writer.
        options: for it.
        connect_seconds: how long the peer may take to answer, above 0.
        write_seconds: how long one packet may take to be taken, above 0.
    """

    url: str
    muxer: str
    options: dict[str, str]
    connect_seconds: float
    write_seconds: float

    def line(self) -> bytes:
        """The order as it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, descriptor: int) -> Self:
        """The order from an open file, of which not a byte more than its line is read."""
        line = bytearray()
        while not line.endswith(b"\n"):
            got = os.read(descriptor, 1)
            if not got:
                raise EOFError
            line += got
        return cls(**json.loads(line))


def report(verdict: Verdict, words: str = "") -> bytes:
    """One line of answer; ``words`` are redacted."""
    return json.dumps([verdict, redact(words)]).encode() + b"\n"


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """The system ends this process if the block takes longer, whatever it waits for."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def push(order: Order, source: Any) -> None:
    """Send everything that comes from ``source``, an open ``av`` input, until it ends."""
    pictures = source.streams.video[0]
    packets = source.demux(*source.streams)
    next(packet for packet in packets if packet.stream_index == pictures.index)
    try:
        output, targets = _connect(order, source.streams)
    except av.HTTPOtherClientError:
        # What an RTSP server says to a stream that it has no place for.
        if len(source.streams) == 1:
            raise
        output, targets = _connect(order, (pictures,))
    _say(report("ready" if len(targets) == len(source.streams) else "silent"))
    for packet in _from_key(packets, pictures.index):
        if packet.stream_index not in targets:
            continue
        # Nothing is reordered: a missing time of decoding is that of showing.
        packet.dts = packet.pts if packet.dts is None else packet.dts
        packet.stream = targets[packet.stream_index]
        with deadline(order.write_seconds):
            output.mux_one(packet)
    with deadline(order.write_seconds):
        output.close()


def _connect(order: Order, streams: Iterable[Any]) -> tuple[Any, dict[int, Any]]:
    """An output that the peer has agreed to, and its streams by the numbers of those they carry."""
    targets = {}
    with deadline(order.connect_seconds):
        output = av.open(order.url, "w", format=order.muxer, container_options=order.options)
        for stream in streams:
            target = output.add_stream_from_template(stream, opaque=True)
            target.time_base = stream.time_base
            targets[stream.index] = target
        output.start_encoding()
    return output, targets


def _from_key(packets: Iterator[Any], pictures: int) -> Iterator[Any]:
    """All from the first key picture on, without sound of before it."""
    begun: Fraction | None = None
    for packet in packets:
        if not packet.size or packet.pts is None:
            continue
        seconds = packet.pts * packet.time_base
        if begun is None and packet.stream_index == pictures and packet.is_keyframe:
            begun = seconds
        if begun is not None and seconds >= begun:
            yield packet


def main() -> int:
    """Read an order from standard input and carry it out; 0 if all was sent."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    av.logging.set_level(av.logging.ERROR)
    order, begun = None, monotonic()
    try:
        order = Order.read(0)
        with av.open("pipe:0", format="nut", options={"probesize": "32", "analyzeduration": "0"}) as source:
            push(order, source)
    except _REFUSALS as error:
        _say(report("refused", error.strerror or str(error)))
        return 1
    except (av.FFmpegError, OSError, ValueError, EOFError, StopIteration) as error:
        is_early = monotonic() - begun < _EARLY_SECONDS
        hint = _hint(error) if order is not None and order.muxer == "flv" and is_early else ""
        _say(report("failed", _reason(error) + hint))
        return 1
    return 0


def _reason(error: Exception) -> str:
    # What a server says in so many words is in FFmpeg's log alone: (level, who, text).
    log = getattr(error, "log", None)
    if log is not None and log[2].startswith(_SERVER_SAYS):
        return f"the server says: {log[2].removeprefix(_SERVER_SAYS).strip()}"
    return getattr(error, "strerror", None) or str(error)


def _hint(error: Exception) -> str:
    if getattr(error, "errno", None) not in _MAYBE_REFUSALS:
        return ""
    return "; perhaps the server does not know this name or key, or has another sender for it"


def _say(line: bytes) -> None:
    os.write(1, line)


if __name__ == "__main__":
    sys.exit(main())
