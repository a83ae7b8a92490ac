"""From a path to coded packets and decoded pictures: the part that talks to FFmpeg's demuxer and decoder."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from streams.errors import NoVideoError, SourceError, SourceNotFoundError
from streams.sources.hwaccel import HardwareDecoding, open_with
from streams.sources.splice import Splicer

log = logging.getLogger(__name__)

Event: TypeAlias = "av.Packet[Any] | av.VideoFrame"


class Reader:
    """One open file: its container, its best video stream, and what comes out of them.

    Args:
        path: the file.
        threads: how the decoder uses them.
        hwaccel: where to decode, see :mod:`streams.sources.hwaccel`.
        gpu: index of the GPU that decodes, if one does.

    Attributes:
        container, stream: PyAV's, for whoever describes the input.
        skipped_packets: packets of the video that could not be decoded.

    Raises:
        SourceError: the file is missing, unreadable, no media file, or without video.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: Literal["AUTO", "SLICE"] = "AUTO",
        hwaccel: HardwareDecoding = "none",
        gpu: int = 0,
    ) -> None:
        self.path = path
        self.skipped_packets = 0
        self._stop_at: int | None = None
        self._threads = threads
        self._pending: deque[Event] = deque()
        self._failure: SourceError | None = None
        self._last_packet_pts: int | None = None
        self._last_frame_pts: int | None = None
        self.container = open_container(path, hwaccel=hwaccel, gpu=gpu)
        try:
            self.stream = self._choose()
        except BaseException:
            self.container.close()
            raise
        self._splicer = Splicer(self.stream.index)
        self._events = self._run()

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the video."""
        return self.stream.time_base or Fraction(1, 90_000)

    def __iter__(self) -> Iterator[Event]:
        """Packets of the other streams and pictures of the video, in the order in which they come out.

        A damaged packet is skipped and counted; a container that breaks off ends the input as players do.

        Raises:
            SourceError: the file could not be read on, after all pictures from before were given out.
        """
        while True:
            if self._pending:
                yield self._pending.popleft()
                continue
            event = next(self._events, None)
            if event is None:
                return
            yield event

    def first_frame(self) -> av.VideoFrame | None:
        """Decode up to the next picture without taking anything: iteration still yields all of it."""
        for event in self._events:
            self._pending.append(event)
            if isinstance(event, av.VideoFrame):
                return event
        return None

    def begins_anew(self, pts: int) -> bool:
        """Whether the picture at ``pts`` is the first of a further one of several joined recordings; asked in order."""
        joints = self._splicer.joints
        passed = [joints.popleft() for _ in range(sum(joint <= pts * self.time_base for joint in joints))]
        return bool(passed)

    def only_video(self) -> None:
        """Let the demuxer drop the other streams from here on."""
        for stream in self.container.streams:
            if stream.index != self.stream.index:
                stream.discard = Discard.all
        self._pending = deque(event for event in self._pending if isinstance(event, av.VideoFrame))

    def stop_pictures(self, until: Fraction) -> None:
        """Decode no more; go on with packets of other streams while the file is not ``until`` seconds far."""
        self._stop_at = int(until / self.time_base)

    def seek(self, pts: int) -> bool:
        """Go to the last key frame at or before ``pts``; False where the format cannot (then nothing is certain)."""
        self._events.close()
        self._pending.clear()
        try:
            self.container.seek(pts, stream=self.stream, backward=True)
        except (av.FFmpegError, OSError):
            return False
        self._last_packet_pts = self._last_frame_pts = None
        self._splicer = Splicer(self.stream.index)
        self._events = self._run()
        return True

    def close(self) -> None:
        """Close the container; a second call does nothing."""
        self._events.close()
        self._pending.clear()
        self.container.close()

    def _choose(self) -> VideoStream:
        videos = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        best = self.container.streams.best("video")
        stream = next((s for s in videos if best is not None and s.index == best.index), next(iter(videos), None))
        if stream is None:
            kinds = ", ".join(sorted({s.type for s in self.container.streams})) or "no"
            raise NoVideoError(f"{self.path}: holds {kinds} streams and no video; give a file that has pictures")
        if stream.codec_context is None:
            raise NoVideoError(f"{self.path}: this FFmpeg has no decoder for its video; convert it to another codec")
        # A decoder of a GPU gains nothing by threads, and holds as many more pictures of the few that it has.
        stream.codec_context.thread_type = "SLICE" if stream.codec_context.is_hwaccel else self._threads
        return stream

    def _run(self) -> Generator[Event, None, None]:
        for packet in self._packets():
            if packet.stream_index != self.stream.index:
                yield packet
                continue
            if self._stop_at is not None:
                if packet.dts is None or packet.dts > self._stop_at:
                    return
                continue
            if not packet.is_discard and packet.pts is not None:
                self._last_packet_pts = max(packet.pts, self._last_packet_pts or packet.pts)
            yield from self._decode(packet)
        if self._stop_at is None:
            yield from self._decode(None)
            yield from self._lost_tail()
        if self._failure:
            raise self._failure

    def _packets(self) -> Iterator[av.Packet[Any]]:
        try:
            for packet in self.container.demux():
                # Empty packets close the input; one in the middle would close the decoder for good.
                if packet.size:
                    yield from self._splicer.place(packet)
        except av.error.InvalidDataError as error:
            log.warning("%s: breaks off (%s); continuing with what was read", self.path.name, error.strerror)
        except (av.FFmpegError, OSError) as error:
            self._failure = SourceError(f"{self.path}: cannot be read on ({error.strerror}); check the disk")
            self._failure.__cause__ = error
        yield from self._splicer.flush()

    def _decode(self, packet: av.Packet[Any] | None) -> Iterator[av.VideoFrame]:
        try:
            frames = self.stream.decode(packet)
        except MemoryError as error:
            raise SourceError(f"{self.path}: out of memory while decoding; try smaller or fewer jobs") from error
        except av.error.EOFError:
            return
        except (av.FFmpegError, ValueError) as error:
            self.skipped_packets += 1
            log.debug("%s: skipped a packet of the video: %s", self.path.name, error)
            return
        for frame in frames:
            if frame.pts is not None:
                self._last_frame_pts = max(frame.pts, self._last_frame_pts or frame.pts)
            yield frame

    def _lost_tail(self) -> Iterator[av.VideoFrame]:
        """Pictures that were under way in the decoder's threads when a damaged packet near the end stopped its flush.

        PyAV cannot go on receiving after that error, so the last pictures are decoded again without frame threads,
        which meet the error at the packet that causes it.
        """
        last, expected = self._last_frame_pts, self._last_packet_pts
        lost = last is not None and expected is not None and expected > last
        # Joined recordings have no one clock to seek by, and a pipe can be read only once.
        if self._threads == "SLICE" or not lost or self._splicer.parts > 1 or self.path.is_fifo():
            return
        assert last is not None
        again = Reader(self.path, threads="SLICE")
        try:
            again.only_video()
            if not again.seek(last):
                return
            for event in again:
                if isinstance(event, av.VideoFrame) and event.pts is not None and event.pts > last:
                    yield event
            self.skipped_packets = max(self.skipped_packets, again.skipped_packets)
        finally:
            again.close()


def open_container(path: Path, *, hwaccel: HardwareDecoding = "none", gpu: int = 0) -> InputContainer:
    """Open a file for reading, every failure as one clear :class:`SourceError`; in software where no GPU helps."""
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened ({error.strerror}); check the path and its permissions") from error
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; give a video file in it")
    if not path.exists():
        raise SourceNotFoundError(f"{path}: there is no such file; check the path")
    if size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes); was it copied completely?")
    try:
        # The prefix keeps FFmpeg from reading a protocol into a name with a colon.
        return open_with(hwaccel, f"file:{path}", gpu=gpu, metadata_errors="replace")
    except PermissionError as error:
        raise SourceError(f"{path}: permission denied; make the file readable") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{path}: not a media file that FFmpeg can read ({reason}); is it complete?") from error
