"""Live video into files that play at any moment, also when the program is killed in the middle of a picture.

A recording has its final name from the start, because there is no moment at which it is not a whole file: MP4 and MOV
are written in fragments, MKV and WebM in clusters, of one second each. What is lost with the program is the last of
them. It goes on in a new part when the size or the format of the pictures changes, as files can hold only one, and,
if wanted, every so many seconds; no part ever takes the place of another file.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from itertools import count
from pathlib import Path

from streams.errors import SinkError, SinkExistsError, StreamError
from streams.frame import Frame, Item, Packet, PixelFormat
from streams.queues import PACKET_LIMIT
from streams.sinks.base import Sink, SinkState, SinkStatus
from streams.sinks.containers import container_of
from streams.sinks.encoders import EncoderOptions
from streams.sinks.output import LiveOutput
from streams.sinks.partial import PartialFile, check_writable
from streams.sinks.timeline import live_time_base
from streams.sinks.track import choose_encoder
from streams.sources.base import SourceInfo

log = logging.getLogger(__name__)

_LOST_AT_MOST_SECONDS = 1
# Pictures wait no longer for sound of their time, which may have ceased, nor does the end of a part.
_SOUND_WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    output: LiveOutput
    file: PartialFile
    starts: Fraction

    def close(self) -> None:
        try:
            self.output.close()
        finally:
            self.file.release()


class RecordingSink(Sink):
    """Records live video with its sound into MP4, MOV, MKV or WebM.

    Sound that the container does not hold is encoded anew. A part holds the sound from its first picture to that of the
    next part, whether it comes before the pictures of its time or up to half a second after them.

    The parts of ``NAME.mp4`` are ``NAME.mp4``, ``NAME-0002.mp4`` and so on; with ``segment_seconds`` they begin with
    ``NAME-0001.mp4``. Numbers that are taken are passed over. A name with ``%``, such as ``%Y%m%d-%H%M%S.mkv``, is
    filled in with the local time at which each part begins.

    Args:
        path: see above.
        info: what is known of the input.
        width, height, format: of the frames that will come first.
        options: for the encoder.
        overwrite: the first part may replace a file of its name; no other part ever does.
        sample_aspect_ratio: of the output, otherwise the input's.
        segment_seconds: begin a new part after so many seconds of video; above 0, or None.

    Raises:
        SinkExistsError: the file is there, and ``overwrite`` is not set.
        UnsupportedStreamError: the ending is not known.
        SinkError: there is no such folder, it cannot be written into, or ``segment_seconds`` is not above 0.
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
        segment_seconds: float | None = None,
    ) -> None:
        if segment_seconds is not None and not segment_seconds > 0:
            raise SinkError(f"got a segment time of {segment_seconds:g} s; allowed is more than 0")
        self.path = Path(path)
        self.parts: list[Path] = []
        self._info = info
        self._options = options or EncoderOptions()
        self._aspect = sample_aspect_ratio if sample_aspect_ratio is not None else info.sample_aspect_ratio
        self._segment = Fraction(segment_seconds) if segment_seconds is not None else None
        self._container = container_of(self.path)
        self._overwrite = overwrite
        self._names = _names(self.path, numbered=segment_seconds is not None)
        self._part: _Part | None = None
        self._earlier: _Part | None = None
        self._heard: deque[Packet] = deque()
        self._due = self._latest = Fraction(0)
        self._frames = 0
        self._state: SinkState = "running"
        self._error: str | None = None
        choose_encoder(self._container, format, options=self._options)
        self._check_target()

    def write(self, item: Item) -> None:
        """Record a frame, or a packet of another stream. A frame of another geometry begins a new part.

        Raises:
            SinkError: the encoder or the disk refused it; the recording is over, what it holds can be played.
        """
        if self._state != "running":
            raise SinkError(f"{self.path} is finished; nothing can be recorded any more")
        try:
            if isinstance(item, Frame):
                self._record(item)
            else:
                self._hear(item)
        except OSError as error:
            self._fail(f"cannot record into {self.path}: {error.strerror}; try another folder or disk")
            raise SinkError(self._error) from error
        except StreamError as error:
            self._fail(str(error))
            raise

    def close(self) -> None:
        """Finish the part that is being written.

        Raises:
            SinkError: the disk refused its end, or no frame ever came; after an error of ``write`` nothing is raised.
        """
        if self._state != "running":
            self.abort()
            return
        self._state = "closed"
        if not self._frames:
            raise SinkError(f"{self.path} is not made: no frame was recorded")
        try:
            self._end_parts()
        except SinkError as error:
            self._fail(str(error))
            raise

    def abort(self) -> None:
        """Finish the part that is being written: a recording is whole at any time. Never raises."""
        if self._state == "running":
            self._state = "closed"
        with suppress(SinkError):
            self._end_parts()

    def status(self) -> tuple[SinkStatus, ...]:
        """One entry, named by the part that is being written."""
        name = str(self.parts[-1] if self.parts else self.path)
        return (SinkStatus(name=name, state=self._state, frames=self._frames, error=self._error),)

    def _fail(self, words: str) -> None:
        self._state, self._error = "failed", words

    def _record(self, frame: Frame) -> None:
        # A clock that began anew says nothing about what was heard before.
        self._hand_on(until=frame.seconds if frame.seconds >= self._latest else None)
        part = self._part_for(frame)
        part.output.write(frame)
        self._frames += 1
        self._latest = frame.seconds
        if abs(frame.seconds - part.starts) > _SOUND_WAIT_SECONDS:
            self._end_earlier()

    def _hear(self, packet: Packet) -> None:
        """Keep a packet until there is a picture of its time: that may be the first of another part."""
        self._heard.append(packet)
        self._hand_on(until=self._latest if self._part is not None else None)

    def _hand_on(self, *, until: Fraction | None) -> None:
        """Write what was heard before that time, or all; without a part, only as much is kept as there is room for."""
        while self._heard:
            first = self._heard[0].payload
            seconds = None if first.pts is None else first.pts * Fraction(first.time_base)
            is_early = until is not None and seconds is not None and seconds >= until
            if (is_early or self._part is None) and len(self._heard) <= PACKET_LIMIT:
                return
            packet = self._heard.popleft()
            if self._part is None:
                continue
            part = self._part
            if self._earlier is not None and seconds is not None and seconds < part.starts:
                part = self._earlier
            part.output.add_sound(packet)

    def _part_for(self, frame: Frame) -> _Part:
        part = self._part
        if part is None:
            self._due = frame.seconds
            return self._begin_part(frame)
        if frame.geometry != part.output.geometry:
            log.warning(
                "the pictures change from %s to %s: the recording goes on in a new part",
                _size_of(part.output.geometry),
                _size_of(frame.geometry),
            )
        elif not self._segment_is_full(frame):
            return part
        self._end_earlier()
        self._earlier, self._part = part, None
        part.output.end_pictures()
        return self._begin_part(frame)

    def _segment_is_full(self, frame: Frame) -> bool:
        if self._segment is None:
            return False
        passed = frame.seconds - self._due
        # Where the source's clock began anew the plan does, too.
        if 0 <= passed < self._segment:
            return False
        self._due = frame.seconds if passed < 0 else self._due + passed // self._segment * self._segment
        return True

    def _begin_part(self, frame: Frame) -> _Part:
        path = next(self._names)
        while path.exists() and not (self._overwrite and not self.parts):
            path = next(self._names)
        replaces = path.exists()
        file = PartialFile(path)
        try:
            file.claim()
            # With its scheme: FFmpeg would take what is before a colon in the name for one.
            output = self._open(f"file:{path}", name=str(path), frame=frame)
        except StreamError:
            file.release() if replaces else file.remove()
            raise
        self._part = _Part(output=output, file=file, starts=frame.seconds)
        self.parts.append(path)
        log.info("recording %s into %s", _size_of(frame.geometry), path)
        return self._part

    def _open(self, target: str, *, name: str, frame: Frame) -> LiveOutput:
        return LiveOutput(
            target,
            name=name,
            container=self._container,
            info=self._facts(),
            geometry=frame.geometry,
            options=self._options,
            aspect=self._aspect,
            time_base=live_time_base(self._info.time_base),
            muxer_options=self._muxer_options(),
            sound_wait_seconds=_SOUND_WAIT_SECONDS,
        )

    def _end_earlier(self) -> None:
        part, self._earlier = self._earlier, None
        if part is not None:
            part.close()

    def _end_parts(self) -> None:
        try:
            if self._state == "closed":
                self._hand_on(until=None)
        finally:
            part, self._part = self._part, None
            try:
                self._end_earlier()
            finally:
                if part is not None:
                    part.close()

    def _facts(self) -> SourceInfo:
        now = datetime.now().astimezone()
        metadata = {**self._info.metadata, "creation_time": now.isoformat(timespec="seconds")}
        return replace(self._info, metadata=metadata)

    def _muxer_options(self) -> dict[str, str]:
        common = {"flush_packets": "1", "avoid_negative_ts": "disabled"}
        if self._container.ticks_exactly:
            # The last of them lets sound begin later than the pictures.
            flags = "empty_moov+default_base_moof+frag_keyframe+frag_discont"
            return common | {"movflags": flags, "frag_duration": str(_LOST_AT_MOST_SECONDS * 1_000_000)}
        return common | {"cluster_time_limit": str(_LOST_AT_MOST_SECONDS * 1000)}

    def _check_target(self) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise SinkError(f"there is no folder {folder}; create it or choose another")
        if self.path.is_dir():
            raise SinkError(f"{self.path} is a folder; give the name of a file in it")
        if self._segment is None and "%" not in self.path.name and self.path.exists() and not self._overwrite:
            raise SinkExistsError(f"{self.path} exists; choose another name or allow to --overwrite it")
        check_writable(folder)


def _names(path: Path, *, numbered: bool) -> Iterator[Path]:
    """The names of the parts to come, one after the other, without an end."""
    if "%" in path.stem:
        yield from _stamped(path)
    if not numbered:
        yield path
    for index in count(1 if numbered else 2):
        yield path.with_stem(f"{path.stem}-{index:04d}")


def _stamped(path: Path) -> Iterator[Path]:
    last, index = "", 1
    while True:
        stem = datetime.now().astimezone().strftime(path.stem)
        index = index + 1 if stem == last else 1
        last = stem
        yield path.with_stem(stem if index == 1 else f"{stem}-{index}")


def _size_of(geometry: tuple[int, int, PixelFormat]) -> str:
    width, height, form = geometry
    return f"{width}×{height} {form.name} {form.range}"
