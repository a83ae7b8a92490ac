"""What every source of video promises; ``tests/test_source_contract.py`` runs the same checks over all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Any, Literal, Self

from streams.frame import Frame, Item, PixelFormat

StreamKind = Literal["audio", "subtitle", "data", "attachment", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One of the other streams of the input.

    Attributes:
        index: its number in the input, by which packets name it.
        kind: what it carries.
        codec: FFmpeg's name of the codec, ``"unknown"`` where it has none.
        language: ISO 639-2 code, or None.
        title: as tagged, or None.
        template: the ``av`` stream that a sink copies the parameters from.
    """

    index: int
    kind: StreamKind
    codec: str
    language: str | None = None
    title: str | None = None
    template: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        extra = ", ".join(x for x in (self.language, self.title) if x)
        return f"{self.kind} stream {self.index} ({self.codec}{', ' + extra if extra else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What is known of an input before its frames are read.

    Attributes:
        width, height: of the first picture, in luma samples, before rotation.
        format: of the first picture.
        time_base: of the frames that will come.
        rate: nominal pictures per second, or None: never used to make timestamps.
        live: whether the input never ends and cannot wait.
        frames: how many pictures the container promises, or None; an estimate for the progress bar only.
        duration_seconds: of the input or the part of it that was asked for, or None.
        sample_aspect_ratio: width to height of one sample; 1 where unspecified.
        rotation: degrees counter-clockwise that a player turns the picture, as tagged: 0, 90, 180 or 270.
        display_matrix: the tag behind ``rotation`` (9 integers, as in MP4), or None.
        codec: FFmpeg's name of the decoder.
        streams: the others, in their order.
        metadata: container tags; ``video_metadata``: tags of the video stream.
        chapters: as ``av`` gives them.
        hdr: static HDR side data: :class:`streams.hdr.MasteringDisplay` under ``"mastering_display"`` and
            :class:`streams.hdr.ContentLight` under ``"content_light"``, each only if the input has it.
    """

    width: int
    height: int
    format: PixelFormat
    time_base: Fraction
    rate: Fraction | None = None
    live: bool = False
    frames: int | None = None
    duration_seconds: float | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    rotation: int = 0
    display_matrix: tuple[int, ...] | None = None
    codec: str = "unknown"
    streams: tuple[StreamInfo, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    video_metadata: Mapping[str, str] = field(default_factory=dict)
    video_disposition: int = 0
    chapters: tuple[Any, ...] = ()
    hdr: Mapping[str, Any] = field(default_factory=dict)


class Source(ABC):
    """An input of video: a context manager, iterated once, by one thread.

    Opening happens in the constructor and raises :class:`streams.errors.SourceError`. The end of the input ends the
    iteration; an error in the middle is raised by the iterator after every frame before it was given out.
    """

    info: SourceInfo

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Frames, and packets of the other streams, in the order of the input."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held. May be called twice, and before the end of the iteration."""

    def __iter__(self) -> Iterator[Frame]:
        return (item for item in self.items() if isinstance(item, Frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
