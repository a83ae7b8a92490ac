"""Video files: any container and codec that FFmpeg reads."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, get_args

import av

from streams.errors import NoVideoError, SourceError
from streams.frame import ChromaLocation, Frame, Item, Packet, Plane
from streams.sources.base import Source, SourceInfo
from streams.sources.filters import Deinterlace, Deinterlacer
from streams.sources.formats import Planar, is_as, pixel_format, planes_of
from streams.sources.hwaccel import HardwareDecoding, check, decodes, loudness
from streams.sources.probe import codec_name, describe
from streams.sources.reader import Reader
from streams.sources.rotate import Turn, turn_planes, turned_format
from streams.sources.surfaces import DecodedSurface, obstacle, on_gpu
from streams.sources.timing import Timestamps
from streams.sources.trim import Part

log = logging.getLogger(__name__)

_SEEK_LEADS_SECONDS = (0, 10)
"""How long before the start to look for a key frame: some formats seek to a place that is none."""
_GRACE_SECONDS = 2
"""How much further a file is read for sound that belongs to the last picture of a part: muxers interleave closer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What goes with a picture past the filters."""

    pts: int
    duration: int
    corrupt: bool
    discontinuity: bool


_Entry: TypeAlias = "av.Packet[Any] | tuple[av.VideoFrame, _Note]"


class FileSource(Source):
    """The pictures of a file's best video stream, and the packets of its other streams.

    Pts are those of the stream, exactly; where it has none or they do not rise they are repaired and counted. Of joined
    recordings, whose times begin anew, each goes on where the one before ends, sound and all. A stream
    that changes its size or format on the way is scaled to its first picture. Damaged packets are skipped and counted.

    Args:
        path: the file.
        deinterlace: ``"auto"`` where pictures are flagged as interlaced, ``"on"`` always, ``"off"`` never; the number
            of pictures and their pts stay.
        rotate: turn the pixels by the display matrix, instead of passing the matrix on in ``info``.
        start_seconds: skip what comes before this time after the first picture; the first picture kept gets pts 0 and
            all streams move by the same time.
        duration_seconds: how much to read from there, or None for all.
        max_frames: stop after so many pictures.
        chroma_location: where the chroma samples lie, if it is known better than the codec's convention.
        hwaccel: ``"cuda"``: decode on the GPU, and where that cannot be, in software with a warning; ``"auto"``: the
            same, without a warning where there is no GPU; ``"none"``. What a GPU decodes stays there until its planes
            are looked at (:class:`streams.frame.Surface`).
        gpu: index of the GPU that decodes, if one does.

    Raises:
        SourceNotFoundError: there is no such file.
        NoVideoError: there is no picture in it that can be decoded.
        SourceError: it cannot be read, or an argument is out of range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        deinterlace: Deinterlace = "auto",
        rotate: bool = False,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
        max_frames: int | None = None,
        chroma_location: ChromaLocation | None = None,
        hwaccel: HardwareDecoding = "none",
        gpu: int = 0,
    ) -> None:
        if deinterlace not in get_args(Deinterlace):
            raise SourceError(f"got deinterlace {deinterlace!r}, allowed are {', '.join(get_args(Deinterlace))}")
        self._path, self._hwaccel, self._gpu = Path(path), check(hwaccel), gpu
        self._part = Part.from_seconds(start_seconds, duration_seconds, max_frames)
        self._deinterlacer: Deinterlacer[_Note] = Deinterlacer(deinterlace)
        self._planar = Planar()
        self._closed = self._reported = False
        self._told: set[str] = set()
        self._reader = Reader(self._path, hwaccel=self._hwaccel, gpu=self._gpu)
        try:
            self._open(rotate=rotate, chroma_location=chroma_location)
        except BaseException:
            self.close()
            raise

    @property
    def repaired_timestamps(self) -> int:
        """Pictures that could not keep the pts of the stream, so far."""
        return self._timestamps.repaired

    @property
    def skipped_packets(self) -> int:
        """Packets of the video that could not be decoded, so far."""
        return self._reader.skipped_packets

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU decodes."""
        return decodes(self._reader.stream.codec_context)

    def items(self) -> Iterator[Item]:
        """Frames, and packets of the other streams moved to the same clock, in the order of the file."""
        base, part, ended = self._reader.time_base, self._part, False
        try:
            for entry in self._entries:
                if self._closed:
                    return
                if isinstance(entry, av.Packet):
                    if part.move(entry):
                        yield Packet(stream=entry.stream_index, payload=entry)
                elif not ended and not part.ends_before(entry[1].pts * base):
                    part.count((entry[1].pts + entry[1].duration) * base)
                    yield self._frame(*entry)
                elif not ended:
                    ended = True
                    self._reader.stop_pictures((part.end or Fraction(0)) + _GRACE_SECONDS)
        finally:
            self._report_once()

    def __iter__(self) -> Iterator[Frame]:
        self._reader.only_video()
        return super().__iter__()

    def close(self) -> None:
        """Free the decoder and the file; frames that were given out stay valid."""
        self._closed = True
        self._reader.close()

    def _open(self, *, rotate: bool, chroma_location: ChromaLocation | None) -> None:
        first = self._go_to_start()
        stream = self._reader.stream
        self._form = pixel_format(first, codec_name(stream), chroma_location)
        self._size = first.width, first.height
        info = describe(self._reader.container, stream, first, self._form)
        self._timestamps = Timestamps(time_base=info.time_base, frame_seconds=1 / info.rate if info.rate else None)
        self._turn = self._choose_turn(info) if rotate else Turn()
        self._part.rate = info.rate
        self.info = self._part.adapt(self._turned(info) if self._turn else info)
        self._entries = self._from_first_kept()

    def _go_to_start(self) -> av.VideoFrame:
        """The first decoded picture from the last key frame before the part; the reader stands before it."""
        first = self._first_frame()
        if first is None:
            raise NoVideoError(
                f"{self._path}: none of its pictures can be decoded ({self._reader.skipped_packets} packets failed); "
                "it may be damaged or encrypted"
            )
        if first.pts is not None:
            self._part.origin = first.pts * self._reader.time_base
        # A pipe can be read once, from its beginning.
        if not self._part.start or self._path.is_fifo():
            return first
        return (first.pts is not None and self._seek(first.pts)) or self._from_the_top()

    def _first_frame(self) -> av.VideoFrame | None:
        first = self._reader.first_frame()
        if not self._reader.stream.codec_context.is_hwaccel or (first is not None and self.on_gpu):
            return first
        log.log(
            loudness(self._hwaccel), "%s: the GPU decodes none of its pictures; decoding in software", self._path.name
        )
        # Anew, for a decoder that was made for a GPU has one thread for each slice.
        self._reader.close()
        self._hwaccel = "none"
        self._reader = Reader(self._path)
        return self._reader.first_frame()

    def _seek(self, first_pts: int) -> av.VideoFrame | None:
        for lead in _SEEK_LEADS_SECONDS:
            target = int((self._part.begin - lead) / self._reader.time_base)
            if target <= first_pts or not self._reader.seek(target):
                return None
            found = self._reader.first_frame()
            if found is not None and found.pts is not None and found.pts <= target:
                return found
        return None

    def _from_the_top(self) -> av.VideoFrame:
        self._reader.close()
        self._reader = Reader(self._path, hwaccel=self._hwaccel, gpu=self._gpu)
        first = self._reader.first_frame()
        if first is None:
            raise NoVideoError(f"{self._path}: could be decoded once and not again; was it changed?")
        return first

    def _choose_turn(self, info: SourceInfo) -> Turn:
        turn = Turn.from_matrix(info.display_matrix) if info.display_matrix else Turn()
        if turn is None:
            log.warning("%s: its rotation is not by right angles; it is left as it is", self._path.name)
            return Turn()
        if turn.transpose and self._form.subsampling == "422":
            log.info("%s: 4:2:2 is converted to 4:4:4 to be turned by a right angle", self._path.name)
            self._form = replace(self._form, subsampling="444")
        return turn

    def _turned(self, info: SourceInfo) -> SourceInfo:
        info = replace(info, format=turned_format(self._form, self._turn), rotation=0, display_matrix=None)
        if not self._turn.transpose:
            return info
        width, height, aspect = info.height, info.width, 1 / info.sample_aspect_ratio
        return replace(info, width=width, height=height, sample_aspect_ratio=aspect)

    def _from_first_kept(self) -> Iterator[_Entry]:
        """All from the start of the part; its first picture is looked for now, because it sets the clock."""
        entries = self._decoded()
        before: deque[_Entry] = deque()
        for entry in entries:
            if isinstance(entry, av.Packet):
                before.append(entry)
            elif (seconds := entry[1].pts * self._reader.time_base) >= self._part.begin:
                if self._part.ends_before(seconds):
                    start, found = float(self._part.start), float(seconds - self._part.origin)
                    raise SourceError(f"{self._path}: has no picture from {start:g} until {found:g} s; take more of it")
                self._part.shift = seconds if self._part.start else Fraction(0)
                return itertools.chain(before, [entry], entries)
        raise SourceError(f"{self._path}: has no picture at or after {float(self._part.start):g} s; start earlier")

    def _decoded(self) -> Iterator[_Entry]:
        """Packets of other streams, and planar pictures of the video with their times."""
        for event in self._reader:
            if isinstance(event, av.Packet):
                yield event
                continue
            pts = self._timestamps.assign(event.pts, event.dts, event.duration)
            anew = self._reader.begins_anew(pts)
            note = _Note(pts=pts, duration=event.duration, corrupt=event.is_corrupt, discontinuity=anew)
            picture = event if self._stays(event) else self._planar.to_planar(event)
            yield from self._deinterlacer.push(picture, note)
        yield from self._deinterlacer.flush()

    def _stays(self, picture: av.VideoFrame) -> bool:
        """Whether a picture is left on the GPU; what has to be done to it is done on the host."""
        if not on_gpu(picture):
            return False
        reason = obstacle(picture)
        if self._turn:
            reason = "they are turned there"
        elif self._deinterlacer.wants(picture):
            reason = "they are deinterlaced there"
        elif not is_as(picture, *self._size, self._form):
            reason = "they are brought to the first one's size and format there"
        if reason is not None and reason not in self._told:
            self._told.add(reason)
            log.info("%s: pictures are copied to the host: %s", self._path.name, reason)
        return reason is None

    def _planes(self, picture: av.VideoFrame) -> Sequence[Plane]:
        if on_gpu(picture):
            return DecodedSurface(picture, self._form)
        planes = planes_of(picture, self._form)
        return turn_planes(planes, self._form, self._turn) if self._turn else planes

    def _frame(self, picture: av.VideoFrame, note: _Note) -> Frame:
        base = self._reader.time_base
        picture = self._planar.to_geometry(picture, *self._size, self._form)
        return Frame(
            planes=self._planes(picture),
            format=self.info.format,
            pts=note.pts - int(self._part.shift / base),
            time_base=base,
            duration=note.duration,
            corrupt=note.corrupt,
            discontinuity=note.discontinuity,
            owner=None if self._turn else picture,
        )

    def _report_once(self) -> None:
        if self._reported:
            return
        self._reported = True
        if self.repaired_timestamps:
            log.warning("%s: %d timestamps were missing or not rising", self._path.name, self.repaired_timestamps)
        if self.skipped_packets:
            log.warning("%s: %d damaged packets of the video were skipped", self._path.name, self.skipped_packets)
