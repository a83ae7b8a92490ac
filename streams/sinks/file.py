"""Video into a file: every frame at its own time, every other stream beside it, under its name only when it is whole.

The file is written as ``NAME.partial.EXT`` beside the target, from the first frame on, and renamed by
:meth:`FileSink.close`; a second job for the same name is refused. MP4 and MOV keep
every time exactly and need their index, which is written last, to be played: for that a job that is interrupted should
end with :meth:`FileSink.abort`. (Fragments would survive a power cut, and FFmpeg's cannot say that a video starts late
or reorders its pictures without moving it.) MKV and WebM are playable at any time, and round every time to 1 ms. The
index is not moved to the front: it would mean to write a long film twice.

A video that starts before zero is moved, with everything beside it, so that it starts at zero: in MP4 the pictures
before zero are not shown, and all of them are wanted. Nothing else is ever moved.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av

from streams.errors import SinkError, SinkExistsError, StreamError
from streams.frame import Frame, Item, Packet, PixelFormat
from streams.sinks.base import Sink
from streams.sinks.containers import container_of
from streams.sinks.encoders import EncoderOptions
from streams.sinks.partial import PartialFile, partial_path
from streams.sinks.remux import Carrier, StreamPlan, attach_cover, plan_streams
from streams.sinks.tags import container_tags, need_key_value_list
from streams.sinks.track import VideoTrack, exact_clock
from streams.sources.base import SourceInfo

log = logging.getLogger(__name__)

# Packets wait in the muxer for those of slower streams; subtitles may not come for an hour.
_LONGEST_WAIT_MICROSECONDS = 3_000_000
# Sound that comes before the first picture waits for it, because the picture says where zero is.
_MOST_PENDING_BYTES = 64 << 20


class FileSink(Sink):
    """Encodes frames and copies packets into an MP4, MOV, MKV or WebM file.

    Attributes:
        path: the final name; ``partial`` the name while it is written, and after :meth:`abort`.
        plans: what becomes of each of the other streams; ``dropped`` those that the container cannot hold.
        frames: how many have been taken.

    Raises:
        SinkExistsError: the file is there, and ``overwrite`` is not set.
        UnsupportedStreamError: the container cannot hold the codec.
        SinkError: the folder cannot be written to, or the encoder does not open.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        info: SourceInfo,
        width: int,
        height: int,
        format: PixelFormat,  # noqa: A002
        options: EncoderOptions | None = None,
        overwrite: bool = False,
        sample_aspect_ratio: Fraction | None = None,
    ) -> None:
        self.path = Path(path)
        self.frames = 0
        self._info = info
        self._overwrite = overwrite
        self._container = container_of(self.path)
        self.partial = partial_path(self.path)
        self._state: Literal["waiting", "writing", "failed", "done"] = "done"
        with self._translated():
            _check_target(self.path, overwrite=overwrite)
        self.plans = self.plan(self.path, info=info)
        self.dropped = tuple(plan for plan in self.plans if plan.action == "drop")
        for plan in self.dropped:
            log.warning("%s is left out: %s", plan.stream, plan.reason)
        aspect = sample_aspect_ratio if sample_aspect_ratio is not None else info.sample_aspect_ratio
        self._track = VideoTrack(
            self._container,
            info=info,
            width=width,
            height=height,
            format=format,
            options=options or EncoderOptions(),
            sample_aspect_ratio=aspect,
        )
        with self._translated():
            self._file = PartialFile(self.partial)
        self._output: Any = None
        self._carriers: dict[int, Carrier] = {}
        self._covers = {plan.stream.index: plan for plan in self.plans if plan.action == "attach"}
        self._pending: list[Packet] = []
        self._pending_bytes = 0
        self._shift = Fraction(0)
        self._state = "waiting"

    @property
    def takes_surfaces(self) -> bool:
        """Whether pictures that lie on the GPU of ``options`` are encoded without being copied to the host."""
        return self._track.takes_surfaces

    @property
    def damaged_subtitles(self) -> int:
        """How many had to be converted and could not be read as they were, so far."""
        return sum(carrier.damaged for carrier in self._carriers.values())

    @classmethod
    def plan(cls, path: str | Path, *, info: SourceInfo) -> tuple[StreamPlan, ...]:
        """What becomes of each of the other streams of ``info`` in a file of that name; nothing is written."""
        return plan_streams(container_of(Path(path)), info)

    def write(self, item: Item) -> None:
        """Encode a frame, or copy a packet. Packets may come before or after the frames of their time.

        Raises:
            SinkError: the frame does not fit, the encoder or the disk refused it; nothing can be written after.
        """
        if self._state in ("failed", "done"):
            raise SinkError(f"{self.partial} is finished; nothing can be written any more")
        with self._translated():
            if isinstance(item, Frame):
                self._write_frame(item)
            elif self._state == "waiting" and self._pending_bytes < _MOST_PENDING_BYTES:
                self._pending.append(item)
                self._pending_bytes += item.payload.size
            else:
                self._write_packet(item)

    def close(self) -> None:
        """Flush the encoder, finish the file and give it its final name.

        Raises:
            SinkError: there was no frame, an earlier write failed, or the file cannot be finished or renamed.
            SinkExistsError: a file of that name has appeared meanwhile.
        """
        if self._state == "done":
            return
        if self._state != "writing":
            reason = "an earlier error" if self._state == "failed" else "no frame was written"
            self.abort()
            raise SinkError(f"{self.path} is not made: {reason}")
        try:
            with self._translated():
                self._mux(self._track.flush())
                self._output.close()
                self._track.finish(self.partial)
                self._publish()
        except BaseException:
            self.abort()
            raise
        self._file.release()
        self._state = "done"

    def abort(self) -> None:
        """Finish what was written as a playable file under :attr:`partial`; with no frame, remove it. Never raises."""
        state, self._state = self._state, "done"
        if state == "done":
            return
        if self._output is None:
            self._file.remove()
            return
        self._finish(flush=state == "writing")
        if self.frames:
            self._file.release()
        else:
            self._file.remove()

    def _finish(self, *, flush: bool) -> None:
        try:
            if flush:
                self._mux(self._track.flush())
        except (StreamError, av.FFmpegError, OSError, ValueError) as error:
            log.debug("the encoder could not be flushed: %s", error)
        try:
            self._output.close()
            self._track.finish(self.partial)
        except (av.FFmpegError, OSError, ValueError) as error:
            log.warning("%s could not be finished and may not play: %s", self.partial, _words(error))
        else:
            log.info("what was written until the end is in %s", self.partial)

    def _publish(self) -> None:
        if not self._overwrite and self.path.exists():
            raise SinkExistsError(f"{self.path} has appeared meanwhile; the new file stays at {self.partial}")
        self.partial.replace(self.path)

    def _write_frame(self, frame: Frame) -> None:
        if self._state == "waiting":
            self._start(first=frame.seconds)
        self._mux(self._track.encode(frame, shift=self._shift))
        self.frames += 1

    def _write_packet(self, item: Packet) -> None:
        if self._state == "waiting":
            self._start(first=Fraction(0))
        carrier = self._carriers.get(item.stream)
        if carrier is None:
            return
        packet = carrier.carry(item.payload, shift=self._shift)
        if packet is not None:
            self._mux(iter((packet,)))

    def _start(self, *, first: Fraction) -> None:
        """Write the header: all streams are known, and so is where the video starts (``first``, in seconds)."""
        if first < 0:
            self._shift = -first
            log.info("the video starts at %.3f s: everything is moved by as much to start at 0", float(first))
        self._file.claim()
        # With its scheme: FFmpeg would take what is before a colon in the name for one.
        output = av.open(
            f"file:{self.partial}", "w", format=self._container.muxer, container_options=self._muxer_options()
        )
        self._output = output
        output.metadata.update(container_tags(self._info.metadata))
        chapters: Any = [_moved(chapter, self._shift) for chapter in self._info.chapters]
        output.set_chapters(chapters)
        self._track.add_to(output)
        for plan in self.plans:
            if plan.action in ("copy", "convert"):
                self._carriers[plan.stream.index] = Carrier(plan, output=output, container=self._container)
        for item in self._pending:
            if item.stream in self._covers and item.payload.size:
                attach_cover(self._covers.pop(item.stream), item.payload, output=output)
        output.start_encoding()
        self._state = "writing"
        pending, self._pending = self._pending, []
        for item in pending:
            self._write_packet(item)

    def _muxer_options(self) -> dict[str, str]:
        options = {"avoid_negative_ts": "disabled", "max_interleave_delta": str(_LONGEST_WAIT_MICROSECONDS)}
        if self._container.ticks_exactly:
            copied = [plan.stream.template.time_base for plan in self.plans if plan.action == "copy"]
            clock = exact_clock(self._track.clock, [base.denominator for base in copied if base])
            options["movie_timescale"] = str(clock)
            if need_key_value_list(container_tags(self._info.metadata)):
                options["movflags"] = "use_metadata_tags"
        return options

    def _mux(self, packets: Iterator[Any]) -> None:
        for packet in packets:
            self._output.mux_one(packet)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of PyAV and of the system as a SinkError, after which nothing more is written."""
        try:
            yield
        except StreamError:
            self._fail()
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            self._fail()
            raise SinkError(f"cannot write {self.partial}: {_words(error)}; try another folder or disk") from error

    def _fail(self) -> None:
        if self._state in ("waiting", "writing"):
            self._state = "failed"


def same_file(path: str | Path, url: str | Path) -> bool:
    """Whether an output path and an input are one file, however they are spelt; False where either is not a file."""
    try:
        return Path(path).samefile(url)
    except (OSError, ValueError):
        return False


def _check_target(path: Path, *, overwrite: bool) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise SinkError(f"there is no folder {folder}; create it or choose another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"nothing can be written into {folder}; choose another folder")
    if path.is_dir():
        raise SinkError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not overwrite:
        raise SinkExistsError(f"{path} exists; choose another name or allow to --overwrite it")


def _moved(chapter: Mapping[str, Any], shift: Fraction) -> dict[str, Any]:
    base = chapter["time_base"] or Fraction(1, 1000)
    ticks = round(shift / base)
    return {**chapter, "time_base": base, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
