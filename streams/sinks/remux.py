"""The other streams of the input: what becomes of each, decided before work begins, and the copying itself."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from av.stream import Disposition

from streams.sinks.containers import Container, add_copy, holds_stream
from streams.sinks.subtitles import STYLING_LOSS, TEXT_FORMATS, SubtitleConverter
from streams.sinks.tags import quicktime_language, stream_tags
from streams.sources.base import SourceInfo, StreamInfo

Action = Literal["copy", "convert", "attach", "rewrite", "drop"]

_COVER_TYPES = {
    "mjpeg": ("cover.jpg", "image/jpeg"),
    "png": ("cover.png", "image/png"),
    "bmp": ("cover.bmp", "image/bmp"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What becomes of one of the other streams of the input.

    ``copy``: as it is. ``convert``: text subtitles in another format, named by ``target``. ``attach``: a cover picture
    kept as an attached file. ``rewrite``: the writer makes it anew (chapters, timecode). ``drop``: lost.
    """

    stream: StreamInfo
    action: Action
    reason: str = ""
    target: str | None = None

    def __str__(self) -> str:
        target = f" to {self.target}" if self.target else ""
        return f"{self.stream}: {self.action}{target}" + (f" ({self.reason})" if self.reason else "")


def plan_streams(container: Container, info: SourceInfo) -> tuple[StreamPlan, ...]:
    """What ``container`` makes of every stream of ``info``, in their order."""
    return tuple(_plan(container, info, stream) for stream in info.streams)


def has_rival(info: SourceInfo) -> bool:
    """Whether players have to choose between the video and another that is no cover picture."""
    templates = (stream.template for stream in info.streams)
    return any(template is not None and template.type == "video" and not _is_cover(template) for template in templates)


def _plan(container: Container, info: SourceInfo, stream: StreamInfo) -> StreamPlan:
    template = stream.template
    if template is None:
        return StreamPlan(stream=stream, action="drop", reason="its parameters are not known")
    if stream.kind == "data" and _is_remade(container, info, template):
        return StreamPlan(stream=stream, action="rewrite", reason="made from the chapters or the timecode")
    if _is_cover(template):
        return _plan_cover(container, stream)
    if holds_stream(container, template):
        return StreamPlan(stream=stream, action="copy")
    if stream.kind == "subtitle" and _decoder(template) in TEXT_FORMATS:
        loss = STYLING_LOSS if _decoder(template) in {"ass", "ssa"} else ""
        return StreamPlan(stream=stream, action="convert", target=container.text_subtitle, reason=loss)
    return StreamPlan(stream=stream, action="drop", reason=f"{container.name} cannot hold {stream.codec} {stream.kind}")


def _plan_cover(container: Container, stream: StreamInfo) -> StreamPlan:
    if container.cover is None or _decoder(stream.template) not in _COVER_TYPES:
        return StreamPlan(
            stream=stream, action="drop", reason=f"{container.name} cannot hold a {stream.codec} cover picture"
        )
    return StreamPlan(stream=stream, action="attach" if container.cover == "attachment" else "copy")


def _is_remade(container: Container, info: SourceInfo, template: Any) -> bool:
    if "timecode" in template.metadata:
        return container.ticks_exactly and "timecode" in {*info.video_metadata, *info.metadata}
    # MP4's chapter track comes as undecodable data, and its chapters come as chapters.
    return bool(info.chapters) and template.codec_context is None and template.name == "bin_data"


def _is_cover(template: Any) -> bool:
    return template.type == "video" and bool(template.disposition & Disposition.attached_pic)


def _decoder(template: Any) -> str:
    return str(template.codec_context.name) if template.codec_context is not None else ""


class Carrier:
    """Carries the packets of one stream of the input into one stream of the output.

    Times are rescaled to the tick of the output to the nearest, as FFmpeg does when it remuxes; where two packets fall
    onto one tick of decoding time, or the input went backwards, the later one is moved up, as FFmpeg does.
    """

    def __init__(self, plan: StreamPlan, *, output: Any, container: Container) -> None:
        template = plan.stream.template
        self._converter: SubtitleConverter | None = None
        if plan.action == "convert":
            self._converter = SubtitleConverter(template, output=output, codec=plan.target or "")
            self.stream = self._converter.stream
        else:
            self.stream = add_copy(output, template)
        tags = stream_tags(template.metadata, title=plan.stream.title, language=plan.stream.language)
        if container.muxer == "mov":
            tags = {key: quicktime_language(tag) if key.lower() == "language" else tag for key, tag in tags.items()}
        self.stream.metadata.clear()
        self.stream.metadata.update(tags)
        self.stream.disposition = template.disposition
        if template.type == "video" and not _is_cover(template):
            # Players show the default one of several pictures: the one that is made here.
            self.stream.disposition &= ~Disposition.default
        self._allows_equal = not container.ticks_exactly
        self._last: int | None = None
        self._end = Fraction(0)

    @property
    def damaged(self) -> int:
        """Subtitles that could not be read as they were."""
        return self._converter.damaged if self._converter is not None else 0

    def carry(self, packet: Any, *, shift: Fraction) -> Any | None:
        """The packet to write, ``shift`` seconds later; None for one without content. Only after the header."""
        if self._converter is not None:
            packet = self._converter.convert(packet)
        if packet is None or packet.size == 0:
            return None
        self._retime(packet, shift=shift)
        packet.stream = self.stream
        return packet

    def _retime(self, packet: Any, *, shift: Fraction) -> None:
        source, target = Fraction(packet.time_base), Fraction(self.stream.time_base)
        dts, pts = packet.dts, packet.pts
        if dts is None and pts is None:
            dts = pts = round(self._end / source)
        start = dts if dts is not None else pts
        ticks = [None if value is None else round((value * source + shift) / target) for value in (pts, start)]
        new_pts, new_dts = ticks
        if self._last is not None and new_dts is not None:
            new_dts = max(new_dts, self._last + (not self._allows_equal))
        if new_pts is None or (new_dts is not None and new_pts < new_dts):
            new_pts = new_dts
        packet.duration = round((packet.duration or 0) * source / target)
        packet.pts, packet.dts, packet.time_base = new_pts, new_dts, target
        self._last = new_dts
        self._end = (start or 0) * source + packet.duration * target


def attach_cover(plan: StreamPlan, packet: Any, *, output: Any) -> None:
    """Write a cover picture as the attached file by which players know it."""
    name, kind = _COVER_TYPES[_decoder(plan.stream.template)]
    attachment = output.add_attachment(name, kind, bytes(packet))
    if plan.stream.title:
        attachment.metadata["title"] = plan.stream.title
